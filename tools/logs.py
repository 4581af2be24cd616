"""Logs of pods: read at once, or followed; of several pods, told apart and put in order of time."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import Field

from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import InTenant, Label, Since, Subdomain, since_s
from tools.objects import Object, annotations, meta

MOST_PODS = 10
MOST_BYTES = 256 << 10
# The API cuts a log's end off, not its beginning, so more is asked for than is kept.
ASKED_BYTES = 4 << 20
FOLLOW_S = 3600.0
FOLLOW_LINES = 50_000
# Not started yet, no previous run, or gone since it was listed.
NO_LOG = frozenset({Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT, Code.NOT_FOUND})

Piece = dict[str, Any]


class LogArguments(InTenant):
    """What to read of a log."""

    name: Subdomain
    container: Label | None = None
    tail_lines: int = Field(200, ge=1, le=5000)
    since: Since = Field("", description="10m, or an RFC 3339 time")
    follow: bool = False


def container_of(pod: Object, asked: str | None) -> str:
    """The container asked for, else the pod's default one. Raises `ToolError`."""
    spec = pod.get("spec") or {}
    names = [c["name"] for part in ("containers", "initContainers") for c in spec.get(part) or []]
    if asked and asked not in names:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"Pod {meta(pod)['name']} has no container {asked}.",
            f"It has {', '.join(names)}.",
        )
    return asked or annotations(pod).get("kubectl.kubernetes.io/default-container") or names[0]


def last_part(text: str, most: int = MOST_BYTES) -> str:
    """The last bytes of a text, from the beginning of a line."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    return raw[-most:].partition(b"\n")[2].decode(errors="replace")


async def read(
    ctx: Context, pods: Sequence[Object], asked: LogArguments, previous: bool = False
) -> AsyncIterator[Piece]:
    """The logs as they are now, as one `text`; of several pods, each line after its pod's name.

    A pod that has no log yet is a `note` in the words of the API server.
    """
    several = len(pods) > 1

    async def one(pod: Object) -> str | ToolError:
        container = container_of(pod, asked.container)
        try:
            return await ctx.cluster.logs(
                meta(pod)["namespace"],
                meta(pod)["name"],
                container=container,
                tail=asked.tail_lines,
                since_s=since_s(asked.since, ctx.now),
                previous=previous,
                timestamps=several,
                limit_bytes=ASKED_BYTES,
            )
        except ToolError as error:
            if error.code in NO_LOG:
                return error
            raise

    texts = await asyncio.gather(*(one(pod) for pod in pods))
    parts = []
    for pod, text in zip(pods, texts, strict=True):
        if isinstance(text, ToolError):
            yield {"pod": meta(pod)["name"], "note": text.message}
        elif text:
            parts.append((meta(pod)["name"], text))
    if parts:
        whole = last_part(in_order(parts) if several else parts[0][1])
        yield {"text": "".join(whole.splitlines(keepends=True)[-asked.tail_lines :])}


def in_order(parts: Sequence[tuple[str, str]]) -> str:
    """Several pods' logs (name, text with timestamps) as one, by time, without the timestamps."""

    def stamped(name: str, text: str) -> list[tuple[str, str, str]]:
        split = (line.partition(" ") for line in text.splitlines())
        # Without its Z, a time without a fraction sorts before those with one.
        return [(stamp.removesuffix("Z"), name, rest) for stamp, _, rest in split]

    merged = heapq.merge(*(stamped(*part) for part in parts), key=lambda line: line[0])
    return "".join(f"[{name}] {line}\n" for _, name, line in merged)


async def follow(
    ctx: Context, pods: Sequence[Object], asked: LogArguments, for_s: float = FOLLOW_S
) -> AsyncIterator[Piece]:
    """Lines as they come, until every container has ended, the time is up or it is too much."""
    several = len(pods) > 1
    left = FOLLOW_LINES
    async for piece in together([_lines(ctx, pod, asked, several) for pod in pods], for_s):
        yield piece
        left -= 1
        if not left:
            yield {"note": f"{FOLLOW_LINES} lines were told; call again for more."}
            return


async def _lines(
    ctx: Context, pod: Object, asked: LogArguments, several: bool
) -> AsyncIterator[Piece]:
    whose = {"pod": meta(pod)["name"]} if several else {}
    try:
        async for line in ctx.cluster.follow(
            meta(pod)["namespace"],
            meta(pod)["name"],
            container=container_of(pod, asked.container),
            tail=asked.tail_lines,
            since_s=since_s(asked.since, ctx.now),
        ):
            yield whose | {"line": line}
    except ToolError as error:
        if error.code not in NO_LOG or asked.container:
            raise
        yield {"pod": meta(pod)["name"], "note": error.message}


async def together(streams: Sequence[AsyncIterator[Piece]], for_s: float) -> AsyncIterator[Piece]:
    """What comes from any of the streams, until all have ended or the time is up."""
    queue: asyncio.Queue[Piece | ToolError | None] = asyncio.Queue(maxsize=1000)

    async def pump(stream: AsyncIterator[Piece]) -> None:
        try:
            async for piece in stream:
                await queue.put(piece)
            await queue.put(None)
        except ToolError as error:
            await queue.put(error)

    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    pumps = [asyncio.ensure_future(pump(stream)) for stream in streams]
    flowing = len(pumps)
    try:
        while flowing:
            try:
                said = await asyncio.wait_for(queue.get(), until - loop.time())
            except TimeoutError:
                return
            if isinstance(said, ToolError):
                raise said
            if said is None:
                flowing -= 1
            else:
                yield said
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
