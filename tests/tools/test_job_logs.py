"""The logs of Jobs, on a cluster."""

import pytest

from tests.tools.conftest import Hands, eventually, job_log, run_job
from tools.errors import Code, ToolError


@pytest.mark.cluster
class TestOnACluster:
    async def test_a_followed_log_comes_line_by_line_and_ends_with_how_it_stands(
        self, hands: Hands
    ) -> None:
        name = await run_job(hands, "for i in 1 2 3; do echo line $i; sleep 0.2; done")
        pieces = await job_log(hands, name, follow=True)
        assert pieces[:3] == [{"line": f"line {n}"} for n in (1, 2, 3)]
        assert pieces[-1]["done"]
        assert (pieces[-1]["status"], pieces[-1]["exit_code"]) == ("succeeded", 0)

    async def test_every_attempt_is_followed(self, hands: Hands) -> None:
        name = await run_job(hands, "echo try; exit 1", retries=1)
        pieces = await job_log(hands, name, follow=True)
        assert [p for p in pieces if "line" in p] == [{"line": "try"}] * 2
        assert pieces[-1]["status"] == "failed"

    async def test_a_log_that_is_not_followed_ends_by_itself(self, hands: Hands) -> None:
        name = await run_job(hands, "for i in 1 2 3 4; do echo $i; done; sleep 600")

        async def the_last_two() -> bool:
            pieces = await job_log(hands, name, tail_lines=2)
            return pieces == [{"text": "3\n4\n"}, {"done": True, "status": "running"}]

        await eventually(the_last_two)

    async def test_the_log_of_a_job_that_is_gone_is_what_was_kept(self, hands: Hands) -> None:
        hands.kept.results["old"] = {"status": "failed", "exit_code": 2, "log": "a\nb\n"}
        pieces = await job_log(hands, "old", tail_lines=1)
        assert pieces[0] == {"text": "b\n"}
        assert pieces[1] == {"done": True, "status": "failed", "exit_code": 2, "kept": True}

    async def test_a_job_that_never_was_has_no_log(self, hands: Hands) -> None:
        with pytest.raises(ToolError) as refused:
            await job_log(hands, "none")
        assert refused.value.code is Code.NOT_FOUND
