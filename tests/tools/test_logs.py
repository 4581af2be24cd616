"""Logs of pods: told apart, put in order, followed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tools.errors import Code, ToolError
from tools.logs import container_of, in_order, last_part, together


def pod(*names: str, default: str = "") -> dict[str, Any]:
    notes = {"kubectl.kubernetes.io/default-container": default} if default else {}
    return {
        "metadata": {"name": "p", "annotations": notes},
        "spec": {"containers": [{"name": n} for n in names], "initContainers": [{"name": "init"}]},
    }


def test_the_container_is_the_one_asked_for_else_the_default_one() -> None:
    assert container_of(pod("a", "b"), "b") == "b"
    assert container_of(pod("a", "b"), "init") == "init"
    assert container_of(pod("a", "b"), None) == "a"
    assert container_of(pod("a", "b", default="b"), None) == "b"


def test_a_container_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ToolError) as refused:
        container_of(pod("a", "b"), "c")
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "a, b, init" in refused.value.hint


def test_logs_of_several_pods_come_in_order_of_time_without_their_stamps() -> None:
    a = "2026-01-01T00:00:01Z first\n2026-01-01T00:00:03Z third\n"
    b = "2026-01-01T00:00:02Z second\n2026-01-01T00:00:03.5Z \n"
    assert in_order([("a", a), ("b", b)]) == "[a] first\n[b] second\n[a] third\n[b] \n"


def test_a_long_log_is_cut_at_the_beginning_of_a_line() -> None:
    assert last_part("one\ntwo\nthree\n", 7) == "three\n"
    assert last_part("short", 10) == "short"
    assert last_part("é" * 10 + "\nend", 8) == "end"


async def stream(name: str, count: int, fails: bool = False) -> AsyncIterator[dict[str, Any]]:
    for n in range(count):
        yield {"line": f"{name}{n}"}
        await asyncio.sleep(0)
    if fails:
        raise ToolError(Code.UNAVAILABLE, "gone")


async def test_streams_are_told_together_until_all_have_ended() -> None:
    said = [p["line"] async for p in together([stream("a", 2000), stream("b", 3)], 30)]
    assert len(said) == 2003
    assert [s for s in said if s[0] == "b"] == ["b0", "b1", "b2"]


async def test_a_stream_that_fails_ends_them_all() -> None:
    with pytest.raises(ToolError, match="gone"):
        [p async for p in together([stream("a", 1, fails=True), stream("b", 10**6)], 30)]


async def test_streams_end_when_the_time_is_up_and_leave_nothing_running() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[dict[str, Any]]:
        try:
            while True:
                yield {"line": "x"}
                await asyncio.sleep(3600)
        finally:
            closed.set()

    assert [p async for p in together([endless()], 0.05)] == [{"line": "x"}]
    assert closed.is_set()
