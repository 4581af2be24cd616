"""The official conformance suite against the door, over loopback HTTP.

`make node` installs Node and the two versions of the suite that are named in tests/node.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.server.doors.scripted import ScriptedGate, let_in, served

MODULES = Path(__file__).parents[3] / ".node" / "node_modules"
NODE = MODULES / "node" / "bin" / "node"
TIMEOUT_S = 60

# Those that any server can pass: the rest wants tools, prompts and resources by fixed names.
BOTH = [
    "completion-complete",
    "dns-rebinding-protection",
    "prompts-list",
    "resources-list",
    "server-sse-multiple-streams",
    "tools-list",
]
HANDSHAKE = [*BOTH, "ping", "server-initialize"]
STATELESS = [
    *BOTH,
    "caching",
    "http-header-validation",
    "input-required-result-ignore-extra-params",
    "input-required-result-unsupported-methods",
    "sep-2164-resource-not-found",
]
SCENARIOS = [
    *(("released", "2025-11-25", name) for name in HANDSHAKE),
    *(("next", "2025-11-25", name) for name in [*HANDSHAKE, "server-session-lifecycle"]),
    *(("next", "2026-07-28", name) for name in STATELESS),
]


@pytest.mark.skipif(
    not NODE.exists(), reason="Node 22 and the conformance suite are not here: make node"
)
@pytest.mark.parametrize(("suite", "version", "scenario"), SCENARIOS)
async def test_the_official_suite_finds_nothing_wrong(suite, version, scenario, tmp_path):
    index = MODULES / f"conformance-{suite}" / "dist" / "index.js"
    async with served(ScriptedGate(), let_in) as url:
        run = await asyncio.create_subprocess_exec(
            NODE,
            index,
            "server",
            *("--url", url),
            *("--scenario", scenario),
            *("--spec-version", version),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"NO_COLOR": "1"},
            cwd=tmp_path,
        )
        said, _ = await asyncio.wait_for(run.communicate(), TIMEOUT_S)
    assert run.returncode == 0, said.decode()
    assert ", 0 failed" in said.decode()
