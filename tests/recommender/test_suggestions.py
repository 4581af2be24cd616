"""Suggestions from the run that found them to the outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from recommender.model import RecommenderError, Subject, Suggestion
from recommender.scores import Score, scores
from recommender.suggestions import MovedOn, NotFound, Suggestions
from recommender.tables import suggestions
from server.journal import Journal

DAY = 86400.0
API = Subject("default", "shop", "Deployment", "api")
WEB = Subject("default", "shop", "Deployment", "web")


def rightsize(cpu: str = "200m", subject: Subject = API, **more: Any) -> Suggestion:
    values: dict[str, Any] = {
        "strategy": "rightsize",
        "subject": subject,
        "title": f"{subject.name}: {cpu} of CPU",
        "reason": f"It uses less than {cpu}.",
        "tool": "workload_resize",
        "arguments": {"name": subject.name, "containers": [{"name": "app", "cpu_request": cpu}]},
        "evidence": {"basis": {"cpu_p99": 0.17}, "quantiles": np.array([0.1, 0.17])},
        "confidence": np.float64(0.93),
        "monthly": np.float64(12.0),
    }
    return Suggestion(**(values | more))


def everywhere(strategy: str, subject: Subject) -> bool:
    return True


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Book(Suggestions):
    """Suggestions with a clock that is stepped, on a DuckDB of their own."""

    clock: Clock

    async def found(self, *found: Suggestion, covered: Any = everywhere) -> dict[str, int]:
        recorded = await self.record(found, covered, "run-1")
        return {what: count for what, count in recorded.counts().items() if count}

    async def only(self, state: Any = "open") -> Any:
        [one] = (await self.list(state=state)).items
        return one


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql")())
    return f"duckdb:///{tmp_path_factory.mktemp('suggestions') / 'state.duckdb'}"


@pytest.fixture
async def book(url: str) -> AsyncIterator[Book]:
    journal = await Journal.open(url)
    await journal.run(lambda c: c.execute(sa.delete(suggestions)) and None)
    book = Book(journal.run, Clock())
    await book.open()
    yield book
    await journal.close()


async def test_one_is_open_for_each_subject_and_strategy(book: Book) -> None:
    assert await book.found(rightsize(), rightsize(subject=WEB)) == {"opened": 2}
    assert await book.found(rightsize(), rightsize(subject=WEB)) == {"unchanged": 2}
    assert len((await book.list()).items) == 2


async def test_what_was_written_comes_back_as_it_was(book: Book) -> None:
    await book.found(rightsize(notes=("Known for 20 h only.",)))
    one = (await book.only()).suggestion
    assert one.subject == API
    assert one.arguments == rightsize().arguments
    assert one.evidence == {"basis": {"cpu_p99": 0.17}, "quantiles": [0.1, 0.17]}
    assert one.notes == ("Known for 20 h only.",)
    assert (one.confidence, one.monthly, one.risk) == (0.93, 12.0, "low")


async def test_within_the_dead_band_the_open_one_stands_with_fresh_evidence(book: Book) -> None:
    await book.found(rightsize())
    before = await book.only()
    book.clock.now += DAY
    later = rightsize("208m", confidence=0.97, evidence={"basis": {"cpu_p99": 0.18}})
    assert await book.found(later) == {"unchanged": 1}
    after = await book.only()
    assert (after.id, after.suggestion.arguments) == (before.id, rightsize().arguments)
    assert after.suggestion.title == before.suggestion.title
    assert after.suggestion.confidence == 0.97
    assert after.suggestion.evidence == later.evidence
    assert after.expires == before.expires + DAY


async def test_small_steps_add_up_until_it_is_replaced(book: Book) -> None:
    await book.found(rightsize())
    assert await book.found(rightsize("215m")) == {"unchanged": 1}
    assert await book.found(rightsize("230m")) == {"replaced": 1}


@pytest.mark.parametrize(
    "newer",
    [
        rightsize("150m"),
        rightsize(monthly=40.0),
        rightsize(tool="workload_scale"),
        rightsize(arguments={"name": "api", "containers": []}),
    ],
)
async def test_one_that_really_differs_replaces_the_open_one_and_both_say_so(
    book: Book, newer: Suggestion
) -> None:
    await book.found(rightsize())
    old = await book.only()
    assert await book.found(newer) == {"replaced": 1}
    new, old = await book.only(), await book.get(old.id)
    assert (old.state, old.replaced_by, new.replaces) == ("replaced", new.id, old.id)


async def test_a_warning_is_replaced_when_what_it_rests_on_has_changed(book: Book) -> None:
    def full(level: float, **more: Any) -> Suggestion:
        reason = f"The disk holds {level:g} GiB of 100."
        evidence = {"level": level, "hours_seen": level * 2}
        return rightsize(tool="", arguments={}, reason=reason, evidence=evidence, **more)

    await book.found(full(60))
    assert await book.found(full(70)) == {"unchanged": 1}
    assert (await book.only()).suggestion.reason == full(70).reason
    assert await book.found(full(95)) == {"replaced": 1}
    assert await book.found(full(97, risk="high")) == {"replaced": 1}
    with pytest.raises(MovedOn, match="nothing to apply"):
        await book.applying((await book.only()).id, by="ann")


async def test_the_words_of_the_same_offer_are_the_newest(book: Book) -> None:
    await book.found(rightsize(reason="For 5 days.", notes=("NaN is nothing.",)))
    newer = rightsize(reason="For 6 days.", evidence={"p95": 0.001, "peak": np.nan})
    assert await book.found(newer) == {"unchanged": 1}
    one = (await book.only()).suggestion
    assert (one.reason, one.evidence) == ("For 6 days.", {"p95": 0.001, "peak": None})


async def test_words_that_no_database_takes_are_taken_without_what_is_wrong(book: Book) -> None:
    await book.found(rightsize())
    one = await book.reject((await book.only()).id, "ann", "no\0pe \ud800")
    assert one.said == "nope ?"
    assert not (await book.list(text="\0\ud800")).items
    with pytest.raises(NotFound):
        await book.get("rec-\0\ud800")


async def test_two_findings_at_one_place_are_one_that_tells_of_the_other(book: Book) -> None:
    assert await book.found(rightsize(), rightsize("50m", title="Less still")) == {"opened": 1}
    assert (await book.only()).suggestion.notes == ("Also: Less still",)


async def test_one_that_is_no_longer_found_is_withdrawn_where_the_run_looked(book: Book) -> None:
    await book.found(rightsize(), rightsize(subject=WEB))
    assert await book.found(covered={("rightsize", API)}) == {"withdrawn": 1}
    assert (await book.only("withdrawn")).suggestion.subject == API
    assert (await book.only()).suggestion.subject == WEB


async def test_a_covered_workload_has_its_containers_covered(book: Book) -> None:
    await book.found(rightsize(subject=replace(API, container="app")))
    assert await book.found(covered={("rightsize", API)}) == {"withdrawn": 1}


async def test_one_that_was_withdrawn_comes_back_under_its_id(book: Book) -> None:
    await book.found(rightsize())
    one = await book.only()
    await book.found()
    assert await book.found(rightsize()) == {"returned": 1}
    assert (await book.only()).id == one.id


async def test_an_expired_one_says_so_until_it_is_found_again(book: Book) -> None:
    await book.found(rightsize())
    book.clock.now += 4 * DAY
    one = await book.only("expired")
    assert not (await book.list(state="open")).items
    with pytest.raises(MovedOn, match="cannot be applied: it is expired"):
        await book.applying(one.id, by="ann")
    assert await book.found(rightsize()) == {"unchanged": 1}
    assert (await book.only()).id == one.id


async def test_a_rejected_one_stays_away_until_the_evidence_has_really_changed(book: Book) -> None:
    await book.found(rightsize())
    await book.reject((await book.only()).id, "ann", "too tight")
    assert await book.found(rightsize("220m")) == {"suppressed": 1}
    assert await book.found(rightsize("120m")) == {"opened": 1}
    reason = (await book.only()).suggestion.reason
    assert reason == (
        "It uses less than 120m. It was rejected on 2027-01-15 by ann (“too tight”); since then "
        "containers app cpu request went from 0.2 to 0.12."
    )


async def test_the_basis_alone_brings_a_rejected_one_back(book: Book) -> None:
    await book.found(rightsize())
    await book.reject((await book.only()).id, "ann")
    killed = rightsize(evidence={"basis": {"cpu_p99": 0.17, "oom_kills": 3}})
    assert await book.found(killed) == {"opened": 1}
    assert "oom kills went from nothing to 3" in (await book.only()).suggestion.reason


async def test_what_drifts_into_what_was_rejected_is_withdrawn(book: Book) -> None:
    await book.found(rightsize())
    await book.reject((await book.only()).id, "ann")
    await book.found(rightsize("120m"))
    assert await book.found(rightsize("190m")) == {"withdrawn": 1, "suppressed": 1}


async def test_one_put_off_is_not_shown_until_then_and_neither_is_its_successor(book: Book) -> None:
    await book.found(rightsize())
    await book.later((await book.only()).id, book.clock.now + 2 * DAY)
    assert not (await book.list(state="open")).items
    assert await book.found(rightsize("100m")) == {"replaced": 1}
    assert (await book.only("later")).suggestion.title == "api: 100m of CPU"
    book.clock.now += 2 * DAY + 1
    assert await book.only("open")


async def test_of_two_who_apply_at_once_one_does(book: Book) -> None:
    await book.found(rightsize())
    id = (await book.only()).id
    tries = await asyncio.gather(
        *(book.applying(id, by=who) for who in ("ann", "bob", "cem")), return_exceptions=True
    )
    assert sorted(isinstance(one, MovedOn) for one in tries) == [False, True, True]


async def test_what_is_being_applied_is_neither_replaced_nor_withdrawn(book: Book) -> None:
    await book.found(rightsize())
    id = (await book.only()).id
    await book.applying(id, by="ann")
    await book.applying(id, "call-1")
    with pytest.raises(MovedOn):
        await book.applying(id, "call-2")
    assert await book.found(rightsize("20m")) == {"held": 1}
    assert await book.found() == {}
    again = await book.not_applied(id)
    assert (again.state, again.call_id) == ("open", "")
    assert await book.found(rightsize("20m")) == {"replaced": 1}


async def applied(book: Book, id: str, call: str = "call-1") -> None:
    await book.applying(id, call, "ann")
    await book.applied(id, call, book.clock.now, {"restarts": 0}, watch_s=DAY)


async def test_what_was_applied_is_due_when_its_time_is_over(book: Book) -> None:
    await book.found(rightsize())
    id = (await book.only()).id
    await applied(book, id)
    assert (await book.applied(id, "call-1", 0.0, {})).applied == book.clock.now
    assert await book.due() == []
    assert await book.found() == {}
    book.clock.now += DAY
    [due] = await book.due()
    assert (due.id, due.before, due.decided_by) == (id, {"restarts": 0}, "ann")
    await book.watch(id, book.clock.now + DAY)
    assert await book.due() == []
    book.clock.now += DAY
    await book.conclude(id, "harmful", {"restarts": 9}, "It restarts.", held=False)
    done = await book.conclude(id, "harmful", {"restarts": 9}, "It restarts.", "call-2", False)
    assert (done.state, done.undo_call, done.figures) == ("harmful", "call-2", {"restarts": 9})
    with pytest.raises(MovedOn, match="it is harmful"):
        await book.conclude(id, "kept", {}, "")
    assert await book.due() == []


async def test_a_second_change_ends_the_watch_over_the_first(book: Book) -> None:
    await book.found(rightsize())
    first = (await book.only()).id
    await applied(book, first)
    await book.found(rightsize("400m"))
    second = (await book.only()).id
    await applied(book, second, "call-2")
    one = await book.get(first)
    assert (one.state, one.replaced_by) == ("replaced", second)


async def test_what_was_taken_back_counts_as_rejected(book: Book) -> None:
    await book.found(rightsize())
    id = (await book.only()).id
    await applied(book, id)
    await book.reject(id, "bob", "Undone.")
    assert await book.found(rightsize()) == {"suppressed": 1}


async def test_reserved_but_never_called_is_open_again_after_a_restart(book: Book) -> None:
    await book.found(rightsize())
    await book.applying((await book.only()).id, by="ann")
    book.clock.now += 3600
    await book.open()
    assert await book.only("open")


async def test_it_is_found_by_the_beginning_of_its_id(book: Book) -> None:
    await book.found(*(rightsize(subject=replace(API, name=f"api-{n}")) for n in range(120)))
    ids = [one.id for one in (await book.list(limit=120)).items]
    assert len(set(ids)) == 120
    assert (await book.get(ids[0].removeprefix("rec-"))).id == ids[0]
    letters = [
        prefix for prefix in {id[:6] for id in ids} if sum(i.startswith(prefix) for i in ids) > 1
    ]
    with pytest.raises(NotFound, match="beginning of several"):
        await book.get(letters[0])
    for nobody in ("rec-", "", "%", "rec-zzzz"):
        with pytest.raises(NotFound):
            await book.get(nobody)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("effect", lambda one: -abs(one.suggestion.monthly)),
        ("confidence", lambda one: -(one.suggestion.confidence or -1)),
        ("age", lambda one: -one.created),
    ],
)
async def test_pages_are_sorted_and_miss_nobody(
    book: Book, sort: Any, key: Callable[[Any], float]
) -> None:
    for n in range(3):
        await book.found(
            *(
                rightsize(
                    subject=replace(API, name=f"api-{n}-{m}"),
                    monthly=float((m * 7 % 5) - 2) / 3,
                    confidence=None if m % 4 == 0 else m / 10,
                )
                for m in range(9)
            ),
            covered=set(),
        )
        book.clock.now += 60
    seen, cursor = [], ""
    for _ in range(20):
        page = await book.list(sort=sort, limit=4, cursor=cursor)
        seen += page.items
        if not (cursor := page.next):
            break
    assert len({one.id for one in seen}) == len(seen) == 27
    assert [key(one) for one in seen] == sorted(key(one) for one in seen)


async def test_what_will_fail_comes_before_money_the_soonest_first(book: Book) -> None:
    now = book.clock.now
    due = {"full-in-a-week": now + 7 * DAY, "killed": now, "full-tomorrow": now + DAY}
    told = [rightsize(subject=replace(API, name=name), monthly=0.0, deadline=when)
            for name, when in due.items()]  # fmt: skip
    dear = rightsize(subject=replace(API, name="dear"), monthly=1e9)
    await book.found(dear, *told)
    seen, cursor = [], ""
    for _ in range(4):
        page = await book.list(limit=1, cursor=cursor)
        seen += [one.suggestion.subject.name for one in page.items]
        cursor = page.next
    assert seen == ["killed", "full-tomorrow", "full-in-a-week", "dear"]
    await book.found(dear, rightsize(subject=replace(API, name="killed")), covered=set())
    first = (await book.list(limit=1)).items[0]
    assert first.suggestion.subject.name == "full-tomorrow"


async def test_lists_are_narrowed_down(book: Book) -> None:
    bank = replace(API, namespace="bank", name="ledger_100%")
    await book.found(rightsize(), rightsize(subject=bank), rightsize(strategy="idle", subject=WEB))

    async def names(**narrow: Any) -> set[str]:
        return {one.suggestion.subject.name for one in (await book.list(**narrow)).items}

    assert await names(strategy="idle") == {"web"}
    assert await names(namespaces=["bank"]) == {"ledger_100%"}
    assert await names(namespaces=[]) == set()
    assert await names(text="_100%") == {"ledger_100%"}
    assert await names(text="SHOP web") == {"web"}
    assert await names(state=["rejected", "kept"]) == set()
    with pytest.raises(RecommenderError, match="another list"):
        await book.list(cursor="bm9uc2Vuc2U")


async def test_scores_say_how_each_strategy_did(book: Book) -> None:
    outcomes: list[Any] = ["kept", "kept", "harmful", "no_effect"]
    subjects = [replace(API, name=f"api-{n}") for n in range(6)]
    await book.found(*(rightsize(subject=subject) for subject in subjects))
    ids = [one.id for one in (await book.list()).items]
    for id, outcome in zip(ids, outcomes, strict=False):
        await applied(book, id)
        await book.conclude(id, outcome, {}, "", held=outcome == "kept")
    await book.reject(ids[4], "ann")
    [(strategy, score)] = (await scores(book.run, book.clock())).items()
    assert strategy == "rightsize"
    assert score.counts == {
        "open": 1, "applying": 0, "applied": 0, "kept": 2, "harmful": 1, "no_effect": 1, "rejected": 1,
    }  # fmt: skip
    assert (score.claimed, score.held, score.saved, score.promised) == (4, 0.5, 24.0, 12.0)
    assert (await scores(book.run, book.clock(), claiming=0.95))["rightsize"].held is None


async def test_what_was_measured_before_a_moment_is_not_saved_since(book: Book) -> None:
    subjects = [replace(API, name=f"api-{n}") for n in range(3)]
    await book.found(*(rightsize(subject=subject) for subject in subjects))
    ids = [one.id for one in (await book.list()).items]
    outcomes: list[Any] = ["kept", "kept", "harmful"]
    for id, outcome in zip(ids, outcomes, strict=True):
        await applied(book, id)
        await book.conclude(id, outcome, {}, "")
        book.clock.now += DAY
    score = (await scores(book.run, book.clock(), since=book.clock() - 2.5 * DAY))["rightsize"]
    assert score.counts["kept"] == 2
    assert score.lately == {"kept": 1, "harmful": 1, "no_effect": 0}
    assert score.saved == 12.0


async def test_scores_are_over_the_namespaces_that_are_asked_about(book: Book) -> None:
    theirs = replace(API, namespace="bank")
    await book.found(rightsize(), rightsize(subject=theirs, monthly=30.0))
    now = book.clock()
    assert (await scores(book.run, now))["rightsize"].promised == 42.0
    assert (await scores(book.run, now, namespaces={"bank"}))["rightsize"].promised == 30.0
    assert await scores(book.run, now, namespaces=set()) == {}


async def test_an_expired_one_is_not_counted_as_open_and_what_it_was_worth_is_not_promised(
    book: Book,
) -> None:
    await book.found(rightsize(subject=API))
    book.clock.now += 4 * DAY
    score = (await scores(book.run, book.clock())).get("rightsize")
    assert score is None


async def test_what_nobody_decided_on_is_forgotten_and_what_somebody_did_is_kept(
    book: Book,
) -> None:
    subjects = [replace(API, name=f"api-{n}") for n in range(4)]
    await book.found(*(rightsize(subject=subject) for subject in subjects))
    gone, rejected, kept, open_ = [one.id for one in (await book.list()).items]
    await book.reject(rejected, "ann")
    await applied(book, kept)
    await book.conclude(kept, "kept", {}, "")
    book.clock.now += 20 * DAY
    await book.found(rightsize(subject=(await book.get(open_)).suggestion.subject))
    book.clock.now += 31 * DAY
    await book.prune()
    assert {one.id for one in (await book.list()).items} == {rejected, kept, open_}
    assert gone


def test_how_they_did_is_said_in_words() -> None:
    assert Score().said == ""
    counts = Score().counts | {"kept": 3, "harmful": 1, "rejected": 2}
    score = Score(counts, claimed=4, held=0.75)
    assert score.said == "3 kept, 1 harmful, 2 rejected; 3 of 4 bounds held"
