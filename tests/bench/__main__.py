"""`python -m tests.bench [--write] [--only WORD,…]`: take the figures, show them, write them down."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from tests.bench import (
    listing,
    live,
    many,
    neighbours,
    prometheus,
    provisioning,
    reading,
    slack,
    starting,
    viewing,
)
from tests.bench.measuring import Figure
from tests.bench.page import PAGE, Chapter, page, table
from tests.bench.processes import world

MOST_S = 1200.0

# What does not depend on the cluster is measured over the practice one alone.
ONCE = {
    "start": Chapter("Start", starting.start),
    "definitions": Chapter("What a model is sent of the tools", starting.definitions),
    "tenants": Chapter("Many tenants", many.tenants),
    "live": Chapter("Following what happens", live.live),
    "neighbours": Chapter("Beside a greedy caller", neighbours.neighbours),
    "slack": Chapter("Many who ask in Slack", slack.slack),
    "page": Chapter("The page", viewing.viewing),
    "prometheus": Chapter("Reading usage from Prometheus", prometheus.prometheus),
}
EACH = {
    "reads": Chapter("Reading through the gate", reading.reads),
    "pods": Chapter("Listing pods", listing.pods),
    "provisioning": Chapter("Making a tenant", provisioning.provisioning),
}
CHAPTERS = ONCE | EACH


async def taken(only: Collection[str], real: str) -> dict[str, list[Figure]]:
    """The figures of these chapters."""
    figures: dict[str, list[Figure]] = {name: [] for name in CHAPTERS if name in only}
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as home:
        for where, names in (("", CHAPTERS), (real, EACH if real else {})):
            if not (wanted := [name for name in names if name in only]):
                continue
            async with world(Path(home) / ("real" if where else "practice"), where) as here:
                for name in wanted:
                    began = time.monotonic()
                    found = await CHAPTERS[name].take(here)
                    print(f"\n{name}, {here.name}: {time.monotonic() - began:.0f} s")
                    print("\n".join(table(found)), flush=True)
                    figures[name] += found
    return figures


def main() -> int:
    """1 where a figure was missed."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    parser.add_argument("--only", default=",".join(CHAPTERS), help=f"of {', '.join(CHAPTERS)}")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := set(only) - set(CHAPTERS):
        parser.error(f"no such chapter: {', '.join(sorted(unknown))}")
    if options.write and set(only) != set(CHAPTERS):
        parser.error("the page has all chapters: leave --only out")

    async def within() -> dict[str, list[Figure]]:
        async with asyncio.timeout(MOST_S):
            return await taken(only, os.environ.get("PILOTHOUSE_TEST_KUBECONFIG", ""))

    figures = asyncio.run(within())
    if options.write:
        PAGE.write_text(page([(CHAPTERS[name], found) for name, found in figures.items()]))
    missed = [figure.what for of in figures.values() for figure in of if not figure.met]
    if missed:
        print(f"\nMissed: {'; '.join(missed)}.")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
