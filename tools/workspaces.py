"""Tools for workspaces: people, tenants, and the role that each of them has there."""

from typing import Annotated

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.holdings import WorkspaceInfo
from tools.tokens import SUBJECT
from tools.tool import Answer, Arguments, Effect, tool

WorkspaceId = Annotated[str, Field(min_length=1, max_length=64, description="id or name")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Description = Annotated[str, Field(max_length=500)]
Tenants = Annotated[list[str], Field(max_length=1000, description="tenants that are there now")]
Members = Annotated[
    dict[Annotated[str, Field(pattern=SUBJECT)], Role],
    Field(max_length=1000, description="subject (a user's email) to viewer, user or admin"),
]


class NewWorkspace(Arguments):
    name: Name
    description: Description = ""
    tenants: Tenants = []
    members: Members = {}


class WorkspaceChange(Arguments):
    """What is given replaces what was there."""

    id: WorkspaceId
    name: Name | None = None
    description: Description | None = None
    tenants: Tenants | None = None
    members: Members | None = None


class WhichWorkspace(Arguments):
    id: WorkspaceId


class WorkspaceList(Answer):
    workspaces: list[WorkspaceInfo]


@tool(
    "workspace_list",
    effect=Effect.READ,
    group="workspaces",
    title="List workspaces",
    scope="platform",
    people_only=True,
)
async def list_(ctx: Context, nothing: Arguments) -> WorkspaceList:
    """The workspaces that you are in; operators: all."""
    return WorkspaceList(workspaces=list(await ctx.need_workspaces().list(ctx.caller)))


@tool(
    "workspace_get",
    effect=Effect.READ,
    group="workspaces",
    title="Show a workspace",
    scope="platform",
    people_only=True,
)
async def get(ctx: Context, which: WhichWorkspace) -> WorkspaceInfo:
    """A workspace's tenants, and the role of each member."""
    return await ctx.need_workspaces().get(ctx.caller, which.id)


@tool(
    "workspace_create",
    effect=Effect.DECIDE,
    group="workspaces",
    title="Create a workspace",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    idempotent=False,
)
async def create(ctx: Context, new: NewWorkspace) -> WorkspaceInfo:
    """Group people and tenants: each member has their role in every tenant of it."""
    return await ctx.need_workspaces().create(ctx.caller, **new.model_dump())


@tool(
    "workspace_update",
    effect=Effect.DECIDE,
    group="workspaces",
    title="Change a workspace",
    role=Role.ADMIN,
    scope="platform",
    people_only=True,
)
async def update(ctx: Context, change: WorkspaceChange) -> WorkspaceInfo:
    """Change who is in a workspace (its admins may), or its name or tenants (operators may)."""
    values = change.model_dump(exclude={"id"}, exclude_none=True)
    return await ctx.need_workspaces().change(ctx.caller, change.id, **values)


@tool(
    "workspace_delete",
    effect=Effect.DECIDE,
    group="workspaces",
    title="Delete a workspace",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    destructive=True,
)
async def delete(ctx: Context, which: WhichWorkspace) -> WorkspaceInfo:
    """Take from its members what it gave them. Its tenants stay as they are."""
    return await ctx.need_workspaces().delete(ctx.caller, which.id)
