"""Cuts what is to be read into shards of namespaces and pieces of time that fit into memory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recommender.history import DAY
from recommender.queries import STEP, Query

# About 20 MB of answer, and as much again while it is taken apart.
PIECE_POINTS = 600_000
SHARD_CONTAINERS = int(PIECE_POINTS / (DAY / STEP))
SHARD_NAMESPACES = 200


@dataclass(frozen=True)
class Shard:
    """Namespaces that are asked for together, and how far each query was read in all of them."""

    number: int
    namespaces: tuple[str, ...]
    containers: int
    until: Mapping[str, float]

    def __str__(self) -> str:
        first, *others = self.namespaces
        return f"Namespace {first}" + (f" and {len(others)} more" if others else "")


@dataclass(frozen=True)
class Piece:
    """A query from `start` up to `end`, which is at most the next midnight."""

    query: Query
    start: float
    end: float


def shards(
    sizes: Mapping[str, int],
    queries: Sequence[str],
    until: Mapping[tuple[str, str], float],
    start: float,
) -> list[Shard]:
    """Namespaces (with how many containers each has) that were read equally far, together."""
    alike: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for name in sizes:
        alike[tuple(until.get((query, name), start) for query in queries)].append(name)
    found: list[Shard] = []
    for marks, names in sorted(alike.items()):
        of_query = dict(zip(queries, marks, strict=True))
        for some in _packed(names, sizes):
            containers = sum(sizes[name] for name in some)
            found.append(Shard(len(found), tuple(some), containers, of_query))
    return found


def _packed(names: Sequence[str], sizes: Mapping[str, int]) -> list[list[str]]:
    packs: list[list[str]] = [[]]
    size = 0
    for name in names:
        full = size + sizes[name] > SHARD_CONTAINERS or len(packs[-1]) == SHARD_NAMESPACES
        if packs[-1] and full:
            packs.append([])
            size = 0
        packs[-1].append(name)
        size += sizes[name]
    return packs


def pieces(shard: Shard, queries: Sequence[Query], end: float) -> list[Piece]:
    """What is new in a shard: day by day, each query in turn."""
    span = max(1, int(PIECE_POINTS / max(1, shard.containers))) * STEP
    found = []
    for query in queries:
        start = shard.until[query.name]
        while start < end:
            midnight = (start // DAY + 1) * DAY
            stop = min(end, midnight, start + span)
            found.append(Piece(query, start, stop))
            start = stop
    order = {query.name: n for n, query in enumerate(queries)}
    return sorted(
        found, key=lambda piece: (piece.start // DAY, order[piece.query.name], piece.start)
    )
