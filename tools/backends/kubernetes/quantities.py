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
DECIMAL = ("E", "P", "T", "G", "M", "k", "", "m", "u", "n")
BINARY = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki", "")
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
    """A number as the API server spells it: in the family of units that `like` is in, with the
    largest unit that leaves no fraction (`1`, `1500m`, `2k`, `512Mi`)."""
    if not value:
        return "0"
    family = BINARY if like.endswith("i") else DECIMAL
    for unit in family:
        units = value / SUFFIXES[unit]
        if units == units.to_integral_value():
            return f"{units.to_integral_value():f}{unit}"
    return f"{value.normalize():f}"


def spelled(quantity: Any) -> Any:
    """A quantity as the API server gives it back; what is none is left as it is."""
    value = number(quantity)
    if value is None or re.search(r"[eE][+-]?\d", str(quantity)):
        return quantity
    return written(value, str(quantity))
