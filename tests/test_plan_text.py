"""A plan is data: whatever is in it, it comes back from its text as it was, and its digest moves
with all that an approval is bound to."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tools.plan import Delete, Plan, Ref, Scale, Seen, Undo, canonical, digest

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
REFS = st.builds(Ref, backend=st.just("kubernetes"), at=TEXT, kind=TEXT, namespace=TEXT, name=TEXT)
SEEN = st.none() | st.builds(Seen, uid=TEXT, value=JSON)
CHANGES = st.builds(Scale, id=TEXT, ref=REFS, replicas=st.integers(0, 1000), seen=SEEN) | st.builds(
    Delete, id=TEXT, ref=REFS, seen=SEEN, whole=st.none() | st.dictionaries(TEXT, JSON, max_size=3)
)
PLANS = st.builds(Plan, summary=TEXT, changes=st.lists(CHANGES, max_size=4))


@given(PLANS)
def test_a_plan_comes_back_from_its_text_as_it_was(plan: Plan) -> None:
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert digest("t", {}, "o", again) == digest("t", {}, "o", plan)
    assert again.undo in Undo


@given(PLANS, PLANS, JSON, JSON)
def test_what_differs_has_another_digest(one: Plan, other: Plan, a: Any, b: Any) -> None:
    def told(arguments: Any, plan: Plan) -> str:
        return digest("t", {"a": arguments}, "o", plan)

    same = one.model_dump_json() == other.model_dump_json()
    assert (told(a, one) == told(a, other)) == same
    assert (told(a, one) == told(b, one)) == (canonical(a) == canonical(b))
    assert digest("t", {}, "o", one) != digest("t", {}, "p", one)
    assert digest("t", {}, "o", one) != digest("u", {}, "o", one)
