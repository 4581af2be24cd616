"""The command line before a running demo: the whole of it once, over real sockets."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from server.start import OURS, shadowed

ROOT = Path(__file__).parents[2]


@dataclass
class Shell:
    """Runs `pilothouse` as somebody; `code` is how it ended last."""

    url: str
    tokens: dict[str, str]

    def __call__(self, *words: str, who: str = "copilot", code: int = 0) -> str:
        env = {"PILOTHOUSE_URL": self.url, "PILOTHOUSE_TOKEN": self.tokens.get(who, "")}
        return pilothouse(*words, code=code, **env)

    def json(self, *words: str, who: str = "copilot", code: int = 0) -> Any:
        return json.loads(self(*words, "--json", who=who, code=code))


def pilothouse(*words: str, code: int = 0, **env: str) -> str:
    """What it wrote to stdout; to stderr, where it failed. Run in this process: it is quicker."""
    from server import cli

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILOTHOUSE_", "KUBE"))}
    out, err = io.StringIO(), io.StringIO()
    ended: object = 0
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, clean | env, clear=True))
        stack.enter_context(mock.patch.object(sys, "argv", ["pilothouse", *words]))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            cli.main()
        except SystemExit as end:
            ended = end.code
    assert ended == code, out.getvalue() + err.getvalue()
    assert "Traceback" not in err.getvalue()
    return err.getvalue() if code in (1, 2) and not out.getvalue() else out.getvalue()


@dataclass
class Demo:
    url: str
    state: str
    tokens: dict[str, str]
    said: str


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The demo in a process of its own, as it is started by hand, and ended with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server.start", "demo", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    killed = threading.Timer(120, process.kill)
    killed.start()
    assert process.stdout
    assert process.stderr
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("State and settings: "):
            break
    assert "Ctrl-C stops all of it" in said, process.stderr.read()
    url = re.search(r"http://127.0.0.1:\d+", said)
    assert url
    tokens = dict(re.findall(r"^  (\w+) +(ph_\S+)", said, re.MULTILINE))
    started = Demo(url.group(), said.split()[-1], tokens, said)
    yield started
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, process.stderr.read()
    killed.cancel()
    assert not Path(started.state).exists(), "what was temporary is gone"
    assert "Traceback" not in process.stderr.read()


@pytest.fixture
def sh(demo: Demo) -> Shell:
    return Shell(demo.url, demo.tokens)


def test_the_demo_has_a_small_world_in_it(sh: Shell, demo: Demo) -> None:
    tenants = sh.json("call", "tenant_list")["answer"]["tenants"]
    assert {t["name"]: t["plan"] for t in tenants} == {
        "acme": "pro", "globex": "free", "initech": "enterprise",
    }  # fmt: skip
    rows = [
        row
        for tenant in ("acme", "globex", "initech")
        for row in sh.json("call", "workload_list", f"tenant={tenant}")["answer"]["workloads"]
    ]
    assert len(rows) == 12
    wrong = " ".join(str(row.get("wrong", "")) for row in rows)
    assert "Pull" in wrong
    instances = sh.json("call", "instance_list")["answer"]["instances"]
    assert {i["service"] for i in instances} == {"ec2", "rds"}
    assert httpx.get(f"{demo.url}/ready").json()["status"] == "ready"
    assert len(demo.tokens) == 5


def test_what_the_demo_says_to_try_works_where_it_is_pasted(demo: Demo, tmp_path: Path) -> None:
    """In a shell that never heard of Pilothouse, and elsewhere."""
    said = re.search(r"(export PATH=.*?workload_list tenant=acme$)", demo.said, re.DOTALL | re.M)
    assert said, demo.said
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    if "PYTHONPATH" in os.environ:
        clean["PYTHONPATH"] = os.environ["PYTHONPATH"]
    ran = subprocess.run(
        ["bash", "-ec", said.group(1)], env=clean, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "checkout" in ran.stdout or "api" in ran.stdout


def test_what_an_agent_asks_for_its_person_confirms(sh: Shell) -> None:
    scale = ("call", "workload_scale", "tenant=acme", "name=worker", "replicas=3")
    shown = sh(*scale, "--preview")
    assert "spec.replicas: 2 → 3" in shown
    assert "Nothing was done" in shown
    waiting = sh.json(*scale, "--key", "k-1", code=3)
    assert waiting["state"] == "awaiting_confirmation"
    assert sh.json(*scale, "--key", "k-1", code=3)["call_id"] == waiting["call_id"]
    id = waiting["call_id"]
    assert id in sh("calls", "--waiting")
    assert "for people" in sh("confirm", id, code=1)
    assert "token" in sh("confirm", id, who="nobody", code=1)
    done = sh("confirm", id, who="olivia")
    assert "succeeded" in done
    assert sh.json("calls", id)["outcome"]["state"] == "succeeded"
    undone = sh.json("undo", id, who="ada")
    assert undone["state"] == "succeeded"
    assert sh.json("calls", id)["outcome"]["state"] == "undone"


def test_one_operator_asks_and_another_approves(sh: Shell) -> None:
    id = sh.json("call", "tenant_create", "name=hooli", "plan=pro", code=3)["call_id"]
    assert "yourself" in sh("approve", id, who="olivia", code=1)
    assert sh.json("approve", id, "--reason", "why not", who="oscar")["state"] == "succeeded"
    record = sh.json("calls", id)
    assert (record["decided_by"], record["reason"]) == ("oscar", "why not")
    undo = sh.json("undo", id, who="olivia", code=3)["call_id"]
    assert "reason: " in sh("reject", undo, "--reason", " ", who="oscar", code=2)
    assert (
        sh.json("reject", undo, "--reason", "keep it", who="oscar", code=1)["state"] == "rejected"
    )


def test_freezing_stops_carrying_out_until_it_is_resumed(sh: Shell) -> None:
    sh("freeze", "--reason", "a test", who="oscar")
    restart = ("call", "workload_restart", "tenant=acme", "name=web")
    running = sh.json(*restart, "--wait", "0.2", who="ada", code=4)
    assert running["state"] == "running"
    sh("resume", who="oscar")
    ended = sh.json("call", "call_wait", f"id={running['call_id']}", who="ada")
    assert ended["answer"]["call"]["outcome"]["state"] == "succeeded"


def test_a_viewer_and_another_tenant_are_told_no(sh: Shell) -> None:
    scale = ("call", "workload_scale", "name=web", "replicas=1")
    assert "needs the role user" in sh(*scale, "tenant=acme", who="vera", code=1)
    assert sh(*scale, "tenant=globex", who="vera", code=1).startswith("not_found")
    assert "A token is needed" in sh("tools", who="nobody", code=1)


def test_a_jobs_log_is_streamed(sh: Shell) -> None:
    words = ("tenant=acme", "name=hello", "image=busybox", 'command=["echo", "hello there"]')
    assert sh.json("call", "job_create", *words, "wait=true", who="ada")["state"] == "succeeded"
    assert "hello there" in sh("call", "job_logs", "tenant=acme", "name=hello", who="ada")
    error = sh("call", "job_logs", "tenant=acme", "name=none", who="ada", code=1)
    assert error.startswith("not_found")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("call", "tenant_lst"), 1, "tenant_list"),
        (("call", "workload_scale", "tenant=acme", "nam=web"), 2, "did you mean name?"),
        (("call", "workload_scale", "tenant=acme", "name=web", "replicas=-1"), 2, "replicas"),
        (("call", "workload_scale", "tenant=../x", "name=web", "replicas=1"), 2, "not a name of"),
        (("approve", "no-such-call"), 1, "There is no call"),
        (("tools", "workload_scal"), 1, "did you mean workload_scale?"),
        (("token", "create", "--subject", "x", "--tenant", "acme"), 2, "Which role"),
        (("token", "create", "--subject", "x", "--tenant", "nix=user"), 1, "no tenant nix"),
        (("reject", "abc"), 2, "--reason"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(
    sh: Shell, words: tuple[str, ...], code: int, says: str
) -> None:
    text = sh(*words, who="olivia", code=code)
    assert says in re.sub(r"[\s│]+", " ", text)


def test_tokens_are_made_listed_and_revoked_by_an_operator(sh: Shell) -> None:
    made = sh.json("token", "create", "--subject", "uma", "--tenant", "acme", "--role", "user",
                   who="olivia")  # fmt: skip
    sh.tokens["uma"] = made["token"]
    assert sh("call", "workload_list", who="uma"), "her only tenant need not be named"
    assert made["token"] not in sh("token", "list", who="olivia")
    assert "uma" in sh("token", "list", who="olivia")
    assert "permission_denied" in sh("token", "list", who="uma", code=1)
    assert "for people" in sh("token", "list", who="copilot", code=1)
    sh("token", "revoke", made["id"], who="olivia")
    assert "unauthenticated" in sh("call", "workload_list", who="uma", code=1)


def test_the_audit_trail_is_verified_and_exported_whole(sh: Shell, tmp_path: Path) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    sh("calls", who="oscar")
    assert "The trail is whole." in sh("audit", "verify", who="oscar")
    lines = sh("audit", "export", "--subject", "oscar", who="oscar").splitlines()
    assert {json.loads(line)["subject"] for line in lines} == {"oscar"}
    file = tmp_path / "trail.parquet"
    sh("audit", "export", "--format", "parquet", "--output", str(file), who="oscar")
    table = parquet.read_table(file)
    assert table.num_rows > len(lines)
    assert table["seq"].to_pylist() == sorted(table["seq"].to_pylist(), reverse=True)
    assert {len(hash) for hash in table["hash"].to_pylist()} == {64}


def test_doctor_finds_the_demo_well_and_says_what_another_place_lacks(
    demo: Demo, tmp_path: Path
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "practice", "AWS_SECRET_ACCESS_KEY": "practice"}
    found = json.loads(pilothouse("doctor", "--json", "--state", demo.state, **keys))
    assert found["well"]
    assert any("held by process" in f["said"] for f in found["findings"])
    where = ("--state", str(tmp_path), "--kubeconfig", str(tmp_path / "none"))
    away = json.loads(pilothouse("doctor", "--json", *where, code=1))
    [wrong] = [f for f in away["findings"] if f["wrong"]]
    assert wrong["what"] == "cluster default"
    assert "--kubeconfig" in wrong["mend"]
    assert "All is well" in pilothouse("doctor", "--state", demo.state, **keys)


def test_the_state_directory_finds_the_running_demo(demo: Demo) -> None:
    said = pilothouse("token", "list", "--state", demo.state, PILOTHOUSE_TOKEN=demo.tokens["oscar"])
    assert "copilot" in said


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "something else listens there" in pilothouse("demo", "--port", port, code=1)


def test_an_address_for_everybody_is_refused_without_a_token(tmp_path: Path) -> None:
    said = pilothouse("serve", "--host", "0.0.0.0", "--port", "0", "--state", str(tmp_path), code=1)
    assert "there is no token yet" in said


def test_a_wrong_policy_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "p.cedar").write_text(
        '@id("mine") permit (principal, action, resource) when { x };'
    )
    where = ("--port", "0", "--state", str(tmp_path / "s"), "--policy", str(tmp_path / "p.cedar"))
    assert "p.cedar" in pilothouse("serve", *where, code=2)


def test_a_package_that_hides_one_of_ours_is_named(tmp_path: Path) -> None:
    assert shadowed() == ""
    assert "`json` of Pilothouse is hidden" in shadowed(("json",))
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("sandbox"))
    (tmp_path / "tools.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "from server.start import main; main()", "--version"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(OURS) == 4
    assert "`chatops` of Pilothouse" in done.stderr or "`tools` of Pilothouse" in done.stderr
