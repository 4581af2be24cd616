"""The tools as the model has them: offered as its person may use them, called, and their answers
handed over as data."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from chatops.configuration import APPLY, configuration
from chatops.conversation import Called, Calling, Configuration, Event, Used
from chatops.prompt import Marks
from tools.calls import Caller, Gate, Outcome, Problem, State, ToolInfo
from tools.errors import Code, ToolError

SIDE_BY_SIDE = 8
MOST_RESULT = 24_000  # characters of one answer that the model is given
MOST_LOG = 16_000  # of a log: its end
STREAM_S = 20.0  # a log that is followed is read for so long
PREVIEW = {"type": "boolean", "description": "plan and try it out dry; ask for nothing"}


def acting_for(caller: Caller) -> Caller:
    """The agent, in this person's name. The subject stays, so that what is taken from them is taken
    from it."""
    return caller.model_copy(update={"agent": True, "door": "chat"})


def declared(info: ToolInfo) -> dict[str, Any]:
    """A tool as the model is told of it."""
    schema = info.input_schema
    if info.effect == "write":
        schema = schema | {"properties": schema.get("properties", {}) | {"preview": PREVIEW}}
    return {"name": info.name, "description": info.description, "input_schema": schema}


@dataclass
class Toolbox:
    """The tools of one turn. `most` is how many calls it may make."""

    gate: Gate
    caller: Caller
    infos: dict[str, ToolInfo]
    marks: Marks
    mask: Callable[[str], str]
    tell: Callable[[Event], None]
    key: str
    most: int
    used: list[Used] = field(default_factory=list)
    configurations: dict[tuple[str, ...], Configuration] = field(default_factory=dict)
    _results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    async def open(cls, gate: Gate, caller: Caller, **options: Any) -> "Toolbox":
        me = acting_for(caller)
        # The agent decides nothing, whatever a policy says.
        infos = {i.name: i for i in await gate.tools(me) if i.effect != "decide"}
        return cls(gate, me, infos, **options)

    @property
    def exhausted(self) -> bool:
        return len(self.used) >= self.most

    async def run(self, uses: Sequence[dict[str, Any]]) -> None:
        """Call what the model asked for: side by side where it reads, one change at a time, in its
        order."""
        slots = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(use: dict[str, Any]) -> None:
            async with slots:
                self._results[use["id"]] = self._result(use, await self._call(use))

        for reads, group in itertools.groupby(uses, self._reads):
            if reads:
                await asyncio.gather(*(one(use) for use in group))
            else:
                for use in group:
                    await one(use)

    def results(self, uses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """A `tool_result` for each, also for those that were given up."""
        return [self._results.get(use["id"]) or _given_up(use) for use in uses]

    def _reads(self, use: dict[str, Any]) -> bool:
        info = self.infos.get(use["name"])
        return info is None or info.effect in ("read", "stream")

    async def _call(self, use: dict[str, Any]) -> Outcome:
        name, arguments, info = use["name"], dict(use["input"]), self.infos.get(use["name"])
        preview = info is not None and info.effect == "write" and bool(arguments.pop("preview", 0))
        if self.exhausted:
            return _refused(name, Code.RESOURCE_EXHAUSTED, f"{self.most} calls are all for a turn.",
                            "Answer with what you have.")  # fmt: skip
        told = Used(id=use["id"], tool=name, arguments=arguments, preview=preview)
        self.used.append(told)
        self.tell(Calling(id=told.id, tool=name, arguments=arguments, preview=preview))
        if info is None:
            outcome = _refused(name, Code.PERMISSION_DENIED, f"The agent has no tool {name[:64]}.",
                               "A person may have it: tell them.")  # fmt: skip
        elif info.effect == "stream":
            outcome = await self._streamed(name, arguments)
        else:
            key = f"{self.key}-{told.id}"[:64] if info.effect == "write" and not preview else None
            outcome = await self.gate.call(self.caller, name, arguments, key=key, preview=preview)
        if name == APPLY:
            which, found = configuration(arguments, outcome)
            self.configurations[which] = found
        told.outcome = outcome.model_copy(update={"answer": None})
        self.tell(Called(id=told.id, tool=name, outcome=told.outcome))
        return outcome

    async def _streamed(self, name: str, arguments: dict[str, Any]) -> Outcome:
        """What a stream says within a while, its end kept."""
        lines: list[str] = []
        size, about = 0, {}
        try:
            async with asyncio.timeout(STREAM_S):
                stream: Any = self.gate.stream(self.caller, name, arguments)
                async with aclosing(stream) as pieces:
                    async for piece in pieces:
                        if piece.get("done"):
                            about = {k: v for k, v in piece.items() if k != "done"}
                            continue
                        lines.append(_line(piece))
                        size += len(lines[-1])
                        while size > MOST_LOG and len(lines) > 1:
                            size -= len(lines.pop(0))
        except TimeoutError:
            about = {"note": f"It goes on; this is what came within {STREAM_S:g} s."}
        except ToolError as error:
            return Outcome(state=State.FAILED, tool=name, error=Problem.of(error))
        text = "".join(lines)[-MOST_LOG:]
        return Outcome(state=State.SUCCEEDED, tool=name, answer={"text": text, **about})

    def _result(self, use: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        text = self.mask(_text(outcome))
        source = use["name"] if use["name"] in self.infos else "refused"
        return {
            "type": "tool_result",
            "tool_use_id": use["id"],
            "content": self.marks.around(text, source),
        } | ({"is_error": True} if outcome.failed else {})


def _given_up(use: dict[str, Any]) -> dict[str, Any]:
    said = "The person ended the turn before this was over; call_list shows what became of it."
    return {"type": "tool_result", "tool_use_id": use["id"], "content": said, "is_error": True}


def _text(outcome: Outcome) -> str:
    plain = outcome.model_dump(mode="json", exclude_defaults=True, exclude={"digest", "tool"})
    text = json.dumps({"state": outcome.state.value} | plain, ensure_ascii=False, default=str)
    if len(text) <= MOST_RESULT:
        return text
    return f"{text[:MOST_RESULT]}… {len(text) - MOST_RESULT} more characters: ask for less"


def _line(piece: dict[str, Any]) -> str:
    pod = f"[{piece['pod']}] " if piece.get("pod") else ""
    if "line" in piece:
        return f"{pod}{piece['line']}\n"
    return f"{pod}{piece['note']}\n" if "note" in piece else str(piece.get("text", ""))


def _refused(tool: str, code: Code, message: str, hint: str) -> Outcome:
    problem = Problem(code=code, message=message, hint=hint)
    return Outcome(state=State.DENIED, tool=tool[:64], error=problem)
