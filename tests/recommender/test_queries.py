"""Queries as data."""

import re

import pytest

from recommender.model import RecommenderError
from recommender.queries import FACTS, OWNERS, RANGES, SURVEY, Queries, among, quoted


def test_one_query_asks_for_many_namespaces() -> None:
    expr = Queries().expr(RANGES[0].template, ["shop", "bank"])
    assert expr == (
        "rate(container_cpu_usage_seconds_total"
        '{container!="",container!="POD",namespace=~"bank|shop"}[300s])'
    )


@pytest.mark.parametrize(
    "value", ['"', "\\", "a\nb", '\\"} or up{a="', "ü", "a.b|c(d)[e]{f}^g$h*i+j?"]
)
def test_a_value_is_escaped_whatever_is_in_it(value: str) -> None:
    inner = quoted(value)[1:-1]
    assert "\n" not in inner
    assert not re.search(r'(?<!\\)(\\\\)*"', inner)
    unquoted = re.sub(
        r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), among("n", [value, "x"])[4:-1]
    )
    assert re.fullmatch(unquoted, value)
    assert not re.fullmatch(unquoted, value + "y")


def test_metrics_go_by_the_names_of_the_settings() -> None:
    queries = Queries(names={"kube_pod_owner": "pod_owner"}, matchers='cluster="eu"')
    assert queries.expr(OWNERS["pod"], ["shop"]) == 'pod_owner{cluster="eu",namespace="shop"}'
    assert queries.there(("kube_pod_owner",), {"pod_owner"})
    assert not queries.there(("kube_pod_owner",), {"kube_pod_owner"})


def test_a_query_of_ones_own_is_added_or_takes_the_place_of_ours() -> None:
    mine = "sum by (namespace, pod) (rate($http_requests_total{$where}[${step}s]))"
    queries = Queries(more={"requests": mine, "cpu": "x"})
    by_name = {query.name: query for query in queries.ranges}
    assert by_name["requests"].folds == {"requests": "sum"}
    assert by_name["requests"].metrics == ("http_requests_total",)
    assert (by_name["cpu"].template, by_name["cpu"].must) == ("x", True)
    assert len(by_name) == len(RANGES) + 1


def test_a_query_that_cannot_be_filled_in_is_refused() -> None:
    with pytest.raises(RecommenderError, match="cannot be used"):
        Queries().expr("rate(x[$5])")


def test_no_query_asks_for_a_single_workload() -> None:
    templates = [query.template for query in RANGES] + [*FACTS.values(), *OWNERS.values(), SURVEY]
    assert all("$where" in template for template in templates)
