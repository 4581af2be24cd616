"""The agent: a person's words in, Claude and the tools in turns, an answer out.

A turn is a task of its own that tells its events to whoever listens, so that it can be ended from
anywhere and always leaves a conversation that can go on: each tool call with its result.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from chatops.claude import KEPT, Claude, Model, Said
from chatops.conversation import Begun, Done, Event, Reply, Spent, Text, Turn
from chatops.memory import Memory, Talk
from chatops.prompt import SYSTEM, Marks
from chatops.toolbox import Toolbox, declared
from tools.calls import Caller, Gate, Problem
from tools.errors import Code, ToolError

log = structlog.get_logger(__name__)

CACHED = {"cache_control": {"type": "ephemeral"}}
MOST_MESSAGE = 32_000  # characters
STOP_S = 5.0
NO_KEY = Problem(
    code=Code.FAILED_PRECONDITION,
    message="There is no model to talk to: no key for Claude is set.",
    hint="Set ANTHROPIC_API_KEY where the server runs. All else works without: every tool through "
    "MCP, REST, the command line and commands in chat.",
)


@dataclass(frozen=True)
class Limits:
    """What one turn may take, and how much of a conversation is kept. Times in seconds, sizes in
    characters."""

    calls: int = 24
    tokens: int = 150_000
    turn_s: float = 300
    at_once: int = 8
    history: int = 400_000
    turns: int = 50


class Agent:
    """`Conversations` with Claude. `mask` takes secrets out of what people write."""

    def __init__(
        self,
        gate: Gate,
        model: Model,
        mask: Callable[[str], str],
        memory: Memory,
        limits: Limits | None = None,
    ) -> None:
        self._gate, self._model, self._mask = gate, model, mask
        self._limits = limits or Limits()
        self._claude = Claude(model)
        self._slots = asyncio.Semaphore(self._limits.at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self.memory = memory

    @property
    def ready(self) -> Problem | None:
        return None if self._model.key else NO_KEY

    async def ask(
        self,
        caller: Caller,
        message: str,
        *,
        conversation: str = "",
        thread: str = "",
        context: str = "",
    ) -> AsyncIterator[Event]:
        if problem := self.ready:
            raise ToolError(problem.code, problem.message, problem.hint)
        for words, name in ((message, "message"), (context, "context")):
            if len(words) > MOST_MESSAGE:
                most = f"At most {MOST_MESSAGE} characters."
                raise ToolError(Code.INVALID_ARGUMENT, f"The {name} is too long.", most)
        if not message.strip():
            raise ToolError(Code.INVALID_ARGUMENT, "The message is empty.", "Say what you want.")
        talk = await self.memory.claim(caller, conversation, thread)
        events: asyncio.Queue[Event] = asyncio.Queue()  # as long as the turn's budgets allow
        turn = _Turn(self, talk, caller, events.put_nowait)
        task = talk.task = asyncio.create_task(turn.take(self._mask(message), self._mask(context)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            yield Begun(conversation=talk.id)
            while True:
                event = await events.get()
                yield event
                if isinstance(event, Done):
                    return
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_S)

    async def turns(self, caller: Caller, conversation: str) -> Sequence[Turn]:
        return (await self.memory.find(caller, conversation)).turns

    async def cancel(self, caller: Caller, conversation: str) -> bool:
        talk = await self.memory.find(caller, conversation)
        return talk.task is not None and talk.task.cancel()

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        await self._claude.close()


class _Turn:
    """One turn of one conversation."""

    def __init__(
        self, agent: Agent, talk: Talk, caller: Caller, tell: Callable[[Event], None]
    ) -> None:
        self.agent, self.talk, self.caller, self.tell = agent, talk, caller, tell
        self.limits = agent._limits
        self.marks = Marks()
        self.spent = Spent()
        self.texts: list[str] = []
        self.box: Toolbox | None = None

    async def take(self, message: str, context: str) -> None:
        reply = Reply(conversation=self.talk.id)
        try:
            async with asyncio.timeout(self.limits.turn_s), self.agent._slots:
                reply.stopped = await self._go(message, context)
        except asyncio.CancelledError:
            reply.stopped = "cancelled"
        except TimeoutError:
            reply.stopped, reply.error = "failed", Problem(
                code=Code.DEADLINE_EXCEEDED,
                message=f"The answer took more than {self.limits.turn_s:g} s.",
                hint=KEPT,
            )  # fmt: skip
        except ToolError as error:
            reply.stopped, reply.error = "failed", Problem.of(error)
        except Exception:
            log.exception("a turn failed")
            reply.stopped, reply.error = "failed", Problem(
                code=Code.INTERNAL, message="The answer broke down.", hint=KEPT
            )  # fmt: skip
        reply.text = "\n\n".join(filter(None, map(str.strip, self.texts)))
        if box := self.box:
            reply.calls = box.used
            reply.configuration = list(box.configurations.values())
            reply.waiting = [u.outcome for u in box.used if u.outcome and u.outcome.state.waiting]
            self.spent.calls = len(box.used)
        reply.spent = self.spent
        self.talk.turns.append(Turn(message=message, reply=reply))
        del self.talk.turns[: -self.limits.turns]
        await self._settled()
        self.tell(Done(reply=reply))

    async def _settled(self) -> None:
        """Whoever ends the turn now is too late: it is over, and is to be kept."""
        keeping = asyncio.ensure_future(self.agent.memory.settle(self.talk))
        while not keeping.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([keeping])

    async def _go(self, message: str, context: str) -> Any:
        """The turn; why it ended early, or empty."""
        self.talk.forget(self.limits.history)
        opening = [self.marks.opening()]
        if context.strip():
            opening.append(self.marks.around(context, "what the person looks at"))
        texts = ["\n".join(opening), message]
        told = [{"type": "text", "text": text} for text in texts]
        round: list[dict[str, Any]] = [{"role": "user", "content": told}]
        self.talk.rounds.append(round)
        box = self.box = await Toolbox.open(
            self.agent._gate,
            self.caller,
            marks=self.marks,
            mask=self.agent._mask,
            tell=self.tell,
            key=f"chat-{self.talk.id}",
            most=self.limits.calls,
        )
        last = False
        while True:
            said = await self._answer(box, last)
            if said.stop != "tool_use" or last or not said.uses:
                kept = [block for block in said.content if block["type"] != "tool_use"]
                if kept:
                    round.append({"role": "assistant", "content": kept})
                if said.stop in ("max_tokens", "model_context_window_exceeded"):
                    return "too_long"
                return "refused" if said.stop == "refusal" else "budget" if last else ""
            answered = {"role": "assistant", "content": said.content}
            try:
                await box.run(said.uses)
            finally:  # a call without its result would end the conversation for good
                round += [answered, {"role": "user", "content": box.results(said.uses)}]
            if self.spent.charged >= self.limits.tokens:
                return "budget"
            # One more answer, of what was found, and no more calls.
            last = box.exhausted

    async def _answer(self, box: Toolbox, last: bool) -> Said:
        request: dict[str, Any] = {
            "system": [{"type": "text", "text": SYSTEM} | CACHED],
            "tools": [declared(info) for info in box.infos.values()],
            "messages": _cached(self.talk.messages()),
        }
        if last:
            request["tool_choice"] = {"type": "none"}
        said: Said | None = None
        self.texts.append("")
        async with aclosing(self.agent._claude.answer(**request)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, Said):
                    said = piece
                elif isinstance(piece, Text):
                    apart = "\n\n" if not self.texts[-1] and any(self.texts) else ""
                    self.texts[-1] += piece.text
                    self.tell(Text(text=apart + piece.text))
                else:
                    self.texts[-1] = ""
                    self.tell(piece)
        assert said is not None
        self.spent.input_tokens += said.input_tokens
        self.spent.cached_tokens += said.cached_tokens
        self.spent.output_tokens += said.output_tokens
        return said


def _cached(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the end marked as where the next request goes on from."""
    last = messages[-1]
    *before, end = last["content"]
    return [*messages[:-1], last | {"content": [*before, end | CACHED]}]
