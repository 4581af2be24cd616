"""The words of a conversation with the agent: what is asked, and what comes back, event by event.

The same for a thread in Slack, the page, REST and the terminal; `chatops/agent.py` speaks them.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, Field

from tools.calls import Caller, Outcome, Problem
from tools.plan import Preview


class Spent(BaseModel):
    """What a turn took. `input_tokens` counts all that was read, `cached_tokens` of it cheaply."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def charged(self) -> int:
        """What counts against the turn's budget: the cache gives at a tenth of the price."""
        return self.tokens - self.cached_tokens * 9 // 10


class Configuration(BaseModel):
    """A manifest, tried out dry: `changes` are its diff, `error` why the cluster refuses it.

    `tool` with `arguments` applies it; `call_id` is set where that was asked for already.
    """

    manifest: str = Field(description="YAML")
    summary: str = ""
    changes: list[Preview] = []
    undo: str = ""
    error: Problem | None = None
    tool: str
    arguments: dict[str, Any]
    call_id: str | None = None


class Used(BaseModel):
    """A tool call of a turn; `outcome` is without its answer, and None where it was given up."""

    id: str
    tool: str
    arguments: dict[str, Any]
    preview: bool = False
    outcome: Outcome | None = None


class Reply(BaseModel):
    """What a turn came to. `waiting` are the calls that a person must let go ahead: each has its
    `call_id`, why it waits, and in `next` how to go on. `stopped` says why it ended early."""

    conversation: str
    text: str = ""
    configuration: list[Configuration] = []
    calls: list[Used] = []
    waiting: list[Outcome] = []
    spent: Spent = Spent()
    stopped: Literal["", "budget", "cancelled", "too_long", "refused", "failed"] = ""
    error: Problem | None = None


class Begun(BaseModel):
    """The first event: whose id the conversation goes on under."""

    type: Literal["begun"] = "begun"
    conversation: str


class Text(BaseModel):
    """A piece of the answer's text."""

    type: Literal["text"] = "text"
    text: str


class Calling(BaseModel):
    """A tool call begins."""

    type: Literal["calling"] = "calling"
    id: str
    tool: str
    arguments: dict[str, Any]
    preview: bool = False


class Called(BaseModel):
    """It has ended; the outcome is without its answer."""

    type: Literal["called"] = "called"
    id: str
    tool: str
    outcome: Outcome


class Again(BaseModel):
    """The model broke off and is asked again: forget the text since the last call or the start."""

    type: Literal["again"] = "again"
    why: str
    wait_s: float


class Done(BaseModel):
    """The last event."""

    type: Literal["done"] = "done"
    reply: Reply


Event: TypeAlias = Annotated[
    Begun | Text | Calling | Called | Again | Done, Field(discriminator="type")
]


class Turn(BaseModel):
    """One question with its answer, as a person sees it later."""

    message: str
    reply: Reply


class Conversations(Protocol):
    """Conversations of people with the agent. Nobody sees or goes on with anybody else's."""

    def ask(
        self,
        caller: Caller,
        message: str,
        *,
        conversation: str = "",
        thread: str = "",
        context: str = "",
    ) -> AsyncIterator[Event]:
        """Say something, and read what comes of it; the last event is `Done`.

        `caller` is the person: the agent acts for them with no more than their rights.
        `conversation` goes on with one of theirs; `thread` (a name that the door makes up, such as
        a Slack channel and thread) with theirs there, begun if there is none; neither begins one.
        `context` is what they look at or what others wrote: handed over as data.
        Closing the iterator (or cancelling its task) ends the turn; what runs goes on.
        Raises `ToolError` before the first event: NOT_FOUND for a conversation that is not theirs,
        FAILED_PRECONDITION where no model is set up.
        """
        ...

    async def turns(self, caller: Caller, conversation: str) -> Sequence[Turn]:
        """What was said so far. Raises `ToolError(NOT_FOUND)`."""
        ...

    async def cancel(self, caller: Caller, conversation: str) -> bool:
        """End the turn that is under way; was there one? Raises `ToolError(NOT_FOUND)`."""
        ...

    @property
    def ready(self) -> Problem | None:
        """None where there is a model to talk to, else what is missing."""
        ...
