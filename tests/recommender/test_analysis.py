from collections.abc import Iterator
from typing import Any

import numpy as np

from recommender.analysis import advise, agreeing
from recommender.model import Container, Series, Subject, Suggestion, Workload
from recommender.strategies import Context, Strategy

NOW = 1_700_000_000.0


def subject(name: str) -> Subject:
    return Subject("default", "acme", "Deployment", name)


def suggestion(strategy: str, tool: str = "x", **arguments: Any) -> Suggestion:
    return Suggestion(strategy, subject("web"), "title", "reason", tool, arguments)


class Fine(Strategy):
    name = "fine"

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        return [Suggestion("fine", workload.subject, "do", "because")]


class Broken(Strategy):
    name = "broken"

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        if workload.subject.name == "b":
            raise ZeroDivisionError("by nothing")
        return []


def some() -> Iterator[Workload]:
    for name in "abc":
        used = Series(NOW - 86400, 300, np.full(288, 0.1))
        yield Workload(subject(name), (Container("main", cpu=used),))


def test_a_strategy_that_breaks_down_takes_nobody_with_it_and_is_told_of() -> None:
    advice = advise(some(), [Broken(), Fine()], NOW, Context())
    assert [one.subject.name for one in advice.found] == ["a", "b", "c"]
    assert advice.workloads == 3
    assert len(advice.troubles) == 1
    assert "broken failed on Deployment b in acme" in advice.troubles[0]


def test_what_a_strategy_broke_down_on_is_not_covered_by_it() -> None:
    covered = advise(some(), [Broken(), Fine()], NOW, Context()).covered
    assert ("broken", subject("a")) in covered
    assert ("broken", subject("b")) not in covered
    assert ("fine", subject("b")) in covered


def test_what_is_to_be_stopped_gets_no_other_size() -> None:
    found = [suggestion("idle"), suggestion("rightsize", cpu_request="1"), suggestion("x", tool="")]
    assert [one.strategy for one in agreeing(found)] == ["idle", "x"]


def test_replicas_wait_until_each_has_its_right_size() -> None:
    found = [suggestion("rightsize", cpu_request="1"), suggestion("replicas")]
    assert [one.strategy for one in agreeing(found)] == ["rightsize"]
    other = [suggestion("rightsize", memory_request="1Gi"), suggestion("replicas")]
    assert agreeing(other) == other
