"""`python -m server.sandbox`: the practice cluster in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from .cluster import PracticeCluster
from .identity import User


def _token(text: str) -> tuple[str, User]:
    """`token=user`, or `token=user@group,group`."""
    token, _, who = text.partition("=")
    name, _, groups = who.partition("@")
    return token, User(name or token, tuple(filter(None, groups.split(","))))


async def _serve(arguments: argparse.Namespace) -> None:
    tokens = dict(arguments.token)
    async with PracticeCluster(arguments.port, tokens, arguments.speed) as cluster:
        if arguments.kubeconfig:
            cluster.kubeconfig(path=arguments.kubeconfig)
        print(cluster.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run until interrupted; the address is printed once it answers."""
    parser = argparse.ArgumentParser(prog="server.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any that is free")
    parser.add_argument("--speed", type=float, default=1.0, help="its seconds in a real one")
    parser.add_argument("--kubeconfig", help="where to write the administrator's kubeconfig")
    parser.add_argument(
        "--token",
        type=_token,
        action="append",
        default=[],
        metavar="TOKEN=USER[@GROUP,...]",
        help="somebody besides the administrator, whose token is `admin`",
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
