"""Prometheus' metrics of this process, and a gate that counts what goes through it."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tools.calls import Caller, Gate, Outcome, Progress, ToolInfo
from tools.errors import Code, ToolError

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)


class Metrics:
    """A registry of our own, so that several servers fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "pilothouse_calls", "Calls by tool, state and door.", ("tool", "state", "door"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "pilothouse_call_seconds", "How long a call was waited for.", ("tool",),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.errors = Counter(
            "pilothouse_errors", "Errors by tool and code.", ("tool", "code"),
            registry=self.registry,
        )  # fmt: skip
        self.under_way = Gauge(
            "pilothouse_calls_under_way", "Calls that a door waits for.", registry=self.registry
        )
        self.refused = Counter(
            "pilothouse_unauthenticated", "Requests without a valid token, by door.", ("door",),
            registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "pilothouse_calls_waiting", "Calls that wait for a decision.", ("state",),
            registry=self.registry,
        )  # fmt: skip
        self._tokens = Gauge(
            "pilothouse_tokens", "Tokens that let somebody in.", registry=self.registry
        )

    def watch_tokens(self, count: Callable[[], float]) -> None:
        self._tokens.set_function(count)

    def watch_analyses(self, ended: Callable[[], float]) -> None:
        Gauge(
            "pilothouse_analysis_ended_timestamp_seconds",
            "When the last analysis ended that did not fail.",
            registry=self.registry,
        ).set_function(ended)

    def page(self, waiting: Mapping[str, int]) -> bytes:
        for state, count in waiting.items():
            self._waiting.labels(state).set(count)
        return generate_latest(self.registry)


class Counted:
    """A `Gate` that counts every call. An unknown tool is counted as `unknown`, whatever it was
    called, so that nobody can make up series."""

    def __init__(self, gate: Gate, metrics: Metrics, names: frozenset[str]) -> None:
        self._gate = gate
        self._metrics = metrics
        self._names = names

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return await self._gate.tools(caller)

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        began = time.perf_counter()
        with self._metrics.under_way.track_inprogress():
            outcome = await self._gate.call(
                caller,
                tool,
                arguments,
                key=key,
                preview=preview,
                wait_s=wait_s,
                progress=progress,
            )
        self._note(
            caller, tool, outcome.state, outcome.error.code if outcome.error else None, began
        )
        return outcome

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        began, code = time.perf_counter(), None
        try:
            with self._metrics.under_way.track_inprogress():
                async for piece in self._gate.stream(caller, tool, arguments):
                    yield piece
        except ToolError as error:
            code = error.code
            raise
        finally:
            self._note(caller, tool, "failed" if code else "succeeded", code, began)

    def _note(self, caller: Caller, tool: str, state: str, code: Code | None, began: float) -> None:
        name = tool if tool in self._names else "unknown"
        self._metrics.calls.labels(name, state, caller.door).inc()
        self._metrics.seconds.labels(name).observe(time.perf_counter() - began)
        if code:
            self._metrics.errors.labels(name, code.value).inc()
