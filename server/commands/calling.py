"""Calling tools."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.status import Status

from server.commands.arguments import parse
from server.commands.running import FAILED, WRONG, caller, connected, ended
from server.commands.show import (
    err,
    out,
    show_error,
    show_json,
    show_outcome,
    show_piece,
    show_rows,
)
from server.settings import nearest
from tools.calls import Gate, Outcome, Progress, ToolInfo
from tools.errors import Code, ToolError


class Telling:
    """Progress on one line of the terminal that goes away; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._status = Status("…", console=err)

    def __enter__(self) -> "Progress | None":
        if not err.is_terminal:
            return None
        self._status.start()

        async def tell(message: str, done: float | None, total: float | None) -> None:
            from rich.markup import escape

            of = f"[{done:g}/{total:g}] " if done is not None and total else ""
            self._status.update(escape(f"{of}{message}"))

        return tell

    def __exit__(self, *error: object) -> None:
        self._status.stop()


class Asked(NamedTuple):
    tool: str
    words: Sequence[str]
    preview: bool
    key: str | None
    wait: float | None


async def call(asked: Asked, json: bool, **where: Any) -> int:
    tool = asked.tool
    async with connected(**where) as gate:
        info = await _info(gate, tool)
        arguments = parse(asked.words, info.input_schema if info else {})
        if info and info.effect == "stream":
            return await _stream(gate, tool, arguments, json)
        with Telling() as progress:
            outcome = await gate.call(
                caller(),
                tool,
                arguments,
                key=asked.key,
                preview=asked.preview,
                wait_s=asked.wait,
                progress=progress,
            )
    return show(outcome, json)


def show(outcome: Outcome, json: bool) -> int:
    if json:
        show_json(outcome.model_dump(mode="json", exclude_defaults=True) | {"state": outcome.state})
    else:
        show_outcome(outcome)
    return ended(outcome)


async def _info(gate: Gate, tool: str) -> ToolInfo | None:
    """The tool, as the server has it. One that is not shown is left to the gate to refuse."""
    return next((info for info in await gate.tools(caller()) if info.name == tool), None)


async def _stream(gate: Gate, tool: str, arguments: dict[str, Any], json: bool) -> int:
    try:
        async for piece in gate.stream(caller(), tool, arguments):
            if json:
                out.out(_line(piece), highlight=False)
            else:
                show_piece(piece)
    except ToolError as error:
        show_error(error)
        return WRONG if error.code is Code.INVALID_ARGUMENT else FAILED
    return 0


def _line(piece: dict[str, Any]) -> str:
    from json import dumps

    return dumps(piece, ensure_ascii=False, default=str)


async def tools(name: str | None, json: bool, **where: Any) -> int:
    async with connected(strict=False, **where) as gate:
        shown = await gate.tools(caller())
    if name:
        found = [info for info in shown if info.name == name]
        if not found:
            close = nearest(name, [info.name for info in shown])
            raise ToolError(Code.NOT_FOUND, f"There is no tool {name}{close}", "pilothouse tools")
        show_json(found[0].model_dump(mode="json"))
    elif json:
        show_json([info.model_dump(mode="json") for info in shown])
    else:
        show_rows(
            [
                {"tool": i.name, "effect": i.effect, "what it does": i.description.split("\n")[0]}
                for i in shown
            ]
        )
    return 0
