"""`pilothouse serve` where it cannot: it ends at once, with a code, what is wrong and what to do."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest

from server.seat import Seat
from tests.processes import run

FAILED, WRONG = 1, 2


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A database that another process has open."""
    import subprocess

    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        yield
        other.stdin.close()


def newer(path: Path) -> None:
    with duckdb.connect(str(path)) as state:
        state.execute("create table meta (key text primary key, value text not null)")
        state.execute("insert into meta values ('version', '999')")


STARTS: dict[str, tuple[int, str]] = {
    "locked": (FAILED, "Another process holds the state"),
    "newer": (FAILED, "written by a newer Pilothouse"),
    "broken": (FAILED, "cannot be opened"),
    "no directory": (FAILED, "cannot be used"),
    "long": (WRONG, "too long for a socket"),
    "read-only": (FAILED, "cannot be used: Permission denied"),
    "read-only file": (FAILED, "cannot be written"),
    "policy": (WRONG, "mine.cedar"),
    "policy with an error": (WRONG, "colour"),
    "no policy": (WRONG, "none.cedar"),
    "port": (FAILED, "something else listens there"),
    "no port": (WRONG, "port"),
    "everybody": (FAILED, "there is no token yet"),
    "no address": (FAILED, "Cannot listen on"),
    "toolset": (WRONG, "did you mean tenants?"),
    "settings": (WRONG, "cannot be read"),
    "setting": (WRONG, "did you mean state?"),
    "no settings": (WRONG, "no settings file"),
    "variable": (WRONG, "PILOTHOUSE_STAT"),
    "webhook": (WRONG, "webhook.url"),
    "database": (WRONG, "no URL of a database"),
    "driver": (FAILED, "No database driver"),
}


def asked(name: str, folder: Path, stack: ExitStack) -> tuple[list[str], dict[str, str]]:
    """The options, and the variables, with which it cannot start."""
    state, file = folder / "state", folder / "state" / "state.duckdb"
    state.mkdir()
    words, variables = ["--state", str(state), "--port", "0"], {}
    match name:
        case "locked":
            stack.enter_context(held(file))
        case "newer":
            newer(file)
        case "broken":
            file.write_bytes(b"no database" * 1000)
        case "no directory":
            words[1] = "/dev/null/state"
        case "long":
            words[1] = str(folder / ("x" * 120))
        case "read-only":
            state.chmod(0o500)
        case "read-only file":
            duckdb.connect(str(file)).close()
            file.chmod(0o400)
        case "policy":
            (folder / "mine.cedar").write_text("permit (principal, action")
            words += ["--policy", str(folder / "mine.cedar")]
        case "policy with an error":
            rule = '@id("red") forbid (principal, action, resource) when { principal.colour == "red" };'
            (folder / "mine.cedar").write_text(rule)
            words += ["--policy", str(folder / "mine.cedar")]
        case "no policy":
            words += ["--policy", str(folder / "none.cedar")]
        case "port":
            taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            words[3] = str(taken.getsockname()[1])
        case "no port":
            words[3] = "70000"
        case "everybody":
            words += ["--host", "0.0.0.0"]
        case "no address":
            words += ["--host", "192.0.2.1"]
        case "toolset":
            words += ["--toolsets", "tenant"]
        case "settings":
            (folder / "p.toml").write_text("state = [")
            words += ["--config", str(folder / "p.toml")]
        case "setting":
            (folder / "p.toml").write_text("stat = 1")
            words += ["--config", str(folder / "p.toml")]
        case "no settings":
            words += ["--config", str(folder / "none.toml")]
        case "variable":
            variables["PILOTHOUSE_STAT"] = "1"
        case "webhook":
            variables["PILOTHOUSE_WEBHOOK__URL"] = "hook"
        case "database":
            variables["PILOTHOUSE_DATABASE"] = "nosuch://here/there"
        case "driver":
            variables["PILOTHOUSE_DATABASE"] = "mysql://here/there"
    return words, variables


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_cannot_be_ends_with_its_code_and_what_to_do(
    name: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        words, variables = asked(name, tmp_path, stack)
        ran = run(tmp_path / "log", "serve", *words, HOME=str(tmp_path), **variables)
    code, said = STARTS[name]
    told = " ".join(ran.said.replace("│", " ").split())
    assert ran.code == code, ran.said
    assert said in told
    assert "Traceback" not in told
    assert len(told) < 1500


async def test_a_state_that_is_not_let_go_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.commands import serving
    from server.settings import load
    from tools.errors import Code, ToolError

    monkeypatch.setattr(serving, "HAND_OVER_S", 0.2)
    seat = Seat.take(tmp_path)
    assert seat
    with pytest.raises(ToolError, match="does not let it go") as refused:
        async with serving.serving(load(state=tmp_path, port=0, limits={"grace_s": 0})):
            pass
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert refused.value.hint
    seat.leave()
