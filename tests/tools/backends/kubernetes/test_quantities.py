"""Quantities as Kubernetes spells them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.backends.kubernetes.quantities import amount, number, spelled, written
from tools.errors import Code, ToolError


@pytest.mark.parametrize(
    ("quantity", "canonical"),
    [
        ("1000m", "1"), ("1.5", "1500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("2000", "2k"),
        (2, "2"), ("0.5Gi", "512Mi"), ("128Mi", "128Mi"), ("0", "0"), ("100m", "100m"),
        ("1e3", "1e3"), ("512M", "512M"), ("web", "web"),
    ],
)  # fmt: skip
def test_a_quantity_is_spelled_as_the_api_server_spells_it(
    quantity: object, canonical: str
) -> None:
    assert spelled(quantity) == canonical


def test_what_is_no_quantity_is_refused_with_how_to_write_one() -> None:
    for bad in ("", "1.2.3", "five", "1mi", "--1", None, True, "9" * 60):
        assert number(bad) is None
        with pytest.raises(ToolError) as refused:
            amount(bad)
        assert refused.value.code is Code.INVALID_ARGUMENT


@given(st.integers(0, 10**12), st.sampled_from(["m", "", "k", "M", "Ki", "Mi", "Gi"]))
def test_spelling_a_quantity_does_not_change_what_it_stands_for(n: int, unit: str) -> None:
    assert number(spelled(f"{n}{unit}")) == number(f"{n}{unit}")
    assert spelled(spelled(f"{n}{unit}")) == spelled(f"{n}{unit}")


def test_a_number_takes_the_unit_of_what_it_is_like() -> None:
    assert written(Decimal(2**30), "512Mi") == "1Gi"
    assert written(Decimal("0.25"), "1") == "250m"
