"""Logging, to stderr: for people on a terminal, else as JSON. Nothing that looks like a secret."""

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from server.settings import Settings


def set_up(settings: "Settings", least: str = "") -> None:
    level = getattr(logging, max(least, settings.log.level, key=_rank).upper())
    pretty = settings.log.format == "pretty" or (
        settings.log.format == "auto" and sys.stderr.isatty()
    )
    render: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # As text before it is masked: a traceback quotes what it was called with.
    last: list[Any] = [structlog.processors.format_exc_info, _mask, render]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # What libraries say goes the same way.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING) if level > logging.DEBUG else logging.INFO)


def _rank(level: str) -> int:
    return ["", "debug", "info", "warning", "error"].index(level)


def _mask(logger: Any, method: str, event: Any) -> Any:
    from server.masking import mask, mask_text

    def masked(value: Any) -> Any:
        return mask_text(value) if isinstance(value, str) else mask(value)

    return {key: masked(value) for key, value in event.items()}
