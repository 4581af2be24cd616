"""docs/benchmarks.md, written by the run that took its figures."""

import inspect
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.measuring import Figure

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

What Pilothouse costs, against the same work without it. `make bench` takes these figures and shows
them; `python -m tests.bench --write` writes this page, too. With `PILOTHOUSE_TEST_KUBECONFIG` those
that depend on the cluster are also taken on a real one.

A figure is the median of the ratios of pairs that were taken in turns, in one run; beside it are the
least and the greatest of them, and the medians of the times that they are made of. The practice
cluster, the practice AWS (moto), Pilothouse and the servers that it is compared with are processes of
their own, all on one machine.
"""
NAMES = ("mcp", "pydantic", "kubernetes", "aiohttp", "boto3", "duckdb", "uvicorn", "moto")


@dataclass(frozen=True)
class Chapter:
    """What is measured together. The docstring of `take` says how, for readers of the page."""

    title: str
    take: Callable[..., Awaitable[list[Figure]]]

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.take.__doc__ or "")


def page(taken: Sequence[tuple[Chapter, Sequence[Figure]]]) -> str:
    parts = [HEAD, f"Taken on {machine()}.\n"]
    for chapter, figures in taken:
        rows = "\n".join(table(figures))
        parts.append(f"## {chapter.title}\n\n{chapter.text}\n\n{rows}\n")
    return "\n".join(parts)


def table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| figure | measured | wanted | met | least–greatest | medians |"
    yield "|---|---|---|---|---|---|"
    for figure in figures:
        yield f"| {' | '.join(figure.cells())} |"


def machine() -> str:
    """The machine, in general words."""
    python = re.match(r"[\d.]+", sys.version)
    assert python is not None
    versions = ", ".join(f"{name} {version(name)}" for name in NAMES)
    load = os.getloadavg()[2]
    return (
        f"{os.cpu_count()} cores with a load of {load:.1f} (over 15 minutes), "
        f"CPython {python[0]}, {versions}"
    )
