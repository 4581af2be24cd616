"""A real Prometheus with a small shop's two days, made once."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.recommender import real, shop

if TYPE_CHECKING:
    from recommender.history import History


class Scraped(NamedTuple):
    """Where it answers, and until when it has scraped."""

    url: str
    now: float


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """The shop's Prometheus."""
    if not real.INSTALLED:
        reason = "Prometheus is not installed (apt-get install prometheus)"
        pytest.fail(reason) if real.REQUIRED else pytest.skip(reason)
    home, now = tmp_path_factory.mktemp("prometheus"), time.time()
    real.write(home / "data", shop.shop(now))
    with real.server(home / "data") as (url, _):
        yield Scraped(url, now)


@pytest.fixture
def history(tmp_path: Path) -> "Iterator[History]":
    """An empty one."""
    from recommender.history import History

    made = History(tmp_path / "history.duckdb")
    yield made
    made.close()
