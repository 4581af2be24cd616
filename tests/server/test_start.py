import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server import cli
from server.start import FLAGS, NAMES, OURS, plain, shadowed

ROOT = Path(__file__).parents[2]
NOTHING = dict.fromkeys((*NAMES, *FLAGS))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (
            ["--read-only", "--toolsets", "tenants,jobs"],
            {"read_only": True, "toolsets": "tenants,jobs"},
        ),
        (["--state=/x=y", "--token", "-"], {"state": "/x=y", "token": "-"}),
    ],
)
def test_plain_options_of_mcp_are_read_here(arguments, options):
    assert plain(arguments) == NOTHING | options


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["here"],
        ["--stat", "x"],
        ["--state"],
        ["--read-only=1"],
        ["--state=a", "--state=b"],
    ],
)
def test_what_is_not_plain_is_left_to_the_command_line(arguments):
    assert plain(arguments) is None


def test_the_options_are_those_of_the_command_line():
    known = {name for group in (cli.STATE, cli.SERVER, cli.OFFER) for name in group}
    assert known == {*NAMES, *FLAGS}


def test_a_hidden_package_is_said_before_anything_is_done():
    assert shadowed(OURS) == ""
    assert "`json` of Pilothouse is hidden by" in shadowed(("json",))


def test_a_wrong_option_is_explained_by_the_command_line():
    asked = [sys.executable, "-m", "server.start", "mcp", "--colour", "red"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.returncode == 2
    assert "--colour" in said.stderr


HEAVY = {
    "kubernetes", "boto3", "botocore", "duckdb", "duckdb_engine", "sqlalchemy", "fastapi", "yaml",
    "cedarpy", "anthropic", "pandas", "numpy", "pyarrow", "aiohttp", "jsonschema", "typer", "rich",
}  # fmt: skip


def test_nothing_heavy_is_imported_before_the_tools_are_listed(tmp_path):
    start = [sys.executable, "-X", "importtime", "-m", "server.start", "mcp"]
    messages = [
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    ]
    sent = "".join(json.dumps({"jsonrpc": "2.0"} | message) + "\n" for message in messages)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*start, "--state", str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as run,
    ):
        run.stdin.write(sent)
        run.stdin.flush()
        run.stdout.readline()
        listed = json.loads(run.stdout.readline())["result"]["tools"]
        run.stdin.close()
        run.wait(60)
    assert "tenant_create" in {tool["name"] for tool in listed}
    imported = re.findall(r"\| +([a-z0-9_]+)", (tmp_path / "log").read_text())
    assert "pydantic" in imported
    assert not HEAVY & set(imported)
