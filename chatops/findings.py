"""What was found about an alert, as people read it: a heading and a few short lines each, the same
in Slack and on the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from chatops.blocks import cut, plain
from tools.alerts import Finding

Answer: TypeAlias = Mapping[str, Any]
MOST_LINES, MOST_LINE = 6, 160
GIB, MIB = 2.0**30, 2.0**20


def heading(found: Finding) -> str:
    return KINDS[found.tool][0] if found.tool in KINDS else found.tool.replace("_", " ")


def lines(found: Finding) -> list[str]:
    """At most so many, each cut to a readable length; one that says so where there is nothing."""
    if found.error:
        return [cut(found.error, MOST_LINE)]
    _, told, nothing = KINDS.get(found.tool, ("", _any, "Nothing."))
    all_lines = [cut(" ".join(line.split()), MOST_LINE) for line in told(found.answer)]
    more = len(all_lines) - MOST_LINES
    return all_lines[:MOST_LINES] + ([f"… and {more} more"] if more > 0 else []) or [nothing]


def _workload(answer: Answer) -> Iterator[str]:
    yield _ready(answer)
    if answer.get("next_step"):
        yield answer["next_step"]
    for pod in answer.get("pods", ()):
        if pod.get("wrong") or pod.get("restarts"):
            restarts = _times(pod.get("restarts"), "restart")
            yield f"{pod['name']}: {_what(pod.get('wrong'), restarts)}"


def _workloads(answer: Answer) -> Iterator[str]:
    yield from map(_ready, answer.get("workloads", ()))


def _ready(row: Answer) -> str:
    ready = f"{row.get('ready', 0)} of {row.get('desired', 0)} ready"
    return f"{row.get('kind', '')}/{row.get('name', '')}: {_what(ready, row.get('wrong'))}"


def _usage(answer: Answer) -> Iterator[str]:
    for one in answer.get("containers", ()):
        cpu = _peak(one.get("cpu"), one.get("cpu_request"), one.get("cpu_limit"), _cores)
        memory = _peak(
            one.get("memory"), one.get("memory_request"), one.get("memory_limit"), _bytes
        )
        killed = _times(one.get("oom_kills"), "kill", "out of memory: ")
        restarts = _times(one.get("restarts"), "restart")
        yield f"{one['name']}: {_what(f'CPU {cpu}', f'memory {memory}', killed, restarts)}"
    yield from answer.get("notes", ())


def _events(answer: Answer) -> Iterator[str]:
    for one in answer.get("events", ()):
        times = f" ×{one['count']}" if one.get("count", 1) > 1 else ""
        ago = f", {one['last_seen']} ago" if one.get("last_seen") else ""
        yield f"{one['reason']} {one['object']}{times}{ago}: {one['message']}"


def _calls(answer: Answer) -> Iterator[str]:
    for one in answer.get("calls", ()):
        state = one["state"].replace("_", " ")
        yield f"{one['summary'] or one['tool']} ({state}, {one['requester']}, {one['id']})"


def _advice(answer: Answer) -> Iterator[str]:
    for one in answer.get("recommendations", ()):
        due = f", due {one['due']}" if one.get("due") else ""
        yield f"{one['title']} ({one['id']}{due})"


def _any(answer: Answer) -> Iterator[str]:
    yield from (f"{name.replace('_', ' ')}: {plain(value)}" for name, value in answer.items())


KINDS: Mapping[str, tuple[str, Callable[[Answer], Iterator[str]], str]] = {
    "workload_get": ("The workload", _workload, "It is not there."),
    "workload_usage": ("What it used", _usage, "Nothing is known of that."),
    "workload_list": ("Unhealthy workloads", _workloads, "None."),
    "events_list": ("Warnings", _events, "None lately."),
    "call_list": ("Changes", _calls, "None lately."),
    "recommendation_list": ("Recommended", _advice, "Nothing."),
}


def _what(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _times(count: int | None, word: str, before: str = "") -> str:
    return f"{before}{count} {word}{'' if count == 1 else 's'}" if count else ""


def _peak(
    values: Sequence[float | None] | None,
    request: float | None,
    limit: float | None,
    said: Callable[[float], str],
) -> str:
    known = [value for value in values or () if value is not None]
    most = f"up to {said(max(known))}" if known else "not known"
    asked = f" of {said(request)} requested" if request else ""
    return f"{most}{asked}" + (f" (limit {said(limit)})" if limit else "")


def _cores(amount: float) -> str:
    return f"{amount * 1000:.0f}m" if amount < 1 else f"{amount:.3g}"


def _bytes(amount: float) -> str:
    return f"{amount / GIB:.3g} GiB" if amount >= GIB else f"{amount / MIB:.3g} MiB"
