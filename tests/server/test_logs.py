"""What is logged, and what never is."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from server import logs, settings
from server.identity import new_token


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("format", ["json", "pretty"])
def test_no_token_is_ever_logged(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    token, _ = new_token()
    logs.set_up(settings.load(log={"format": format, "level": "info"}))
    structlog.get_logger().info(f"with {token}", token=token, headers={"authorization": token})
    logging.getLogger("some.library").warning("sent %s", token)
    try:
        raise ValueError(token)
    except ValueError:
        structlog.get_logger().exception("broke")
    said = capsys.readouterr()
    assert said.out == "", "stdout is the protocol's"
    assert "broke" in said.err
    assert "some.library" in said.err or "sent" in said.err
    assert token not in said.err


def test_elsewhere_than_on_a_terminal_each_line_is_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up(settings.load())
    structlog.get_logger().debug("not this")
    structlog.get_logger().info("this", call="c1")
    logging.getLogger("library").warning("and this")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["call"], first["level"]) == ("this", "c1", "info")
    assert second["event"] == "and this"
