"""Whether two suggestions are the same for whoever reads them, and what has changed if not."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from recommender.model import Suggestion
from recommender.tables import plain

# So much an argument may move before the offer that stands is replaced.
ARGUMENTS_BAND = 0.1
# What counts in the evidence where a strategy does not say what its suggestion rests on (`basis`).
# No counts, dates or peaks: they move by themselves.
COUNTS = {"p95", "request", "limit", "level", "bound", "before", "after"}
# So much the effect may move before; so much anything that counts before a rejection is doubted.
EFFECT_BAND = 0.25
EVIDENCE_BAND = 0.25
# A difference below this, in cores, replicas or shares, is none.
TRIFLE = 0.01
# A month's effect below this, in the currency of the prices, moves nobody.
SMALL_CHANGE = 1.0

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


class Moved(NamedTuple):
    """One thing that differs; `share` is by how much, of the greater of the two."""

    what: str
    before: float | str
    after: float | str
    share: float

    def __str__(self) -> str:
        before, after = (
            f"{v:.4g}" if isinstance(v, float) else v for v in (self.before, self.after)
        )
        return f"{self.what} went from {before or 'nothing'} to {after or 'nothing'}"


def differs(row: Mapping[str, Any], found: Suggestion) -> bool:
    """Whether what was found really differs from the suggestion of a row, so that it replaces it.
    What has no arguments that could move differs when what it rests on does."""
    if row["tool"] != found.tool or _alarm(row, found):
        return True
    leaves = [*_leaves(row["arguments"], ""), *_leaves(found.arguments, "")]
    if not any(isinstance(leaf, float) for _, leaf in leaves):
        return bool(moved(basis(row["evidence"]), basis(found.evidence), EVIDENCE_BAND))
    return bool(
        moved(row["arguments"], found.arguments, ARGUMENTS_BAND)
        or _effect(row["monthly"], found.monthly)
    )


def same_offer(row: Mapping[str, Any], found: Suggestion) -> bool:
    """Whether nothing at all moved in what would be done."""
    return bool(row["tool"] == found.tool and plain(row["arguments"]) == plain(found.arguments))


def changes(row: Mapping[str, Any], found: Suggestion) -> list[Moved]:
    """What has really changed since a suggestion was rejected; nothing: it stays away."""
    if row["tool"] != found.tool:
        return [Moved("the tool", row["tool"], found.tool, 1.0)]
    return _alarm(row, found) + sorted(
        [
            *moved(row["arguments"], found.arguments, EVIDENCE_BAND),
            *moved(basis(row["evidence"]), basis(found.evidence), EVIDENCE_BAND),
            *_effect(row["monthly"], found.monthly),
        ],
        key=lambda one: -one.share,
    )


def moved(before: Any, after: Any, band: float) -> list[Moved]:
    """What differs by more than the band. Rows of numbers (a schedule) are compared as a whole."""
    old, new = _collected(before), _collected(after)
    found = []
    for what in old | new:
        a, b = old.get(what, []), new.get(what, [])
        share = _distance(a, b)
        if share > band:
            found.append(Moved(what, _told(a), _told(b), share))
    return found


def basis(evidence: Mapping[str, Any]) -> Any:
    """What a suggestion rests on: its strategy's word, else what usually counts."""
    if "basis" in evidence:
        return evidence["basis"]
    return {
        what: leaves
        for what, leaves in _collected(evidence).items()
        if what.rpartition(" ")[2] in COUNTS
    }


def _alarm(row: Mapping[str, Any], found: Suggestion) -> list[Moved]:
    if found.risk != "high" or row["risk"] == "high":
        return []
    return [Moved("the risk", row["risk"], "high", 1.0)]


def _effect(before: float, after: float) -> list[Moved]:
    if abs(after - before) < SMALL_CHANGE:
        return []
    return moved({"monthly effect": before}, {"monthly effect": after}, EFFECT_BAND)


def _collected(value: Any) -> dict[str, list[float | str]]:
    found: dict[str, list[float | str]] = defaultdict(list)
    for what, leaf in _leaves(value, ""):
        found[what].append(leaf)
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path} {key}".strip().replace("_", " "))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            named = isinstance(inner, Mapping)
            name = (inner.get("name") or inner.get("container") or number) if named else ""
            yield from _leaves(inner, f"{path} {name}".strip())
    elif hasattr(value, "tolist"):
        yield from _leaves(value.tolist(), path)
    elif quantity := _QUANTITY.fullmatch(str(value)):
        yield path, float(quantity[1]) * _UNITS[quantity[2] or ""]
    elif value is not None:
        yield path, str(value)


def _distance(a: list[float | str], b: list[float | str]) -> float:
    if a == b:
        return 0.0
    numbers = [v for v in a + b if isinstance(v, float)]
    if len(a) != len(b) or len(numbers) < len(a) + len(b):
        return 1.0
    pairs = [(float(x), float(y)) for x, y in zip(a, b, strict=True)]
    if all(abs(x - y) < TRIFLE for x, y in pairs):
        return 0.0
    most = max(sum(abs(x) for x, _ in pairs), sum(abs(y) for _, y in pairs))
    return min(1.0, sum(abs(x - y) for x, y in pairs) / most)


def _told(values: list[float | str]) -> float | str:
    if len(values) == 1:
        return values[0]
    numbers = [v for v in values if isinstance(v, float)]
    if numbers and len(numbers) == len(values):
        return sum(numbers) / len(numbers)
    return ", ".join(str(v) for v in values[:3])


def number_of(value: Any) -> float | None:
    """A number, or a quantity such as `250m` or `1Gi`; None for what is neither."""
    leaf = next(iter(_leaves(value, "")), None)
    return leaf[1] if leaf and isinstance(leaf[1], float) else None
