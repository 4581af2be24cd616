"""What was found about an alert, as people read it."""

import pytest

from chatops.findings import MOST_LINE, MOST_LINES, heading, lines
from tools.alerts import Finding


@pytest.mark.parametrize(
    ("tool", "answer", "told"),
    [
        (
            "workload_get",
            {
                "kind": "Deployment", "name": "web", "namespace": "acme", "ready": 1, "desired": 2,
                "wrong": "CrashLoopBackOff",
                "pods": [{"name": "web-1", "ready": "1/1"},
                         {"name": "web-2", "ready": "0/1", "restarts": 1, "wrong": "exit 1"}],
            },
            ["Deployment/web: 1 of 2 ready, CrashLoopBackOff", "web-2: exit 1, 1 restart"],
        ),
        (
            "workload_usage",
            {"containers": [{"name": "main", "cpu": [0.1, None, 0.25], "cpu_request": 0.1,
                             "memory": [2.0**29], "memory_limit": 2.0**30, "oom_kills": 2}]},
            ["main: CPU up to 250m of 100m requested, memory up to 512 MiB (limit 1 GiB), "
             "out of memory: 2 kills"],
        ),
        (
            "events_list",
            {"events": [{"reason": "BackOff", "object": "Pod/web-2", "message": "back-off\n5m",
                         "count": 12, "last_seen": "3m"}]},
            ["BackOff Pod/web-2 ×12, 3m ago: back-off 5m"],
        ),
        (
            "call_list",
            {"calls": [{"id": "ab12", "tool": "workload_scale", "summary": "web from 2 to 3",
                        "state": "awaiting_approval", "requester": "olivia"}]},
            ["web from 2 to 3 (awaiting approval, olivia, ab12)"],
        ),
        (
            "recommendation_list",
            {"recommendations": [{"id": "rec-1", "title": "Resize web", "due": "2026-12-01"}]},
            ["Resize web (rec-1, due 2026-12-01)"],
        ),
        ("workload_list", {"workloads": []}, ["None."]),
        ("another_tool", {"some_thing": {"a": 1}}, ['some thing: {"a": 1}']),
    ],
)  # fmt: skip
def test_each_kind_is_told_in_short_lines(tool: str, answer: dict, told: list[str]) -> None:
    found = Finding(tool=tool, arguments={}, answer=answer)
    assert lines(found) == told
    assert "_" not in heading(found)


def test_what_was_not_found_says_why_and_what_is_long_is_cut() -> None:
    failed = Finding(tool="workload_usage", arguments={}, error="There is no Prometheus here.")
    assert lines(failed) == ["There is no Prometheus here."]
    events = [{"reason": "R", "object": "Pod/a", "message": "x" * 500}] * 20
    told = lines(Finding(tool="events_list", arguments={}, answer={"events": events}))
    assert len(told) == MOST_LINES + 1
    assert max(map(len, told)) <= MOST_LINE
    assert told[-1] == "… and 14 more"
