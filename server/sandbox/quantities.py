"""Kubernetes quantities: `100m`, `1Gi`, `0.5`."""

from __future__ import annotations

import functools
import re
from fractions import Fraction

BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
PATTERN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]?|[eE][+-]?\d+)")
MALFORMED = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Fraction:
    """The number that a quantity stands for."""
    match = PATTERN.fullmatch(text)
    if not match:
        raise ValueError(MALFORMED)
    number, suffix = Fraction(match[1]), match[2]
    if suffix in BINARY:
        return number * Fraction(1024) ** BINARY[suffix]
    if suffix in DECIMAL:
        return number * Fraction(1000) ** DECIMAL[suffix]
    return number * Fraction(10) ** int(suffix[1:])


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The quantity as the API writes it: no fraction, the largest suffix that leaves none."""
    value = parse(text)
    return format_binary(value) if text.endswith("i") else format_decimal(value)


def format_binary(value: Fraction) -> str:
    """A number of bytes with a binary suffix."""
    if value.denominator != 1:
        return format_decimal(value)
    for suffix, power in reversed(BINARY.items()):
        if value and value % 1024**power == 0:
            return f"{value // 1024**power}{suffix}"
    return str(value)


def format_decimal(value: Fraction) -> str:
    """A number with a decimal suffix; finer than a billionth is rounded up."""
    for suffix, power in reversed(DECIMAL.items()):
        scaled = value / Fraction(1000) ** power
        if value and scaled.denominator == 1:
            return f"{scaled}{suffix}"
    return f"{-(-value * 10**9 // 1)}n" if value else "0"
