"""What is read together, and in what order."""

from recommender.planning import PIECE_POINTS, SHARD_CONTAINERS, pieces, shards
from recommender.queries import RANGES, STEP

DAY = 86_400.0
START = 20_000 * DAY
CPU, MEMORY = RANGES[:2]


def test_namespaces_go_together_as_far_as_they_fit() -> None:
    sizes = {f"ns-{n}": SHARD_CONTAINERS // 3 for n in range(7)}
    found = shards(sizes, ["cpu"], {}, START)
    assert [len(shard.namespaces) for shard in found] == [3, 3, 1]
    assert {name for shard in found for name in shard.namespaces} == set(sizes)


def test_namespaces_that_were_read_unlike_far_do_not_go_together() -> None:
    until = {("cpu", "old"): START + DAY, ("cpu", "older"): START + DAY}
    found = shards({"old": 1, "older": 1, "new": 1}, ["cpu"], until, START)
    assert [(shard.namespaces, shard.until["cpu"]) for shard in found] == [
        (("new",), START),
        (("old", "older"), START + DAY),
    ]


def test_a_huge_namespace_is_read_in_shorter_pieces() -> None:
    (shard,) = shards({"huge": 30 * SHARD_CONTAINERS}, ["cpu"], {}, START)
    found = pieces(shard, [CPU], START + DAY)
    assert all((one.end - one.start) / STEP * shard.containers <= PIECE_POINTS for one in found)
    assert (found[0].start, found[-1].end) == (START, START + DAY)


def test_pieces_end_at_midnight_and_go_day_by_day() -> None:
    (shard,) = shards({"a": 1}, ["cpu", "memory"], {}, START + DAY / 2)
    found = pieces(shard, [CPU, MEMORY], START + 2 * DAY)
    assert [(one.query.name, one.start, one.end) for one in found] == [
        ("cpu", START + DAY / 2, START + DAY),
        ("memory", START + DAY / 2, START + DAY),
        ("cpu", START + DAY, START + 2 * DAY),
        ("memory", START + DAY, START + 2 * DAY),
    ]


def test_what_was_read_is_not_read_again() -> None:
    (shard,) = shards({"a": 1}, ["cpu"], {("cpu", "a"): START + DAY}, START)
    assert pieces(shard, [CPU], START + DAY) == []
