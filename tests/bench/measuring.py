"""Figures: ratios of A to B, taken in turns so that what slows the machine down slows down both."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

# Seconds, each of one go at A and of one at B.
Pair = tuple[float, float]
# Something to do that answers how many seconds it took.
Go = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Figure:
    """`value` is to be at most `bound`, or at least where `least` says so."""

    what: str
    value: float
    bound: float
    least: bool = False
    unit: str = ""
    spread: str = ""
    told: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.least else self.value <= self.bound

    def cells(self) -> tuple[str, ...]:
        """The figure as it stands in a table."""
        value, bound = (f"{_number(n)}{self.unit}" for n in (self.value, self.bound))
        wanted = f"{'≥' if self.least else '≤'} {bound}"
        met = "yes" if self.met else "**no**"
        return self.what, value, wanted, met, self.spread, self.told


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 50 else f"{value:.2f}"


def timed(work: Callable[[], Awaitable[object]]) -> Go:
    async def go() -> float:
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    return go


async def in_turns(a: Go, b: Go, pairs: int, warm: int = 1) -> list[Pair]:
    """Times of A and B, one after the other, and who goes first in turns too."""
    for _ in range(warm):
        await a()
        await b()
    found: list[Pair] = []
    for n in range(pairs):
        if n % 2:
            of_b = await b()
            found.append((await a(), of_b))
        else:
            found.append((await a(), await b()))
    return found


def medians(pairs: Sequence[Pair], of: int) -> list[Pair]:
    """Each of so many pairs made one, for what is so short that anything disturbs it."""
    parts = (pairs[n : n + of] for n in range(0, len(pairs), of))
    return [(median(a for a, _ in part), median(b for _, b in part)) for part in parts]


def ratio(what: str, bound: float, pairs: Sequence[Pair]) -> Figure:
    """A's time over B's: the median of the pairs' ratios."""
    a, b = (median(times) for times in zip(*pairs, strict=True))
    ratios = [a / b for a, b in pairs]
    told = f"{said(a)} against {said(b)}"
    return Figure(what, median(ratios), bound, spread=_spread(ratios), told=told)


def rate(what: str, bound: float, pairs: Sequence[Pair], calls: int) -> Figure:
    """A's calls in a second over B's, where each go makes so many calls."""
    a, b = (calls / median(times) for times in zip(*pairs, strict=True))
    ratios = [b / a for a, b in pairs]
    told = f"{a:,.0f}/s against {b:,.0f}/s"
    return Figure(what, median(ratios), bound, True, spread=_spread(ratios), told=told)


def _spread(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f}–{max(ratios):.2f}, {len(ratios)} pairs"


def said(seconds: float) -> str:
    """A time with three digits or so."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.001:
        return f"{seconds * 1000:.{1 if seconds < 0.1 else 0}f} ms"
    return f"{seconds * 1e6:.0f} µs"
