"""The few shapes of PromQL that the practice Prometheus can tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from .exposition import COUNTERS, Exposition
from .usage import Floats, Found, Labels

Series = list[tuple[Labels, Floats]]
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SELECTOR = re.compile(rf"^(?P<metric>{NAME})\s*(?:\{{(?P<matchers>.*)\}})?$", re.DOTALL)
MATCHER = re.compile(rf'\s*({NAME})\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.DOTALL)
FUNCTION = re.compile(rf"^(?P<name>{NAME})\s*\((?P<inner>.*)\)$", re.DOTALL)
WINDOW = re.compile(r"^(?P<selector>.*)\[(?P<number>\d+)(?P<unit>[smhdw])\]$", re.DOTALL)
GROUPED = re.compile(r"^(?P<fold>\w+)\s+by\s*\((?P<by>[^)]*)\)\s*\((?P<inner>.*)\)$", re.DOTALL)
OFFSET = re.compile(r"^(?P<selector>.*\S)\s+offset\s+(?P<number>\d+)(?P<unit>[smhdw])$", re.DOTALL)
AND_ON = re.compile(r"^on\s*\((?P<on>[^)]*)\)\s*(?P<rest>.*)$", re.DOTALL)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LOOKBACK = 300.0
ESCAPES = {"n": "\n", "t": "\t"}

FOLDS: dict[str, Callable[[Floats], Floats]] = {
    "max": lambda rows: np.fmax.reduce(rows),
    "min": lambda rows: np.fmin.reduce(rows),
    "sum": lambda rows: _where_known(rows, np.nansum(rows, axis=0)),
    "avg": lambda rows: np.fmax.reduce(rows) if len(rows) == 1 else _mean(rows),
    "count": lambda rows: _where_known(rows, (~np.isnan(rows)).sum(axis=0).astype(float)),
    "group": lambda rows: _where_known(rows, np.ones(rows.shape[1])),
}
OVER_TIME = ("max_over_time", "min_over_time", "avg_over_time", "last_over_time")


class Refused(Exception):
    """What a practice Prometheus cannot answer, with the status to say so."""

    def __init__(self, why: str, status: int = 422) -> None:
        super().__init__(why)
        self.status = status


class Evaluation:
    """Expressions from `start` to `end`, both included."""

    def __init__(
        self, exposition: Exposition, start: float, end: float, step: float, now: float
    ) -> None:
        self.exposition = exposition
        self.at = start + step * np.arange(int((end - start) / step + 1e-6) + 1)
        self.now = now

    def of(self, expr: str) -> Series:
        """The series of an expression, with their values at each time."""
        expr = _bare(expr.strip())
        if len(parts := _split(expr, " and ")) == 2:
            return self._and(*parts)
        for sign in (" > ", " == "):
            if len(parts := _split(expr, sign)) == 2:
                return self._compared(parts[0], sign.strip(), parts[1])
        for sign in (" - ", " / "):
            if len(parts := _split(expr, sign)) == 2:
                return self._between(parts[0], sign.strip(), parts[1])
        if match := GROUPED.match(expr):
            return self._grouped(match["fold"], match["by"], match["inner"])
        if match := FUNCTION.match(expr):
            return self._function(match["name"], match["inner"])
        if match := OFFSET.match(expr):
            return self._selected(match["selector"], self.at - _span(match))
        return self._selected(expr, self.at)

    def _selected(self, selector: str, at: Floats) -> Series:
        """Gauges as they are; of counters how far they have come."""
        metric, found = self._courses(selector, at)
        if metric not in COUNTERS:
            return [(labels, course(at)) for labels, course in found]
        # Straight from far away, as fast as it is now at the most: good enough to look at.
        begin = self.now // 86_400 * 86_400 - 30 * 86_400
        series = []
        for labels, course in found:
            values = course(at)
            series.append(
                (labels, np.where(np.isnan(values), np.nan, (at - begin) * _typical(values)))
            )
        return series

    def _courses(self, selector: str, at: Floats) -> tuple[str, Sequence[Found]]:
        match = SELECTOR.match(selector.strip())
        if not match:
            raise Refused(f"this is a practice Prometheus, which cannot evaluate: {selector}")
        metric, matchers = match["metric"], _matchers(match["matchers"] or "")
        if metric not in self.exposition.metrics:
            return metric, []
        first, last = float(at[0]) - LOOKBACK, float(at[-1])
        found = self.exposition.series(metric, first, last, self.now)
        return metric, [
            ({"__name__": metric, **labels}, course)
            for labels, course in found
            if all(fits(labels.get(label, "")) for label, fits in matchers)
        ]

    def _function(self, name: str, inner: str) -> Series:
        match = WINDOW.match(inner.strip())
        if not match and name in FOLDS:
            return self._grouped(name, "", inner)
        if not match:
            raise Refused(f"this is a practice Prometheus: {name}() wants a selector and [a range]")
        metric, found = self._courses(match["selector"], self.at)
        # The middle of the window stands for all of it.
        middle = self.at - _span(match) / 2
        by = {"rate": 1.0, "increase": float(_span(match)), **dict.fromkeys(OVER_TIME, 1.0)}
        if name not in by:
            raise Refused(f"this is a practice Prometheus, which knows {', '.join(by)}, not {name}")
        if (metric in COUNTERS) != (name in ("rate", "increase")) and found:
            raise Refused(f"{name} of {metric} is not known to a practice Prometheus")
        return [(_nameless(labels), course(middle) * by[name]) for labels, course in found]

    def _grouped(self, fold: str, by: str, inner: str) -> Series:
        if fold not in FOLDS:
            raise Refused(f"this is a practice Prometheus, which knows {', '.join(FOLDS)} by (…)")
        names = [name.strip() for name in by.split(",") if name.strip()]
        groups: dict[tuple[str, ...], list[Floats]] = {}
        for labels, values in self.of(inner):
            groups.setdefault(tuple(labels.get(name, "") for name in names), []).append(values)
        return [
            ({n: v for n, v in zip(names, key, strict=True) if v}, FOLDS[fold](np.array(rows)))
            for key, rows in groups.items()
        ]

    def _between(self, left: str, sign: str, right: str) -> Series:
        theirs = {_key(labels): values for labels, values in self.of(right)}
        series: Series = []
        for labels, values in self.of(left):
            if (other := theirs.get(_key(labels))) is None:
                continue
            with np.errstate(all="ignore"):
                result = values - other if sign == "-" else values / other
            series.append((_nameless(labels), result))
        return series

    def _compared(self, left: str, sign: str, right: str) -> Series:
        try:
            bound = float(right)
        except ValueError:
            raise Refused("a practice Prometheus compares with numbers only") from None
        return [
            (labels, np.where(values > bound if sign == ">" else values == bound, values, np.nan))
            for labels, values in self.of(left)
        ]

    def _and(self, left: str, right: str) -> Series:
        match = AND_ON.match(right.strip())
        if not match:
            raise Refused("a practice Prometheus knows `and on (…)` only")
        names = [name.strip() for name in match["on"].split(",")]
        known: dict[tuple[str, ...], Floats] = {}
        for labels, values in self.of(match["rest"]):
            key = tuple(labels.get(name, "") for name in names)
            known[key] = np.fmax(known.get(key, values), values)
        nothing = np.full(len(self.at), np.nan)
        return [
            (labels, np.where(np.isnan(known.get(_values(labels, names), nothing)), np.nan, values))
            for labels, values in self.of(left)
        ]


def _values(labels: Labels, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in names)


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(_nameless(labels).items()))


def _nameless(labels: Labels) -> Labels:
    return {name: value for name, value in labels.items() if name != "__name__"}


def _span(match: re.Match[str]) -> int:
    return int(match["number"]) * SECONDS[match["unit"]]


def _typical(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _where_known(rows: Floats, values: Floats) -> Floats:
    return np.where(np.isnan(rows).all(axis=0), np.nan, values)


def _mean(rows: Floats) -> Floats:
    found: Floats = np.nansum(rows, axis=0) / np.maximum(1, (~np.isnan(rows)).sum(axis=0))
    return _where_known(rows, found)


def _matchers(text: str) -> list[tuple[str, Callable[[str], bool]]]:
    found: list[tuple[str, Callable[[str], bool]]] = []
    at = 0
    while text[at:].strip():
        match = MATCHER.match(text, at)
        if not match:
            raise Refused(f"parse error: unexpected {text[at:]!r} in label matching", 400)
        label, sign, quoted = match.groups()
        found.append((label, _fits(sign, _unquoted(quoted))))
        at = match.end()
    return found


def _fits(sign: str, value: str) -> Callable[[str], bool]:
    if sign in ("=", "!="):
        return lambda text: (text == value) == (sign == "=")
    try:
        pattern = re.compile(value)
    except re.error as wrong:
        raise Refused(f"parse error: error parsing regexp: {wrong}", 400) from None
    return lambda text: bool(pattern.fullmatch(text)) == (sign == "=~")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), text)


def _bare(expr: str) -> str:
    """Without brackets around all of it."""
    while expr.startswith("(") and _closes(expr) == len(expr) - 1:
        expr = expr[1:-1].strip()
    return expr


def _closes(expr: str) -> int:
    """Where the first bracket is closed; -1 where it is not."""
    for at, depth, inside in _depths(expr):
        if not inside and depth == 0 and expr[at] in ")]}":
            return at
    return -1


def _split(expr: str, sign: str) -> list[str]:
    """In two at the last such sign that is in no brackets and no quotes."""
    at = [n for n, depth, inside in _depths(expr) if not depth and not inside
          and expr.startswith(sign, n)]  # fmt: skip
    return [expr[: at[-1]], expr[at[-1] + len(sign) :]] if at else [expr]


def _depths(expr: str) -> list[tuple[int, int, bool]]:
    """Each character's place, how many brackets are open after it, and whether it is quoted."""
    found, depth, inside, escaped = [], 0, False, False
    for at, letter in enumerate(expr):
        if inside:
            escaped, inside = letter == "\\" and not escaped, letter != '"' or escaped
        elif letter == '"':
            inside = True
        else:
            depth += (letter in "([{") - (letter in ")]}")
        found.append((at, depth, inside))
    return found
