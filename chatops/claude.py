"""The model: Claude, asked over the Anthropic API, and asked again when it breaks off."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatops.conversation import Again, Text
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

LONGEST_WAIT_S = 30.0
KEPT = "What was said and found so far is kept: ask again to go on."
# By the error's type, which is all that there is once a stream has begun with status 200.
PASSING_TYPES = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})
PASSING_STATUS = frozenset({408, 409, 429})


@dataclass(frozen=True)
class Model:
    """Which model, and how it is reached. `base_url` empty: as the environment says."""

    name: str
    key: str
    base_url: str = ""
    max_tokens: int = 8192
    request_s: float = 120
    tries: int = 4
    pause_s: float = 1.0


@dataclass(frozen=True)
class Said:
    """One answer of the model's, whole. `content` is as it is sent back; tokens as they count."""

    content: list[dict[str, Any]]
    stop: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    uses: list[dict[str, Any]] = field(default_factory=list)


class _Cut(Exception):
    """The stream ended before the answer did."""


class Claude:
    def __init__(self, model: Model) -> None:
        self.model = model
        self._client: AsyncAnthropic | None = None

    async def answer(self, **request: Any) -> AsyncIterator[Text | Again | Said]:
        """The model's next answer: its text as it comes, and at last `Said`.

        `request` is `system`, `tools`, `messages`, `tool_choice`. Raises `ToolError` when the model
        cannot be had, after trying as often as `tries` says.
        """
        for attempt in range(1, self.model.tries + 1):
            try:
                async for piece in self._once(request):
                    yield piece
                return
            except _errors() as error:
                why, wait_s = _why(error), self._wait(error, attempt)
                if not _passing(error) or wait_s is None or attempt == self.model.tries:
                    raise self._failure(error, why) from error
            yield Again(why=why, wait_s=wait_s)
            await asyncio.sleep(wait_s)

    async def close(self) -> None:
        if self._client:
            await self._client.close()

    async def _once(self, request: dict[str, Any]) -> AsyncIterator[Text | Said]:
        whole = False
        async with self._connected().messages.stream(
            model=self.model.name, max_tokens=self.model.max_tokens, **request
        ) as stream:
            async for event in stream:
                if event.type == "text":
                    yield Text(text=event.text)
                whole = whole or event.type == "message_stop"
            if not whole:
                raise _Cut
            message = await stream.get_final_message()
        content = [_param(block) for block in message.content]
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        yield Said(
            content=[block for block in content if block.get("text", "…").strip()],
            stop=message.stop_reason or "",
            input_tokens=usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
            cached_tokens=cached,
            output_tokens=usage.output_tokens,
            uses=[block for block in content if block["type"] == "tool_use"],
        )

    def _connected(self) -> "AsyncAnthropic":
        if self._client is None:
            from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

            self._client = AsyncAnthropic(
                api_key=self.model.key,
                base_url=self.model.base_url or None,
                max_retries=0,  # done here, where a stream that broke off counts as well
                timeout=self.model.request_s,
                # Whoever sends us elsewhere is not to have the key.
                http_client=DefaultAsyncHttpxClient(follow_redirects=False),
            )
        return self._client

    def _wait(self, error: Exception, attempt: int) -> float | None:
        """Seconds until it is tried again; None where that would be too long."""
        if (asked := _retry_after(error)) is not None:
            return asked if asked <= LONGEST_WAIT_S else None
        pause: float = self.model.pause_s * 2 ** (attempt - 1)
        return min(pause, LONGEST_WAIT_S) * random.uniform(0.75, 1.25)  # noqa: S311

    def _failure(self, error: Exception, why: str) -> ToolError:
        status = getattr(error, "status_code", 0)
        if status in (401, 403):
            hint = "Check ANTHROPIC_API_KEY."
            return ToolError(Code.FAILED_PRECONDITION, f"Claude cannot be asked: {why}.", hint)
        if status == 404:
            said = f"There is no model {self.model.name}: {why}."
            return ToolError(Code.FAILED_PRECONDITION, said, "Set agent.model to one there is.")
        if status in (400, 413, 422):
            hint = "Begin a new conversation; if that fails too, the setting agent.model may be it."
            return ToolError(Code.FAILED_PRECONDITION, f"Claude refused the request: {why}.", hint)
        code = Code.RESOURCE_EXHAUSTED if status == 429 else Code.UNAVAILABLE
        said = f"Claude cannot be had at the moment: {why}."
        return ToolError(code, said, KEPT, retry_after=_retry_after(error))


def _errors() -> tuple[type[Exception], ...]:
    import anthropic
    import httpx2

    return (anthropic.APIError, httpx2.HTTPError, _Cut)


def _passing(error: Exception) -> bool:
    import anthropic

    if not isinstance(error, anthropic.APIStatusError):
        return True  # no connection, or one that was cut
    status = error.status_code
    return status >= 500 or status in PASSING_STATUS or error.type in PASSING_TYPES


def _why(error: Exception) -> str:
    import anthropic

    if isinstance(error, anthropic.APIStatusError):
        kind = str(error.type or "").removesuffix("_error").replace("_", " ")
        said = (error.api_message or "").strip().rstrip(".")[:300]
        status = f" ({error.status_code})" if error.status_code != 200 else ""
        return f"{kind or 'error'}{status}{f': {said}' if said else ''}"
    if isinstance(error, anthropic.APITimeoutError):
        return "it did not answer in time"
    return "the connection broke off" if isinstance(error, _Cut) else "there is no connection to it"


def _retry_after(error: Exception) -> float | None:
    """What the API asks for, in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _param(block: Any) -> dict[str, Any]:
    """A block of an answer as it is sent back."""
    if block.type == "text":
        return {"type": "text", "text": block.text}
    if block.type == "tool_use":
        given = block.input if isinstance(block.input, dict) else {}
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": given}
    plain: dict[str, Any] = block.to_dict()
    return plain
