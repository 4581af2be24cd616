"""Strategies are found by name, a user's as well, and told what they may be told."""

import sys
import types

import pytest

from recommender.model import RecommenderError, Suggestion
from recommender.strategies import BUILT_IN, Context, Strategy, find, make
from tests.recommender.made import NOW, workload


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_built_in_is_found_by_its_name(name):
    assert find(name).name == name
    assert make(name, caution=2).settings.caution == 2


def test_a_strategy_of_ones_own_is_found_by_its_path():
    class Quiet(Strategy):
        name = "quiet"

        def run(self, workload, now, context):
            return [Suggestion(self.name, workload.subject, "Nothing", "All is well.")]

    module = types.ModuleType("their_strategies")
    module.Quiet = Quiet
    sys.modules["their_strategies"] = module
    try:
        found = make("their_strategies:Quiet").run(workload(), NOW, Context())
    finally:
        del sys.modules["their_strategies"]
    assert found[0].title == "Nothing"
    with pytest.raises(RecommenderError, match="cannot be replayed"):
        Quiet().policy()


@pytest.mark.parametrize(
    "name", ["nothing", "no.such:Thing", "recommender.model:Series", "os:nothing"]
)
def test_what_is_not_there_is_said_with_what_is(name):
    with pytest.raises(RecommenderError) as error:
        find(name)
    assert error.value.hint


@pytest.mark.parametrize("wrong", [{"caution": 0}, {"confidence": 2}, {"no_such": 1}])
def test_a_setting_that_is_wrong_is_named(wrong):
    with pytest.raises(RecommenderError, match=next(iter(wrong))):
        make("rightsize", **wrong)
