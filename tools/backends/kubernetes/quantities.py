"""Kubernetes' quantities: `1000m` is `1`, and `1Gi` is `1024Mi`."""

import re
from decimal import Decimal
from typing import Any

from tools.errors import Code, ToolError

SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
QUANTITY = re.compile(
    r"^([+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40}))"
    r"(?:([eE][+-]?\d{1,2})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$"
)


def number(quantity: Any) -> Decimal | None:
    """The number that a quantity stands for, or None where it is none."""
    if isinstance(quantity, bool) or not isinstance(quantity, str | int | float):
        return None
    found = QUANTITY.match(str(quantity))
    if not found:
        return None
    digits, exponent, suffix = found.groups()
    return Decimal(digits + (exponent or "")) * SUFFIXES[suffix or ""]


def amount(quantity: Any) -> Decimal:
    """The same, where it must be one. Raises `ToolError`."""
    value = number(quantity)
    if value is None:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{str(quantity)[:40]!r} is no quantity.",
            "Write it as Kubernetes does: 500m, 2, 512Mi, 1Gi.",
        )
    return value


def written(value: Decimal, like: str = "") -> str:
    """A number as a quantity, in the family of units that `like` is in (`Mi`, `m`, none)."""
    units = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki") if like.endswith("i") else ()
    for unit in units:
        if value and value % SUFFIXES[unit] == 0:
            return f"{value / SUFFIXES[unit]:f}" + unit
    if value == value.to_integral_value():
        return f"{value.to_integral_value():f}"
    thousandths = value * 1000
    if thousandths == thousandths.to_integral_value():
        return f"{thousandths.to_integral_value():f}m"
    return f"{value.normalize():f}"
