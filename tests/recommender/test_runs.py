"""Runs of the analysis."""

from recommender.model import RecommenderError
from recommender.runs import Runs
from server.journal import Journal


async def test_a_run_says_how_it_ended_and_one_that_was_cut_off_says_so(database: str) -> None:
    journal = await Journal.open(database)
    ticks = iter(range(1000, 2000))
    runs = Runs(journal.run, lambda: float(next(ticks)))
    await runs.open()
    whole, half, broken, cut = [await runs.begin(f"ann-{n}", {"all": True}) for n in range(4)]
    await runs.end(whole, seen={"workloads": 7}, recorded={"opened": 2})
    await runs.end(half, seen={"workloads": 3}, warnings=["No HPA metrics."], partial=True)
    away = RecommenderError("Prometheus is away.", "Start it.")
    failed = await runs.end(broken, seen={}, error=away)
    assert (failed.state, failed.error, failed.hint) == ("failed", away.message, away.hint)
    await runs.open(alone=False)
    assert [run.id for run in await runs.latest(5, "running")] == [cut]
    await runs.open()
    states = {run.id: run.state for run in await runs.latest()}
    assert states == {whole: "complete", half: "partial", broken: "failed", cut: "interrupted"}
    [newest] = await runs.latest(1, "complete", "partial")
    assert (newest.id, newest.warnings, newest.started_by) == (half, ["No HPA metrics."], "ann-1")
    late = await runs.end(cut, seen={})
    assert late.state == "interrupted"
    await journal.close()
