"""What a Prometheus answers, parsed straight into arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from recommender.model import Floats, RecommenderError

Labels = dict[str, str]


@dataclass(frozen=True)
class Vector:
    """One value per series, at one moment."""

    labels: list[Labels]
    values: Floats
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """`values[i, n]` is series `labels[i]` at `start + n * step`; NaN where there was none."""

    start: float
    step: float
    labels: list[Labels]
    values: Floats
    warnings: tuple[str, ...] = ()


class Envelope(msgspec.Struct):
    """What is around every answer."""

    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    errorType: str = ""
    error: str = ""
    warnings: list[str] = msgspec.field(default_factory=list)

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(self.warnings or ())


class _Data(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Sample(msgspec.Struct):
    metric: Labels
    value: tuple[float, str] | None = None


class _Range(msgspec.Struct):
    metric: Labels
    values: msgspec.Raw = msgspec.Raw(b"[]")


def envelope(body: bytes) -> Envelope:
    """The envelope; RecommenderError where this is none."""
    try:
        return msgspec.json.decode(body, type=Envelope)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        if body.lstrip()[:1] == b"{":
            raise RecommenderError(
                "Prometheus sent half an answer, or one that cannot be read.",
                "It is asked again at the next run.",
                passing=True,
            ) from None
        raise RecommenderError(
            "What answers at this address is not a Prometheus.",
            "Check the URL; Mimir and Thanos often want a path such as /prometheus.",
        ) from None


def decoded(data: msgspec.Raw, kind: Any) -> Any:
    """Some `data` as what it should be."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise RecommenderError(f"Prometheus answered with something else: {error}") from None


def vector(found: Envelope) -> Vector:
    """The answer of an instant query; a scalar is a vector of one."""
    data: _Data = decoded(found.data, _Data)
    if data.resultType == "scalar":
        _, text = decoded(data.result, tuple[float, str])
        return Vector([{}], np.array([float(text)]), found.told)
    if data.resultType != "vector":
        raise RecommenderError(
            f"The query answers with a {data.resultType}, not with a value per series.",
            "Leave out the range in brackets, or ask for a range.",
        )
    samples = [s for s in decoded(data.result, list[_Sample]) if s.value is not None]
    values = np.array([float(s.value[1]) for s in samples], dtype=float)
    return Vector([s.metric for s in samples], values, found.told)


def matrix(found: Envelope, start: float, step: float, steps: int) -> Matrix:
    """The answer of a range query, on the grid that was asked for."""
    data: _Data = decoded(found.data, _Data)
    if data.resultType != "matrix":
        raise RecommenderError(f"Prometheus answered a range with a {data.resultType}.")
    ranges: list[_Range] = decoded(data.result, list[_Range])
    values = np.full((len(ranges), steps), np.nan)
    for row, one in zip(values, ranges, strict=True):
        pairs = _pairs(one.values)
        at = np.rint((pairs[:, 0] - start) / step).astype(np.int64)
        inside = (at >= 0) & (at < steps)
        row[at[inside]] = pairs[inside, 1]
    # A division by nothing is nothing that is known.
    values[np.isinf(values)] = np.nan
    return Matrix(start, step, [one.metric for one in ranges], values, found.told)


def _pairs(raw: msgspec.Raw) -> Floats:
    """`[[t,"v"],…]` as an array of two columns. Made flat first: a third of the time of a list of
    pairs with text in them."""
    flat = bytes(raw).translate(None, b'[]" \n')
    if b"N" in flat or b"I" in flat:  # NaN and Inf, which JSON does not know
        return np.fromstring(flat.decode(), sep=",").reshape(-1, 2)
    numbers: Sequence[float] = decoded(msgspec.Raw(b"[" + flat + b"]"), list[float])
    return np.array(numbers, dtype=float).reshape(-1, 2)


def joined(pieces: Sequence[Matrix]) -> Matrix:
    """Pieces of one range, one after the other in time, as one."""
    first, *_ = pieces
    rows: dict[tuple[tuple[str, str], ...], int] = {}
    labels: list[Labels] = []
    for piece in pieces:
        for one in piece.labels:
            if rows.setdefault(tuple(sorted(one.items())), len(labels)) == len(labels):
                labels.append(one)
    values = np.full((len(labels), sum(piece.values.shape[1] for piece in pieces)), np.nan)
    column = 0
    for piece in pieces:
        to = [rows[tuple(sorted(one.items()))] for one in piece.labels]
        width = piece.values.shape[1]
        values[to, column : column + width] = piece.values
        column += width
    told = tuple(dict.fromkeys(word for piece in pieces for word in piece.warnings))
    return Matrix(first.start, first.step, labels, values, told)


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request may take: seconds to connect, seconds in all, bytes of its answer,
    how often it is tried, and the longest that a server may make us wait in between."""

    connect_s: float = 5.0
    request_s: float = 60.0
    answer_mb: int = 256
    tries: int = 3
    wait_s: float = 20.0
    points: int = 10_000  # a server answers at most 11,000 per series
    piece_s: float = 86_400.0


@dataclass(frozen=True)
class Login:
    """How a Prometheus is reached beside its URL."""

    token: str = field(default="", repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    ca_file: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
