"""What a practice container does, without a cluster around it."""

import asyncio
from datetime import UTC, datetime

import pytest

from server.sandbox.containers import run

SLEPT: list[float] = []


async def no_sleep(seconds: float) -> None:
    SLEPT.append(seconds)
    await asyncio.sleep(0)


async def written(
    command: list[str], *args: str, most: int = 20, serves: bool = False, **env: str
) -> list[str | int]:
    SLEPT.clear()
    found: list[str | int] = []
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    async for piece in run(command, args, env, sleep=no_sleep, now=lambda: now, serves=serves):
        found.append(piece)
        if len(found) == most:
            break
    return found


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("echo hello; echo done", ["hello", "done", 0]),
        ("echo oops >&2; exit 3", ["oops", 3]),
        ("echo -n a; printf '%s=%d\\n' x 7", ["ax=7", 0]),
        ("for i in $(seq 1 3); do echo $i; done", ["1", "2", "3", 0]),
        ("for x in a 'b c'; do echo \"<$x>\"; done", ["<a>", "<b c>", 0]),
        ("i=0; while [ $i -lt 2 ]; do i=$((i+1)); echo $i; done", ["1", "2", 0]),
        ("true && echo yes || echo no", ["yes", 0]),
        ("false && echo yes || echo no", ["no", 0]),
        ("if [ -z \"$NONE\" ]; then echo empty; else echo full; fi", ["empty", 0]),
        ("echo ${NONE:-else} '$HOME' \"$(echo in)side\"", ["else $HOME inside", 0]),
        ("set -e; false; echo never", [1]),
        ("set -e; false || true; echo still", ["still", 0]),
        ("date +%Y-%m-%d", ["2026-01-02", 0]),
        ("cat; cat /etc/passwd", ["cat: can't open '/etc/passwd': No such file or directory", 1]),
        ("! true", [1]),
        ("# a comment\necho 'two\nlines'", ["two", "lines", 0]),
        ("echo hidden > /dev/null; echo seen 2>&1", ["seen", 0]),
        ("sh -c 'echo inner; exit 4'; echo $?", ["inner", "4", 0]),
    ],
)  # fmt: skip
async def test_scripts_do_the_little_that_is_understood(
    script: str, lines: list[str | int]
) -> None:
    assert await written(["sh", "-c", script]) == lines


async def test_time_passes_only_by_the_sleep_that_is_given() -> None:
    assert await written(["sh", "-c", "sleep 60; sleep 2m"]) == [0]
    assert SLEPT == [60, 120]


async def test_the_environment_is_filled_in_and_listed() -> None:
    assert await written(["env"], A="1", B="2") == ["A=1", "B=2", 0]
    assert await written(["printenv", "A"], A="1") == ["1", 0]
    assert await written(["echo"], "$(A)", "$(B)", "$$(A)", A="1") == ["1 $(B) $(A)", 0]
    assert await written(["sh", "-c", "echo $A"], A="1") == ["1", 0]


async def test_an_unknown_program_is_only_named_and_never_run() -> None:
    assert await written(["python", "-c", "print(1)"]) == [
        "practice cluster: only pretending to run: python -c print(1)",
        0,
    ]
    assert await written(["sh", "-c", "curl http://x; echo after"]) == [
        "practice cluster: only pretending to run: curl http://x",
        "after",
        0,
    ]


async def test_a_script_that_is_not_understood_is_pretended_as_a_whole() -> None:
    for script in ("f() { echo; }; f", "case x in esac", "cat <<EOF\nx\nEOF", "echo 'open"):
        (line, code) = await written(["sh", "-c", script])
        assert "only pretending" in str(line)
        assert code == 0


async def test_a_container_that_says_nothing_is_a_server() -> None:
    lines = await written([], serves=True, most=4)
    assert str(lines[0]).startswith("started")
    assert all("HTTP/1.1" in str(line) for line in lines[1:])
    assert SLEPT == [1, 1, 1]
    lines = await written(["nginx", "-g", "daemon off;"], serves=True, most=3)
    assert str(lines[0]).endswith("nginx -g daemon off;")


async def test_a_loop_without_end_is_ended() -> None:
    assert await written(["sh", "-c", "while true; do :; done"]) == [137]
    assert (await written(["sh", "-c", "while true; do echo x; sleep 1; done"]))[-1] == "x"


async def test_what_is_written_is_bounded() -> None:
    (line, code) = await written(["printf", "%s", "x" * 100_000])
    assert (len(str(line)), code) == (16 * 1024, 0)
    double = "a=x; for i in $(seq 1 64); do a=$a$a; done; echo ${a}"
    assert len(str((await written(["sh", "-c", double]))[0])) <= 64 * 1024
