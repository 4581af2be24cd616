"""A tool is data: its name, schemas, hints and handler in one record, declared together."""

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, model_validator

from tools.calls import Role, ToolInfo
from tools.plan import Plan
from tools.schemas import compact

if TYPE_CHECKING:
    from tools.context import Context


class Effect(StrEnum):
    READ = "read"  # answers
    STREAM = "stream"  # answers piece by piece
    WRITE = "write"  # returns a plan
    DECIDE = "decide"  # changes what Pilothouse itself holds, in one transaction


class Arguments(BaseModel):
    """The base of every tool's arguments: nothing unknown is accepted, no string is endless."""

    model_config = ConfigDict(extra="forbid", str_max_length=4096, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, sent: Any) -> Any:
        """To Python, and so to pydantic, true is 1."""
        if isinstance(sent, dict):
            for name, value in sent.items():
                if isinstance(value, bool) and name in _numbers(cls):
                    raise ValueError(f"{name}: a number is wanted, not true or false")
        return sent


@cache
def _numbers(arguments: type[Arguments]) -> frozenset[str]:
    def kinds(annotation: Any) -> set[Any]:
        return {annotation}.union(*(kinds(a) for a in get_args(annotation)))

    return frozenset(
        name
        for name, field in arguments.model_fields.items()
        if kinds(field.annotation) & {int, float} and bool not in kinds(field.annotation)
    )


class Answer(BaseModel):
    """The base of every read's answer."""


Handler = Callable[..., Awaitable[Any] | AsyncIterator[dict[str, Any]]]


@dataclass(frozen=True)
class Tool:
    """One tool. `scope` says what a caller's role is looked up for: the tenant named by the
    `tenant` argument, or the platform. `runs_as` says whose rights the cluster sees: the caller's
    ServiceAccount in that tenant, or Pilothouse's own."""

    name: str
    title: str
    description: str
    group: str
    effect: Effect
    role: Role
    scope: Literal["tenant", "platform"]
    runs_as: Literal["caller", "platform"]
    destructive: bool
    idempotent: bool
    people_only: bool
    arguments: type[Arguments]
    answer: type[BaseModel]
    handler: Handler

    @property
    def changes_things(self) -> bool:
        return self.effect in (Effect.WRITE, Effect.DECIDE)

    def info(self) -> ToolInfo:
        return self._info

    @cached_property
    def _info(self) -> ToolInfo:
        return ToolInfo(
            name=self.name,
            title=self.title,
            description=self.description,
            group=self.group,
            effect=self.effect.value,
            destructive=self.destructive,
            idempotent=self.idempotent,
            input_schema=compact(self.arguments.model_json_schema()),
            output_schema=_output_schema(self.answer),
        )


@cache
def _output_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """Once for all the writes, which answer alike: a client that starts us waits for it."""
    return compact(answer.model_json_schema(mode="serialization"))


NAME = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)+$")
_catalog: dict[str, Tool] = {}


def tool(
    name: str,
    *,
    effect: Effect,
    group: str,
    title: str,
    role: Role = Role.VIEWER,
    scope: Literal["tenant", "platform"] = "tenant",
    runs_as: Literal["caller", "platform"] = "caller",
    destructive: bool = False,
    idempotent: bool = True,
    people_only: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare a tool. The handler takes the context and one `Arguments`, and says in its return
    type what it answers; its docstring is the description that a model reads."""

    def declare(handler: Handler) -> Handler:
        if not NAME.match(name) or len(name) > 64:
            raise ValueError(f"{name!r} is no tool name: lower-case words joined by underscores")
        if name in _catalog:
            raise ValueError(f"tool {name} is declared twice")
        hints = get_type_hints(handler, localns=_late_names())
        returns = hints.pop("return")
        arguments = next((t for n, t in hints.items() if n != "ctx"), Arguments)
        if effect is Effect.WRITE and returns is not Plan:
            raise TypeError(f"{name} is a WRITE and must return a Plan, not {returns}")
        if scope == "tenant" and "tenant" not in arguments.model_fields:
            raise TypeError(f"{name} is scoped to a tenant and has no `tenant` argument")
        answer = returns if effect in (Effect.READ, Effect.DECIDE) else _outcome()
        if effect is Effect.STREAM:
            answer = Answer
        _catalog[name] = Tool(
            name=name,
            title=title,
            description=inspect.cleandoc(handler.__doc__ or ""),
            group=group,
            effect=effect,
            role=role,
            scope=scope,
            runs_as=runs_as,
            destructive=destructive,
            idempotent=idempotent,
            people_only=people_only,
            arguments=arguments,
            answer=answer,
            handler=handler,
        )
        return handler

    return declare


def catalog() -> dict[str, Tool]:
    """Every declared tool by its name, in a stable order."""
    import tools.groups  # noqa: F401  declares them

    return dict(sorted(_catalog.items(), key=lambda item: (item[1].group, item[0])))


def _late_names() -> "dict[str, type[Context]]":
    from tools.context import Context

    return {"Context": Context}


def _outcome() -> type[BaseModel]:
    from tools.calls import Outcome

    return Outcome
