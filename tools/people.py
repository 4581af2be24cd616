"""Tools for people: one's own account, and who else may sign in here. Passwords never come by here:
they are set where one registers and signs in."""

from typing import Annotated

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.holdings import UserInfo
from tools.tool import Answer, Arguments, Effect, tool

EMAIL = r"^[^@\s\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,189}$"
UserId = Annotated[str, Field(min_length=1, max_length=64, description="as user_list shows it")]
Name = Annotated[str, Field(max_length=200, description="what people call them")]
Invitation = Annotated[
    str,
    Field(
        pattern=r"^$|^[0-9a-f]{64}$",
        description="SHA-256, in hex, of a code that they register with",
    ),
]


class NewUser(Arguments):
    """Somebody who is to sign in here. The code of the invitation stays with whoever made it up."""

    email: Annotated[str, Field(pattern=EMAIL, description="they sign in with it")]
    name: Name = ""
    operator: Annotated[bool, Field(description="a role over the whole platform")] = False
    invitation: Invitation = ""
    password_hash: Annotated[
        str,
        Field(max_length=512, description="Argon2 or bcrypt, brought along from another system"),
    ] = ""


class UserChange(Arguments):
    id: UserId
    name: Name | None = None
    operator: Annotated[bool, Field(description="a role over the whole platform")] | None = None
    disabled: Annotated[bool, Field(description="let them in no more, at once")] | None = None
    invitation: Invitation = ""


class WhichUser(Arguments):
    id: UserId


class AccountChange(Arguments):
    name: Name


class UserList(Answer):
    users: list[UserInfo]


@tool(
    "account_get",
    effect=Effect.READ,
    group="account",
    title="Show my account",
    scope="platform",
    people_only=True,
)
async def account(ctx: Context, nothing: Arguments) -> UserInfo:
    """Who you are here, and the workspaces that you are in."""
    return await ctx.need_people().account(ctx.caller)


@tool(
    "account_update",
    effect=Effect.DECIDE,
    group="account",
    title="Change my account",
    scope="platform",
    people_only=True,
)
async def account_update(ctx: Context, change: AccountChange) -> UserInfo:
    """Change what you are called."""
    people = ctx.need_people()
    mine = await people.account(ctx.caller)
    return await people.change(ctx.caller, mine.id, name=change.name)


@tool(
    "user_list",
    effect=Effect.READ,
    group="users",
    title="List users",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def list_(ctx: Context, nothing: Arguments) -> UserList:
    """Everybody who signs in, here or with the identity provider."""
    return UserList(users=list(await ctx.need_people().list()))


@tool(
    "user_get",
    effect=Effect.READ,
    group="users",
    title="Show a user",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def get(ctx: Context, which: WhichUser) -> UserInfo:
    """Who somebody is, whether they may come in, and the workspaces that they are in."""
    return await ctx.need_people().get(which.id)


@tool(
    "user_create",
    effect=Effect.DECIDE,
    group="users",
    title="Invite a user",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    idempotent=False,
)
async def create(ctx: Context, new: NewUser) -> UserInfo:
    """Let somebody register. What they may do, a workspace says."""
    return await ctx.need_people().create(ctx.caller, **new.model_dump())


@tool(
    "user_update",
    effect=Effect.DECIDE,
    group="users",
    title="Change a user",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def update(ctx: Context, change: UserChange) -> UserInfo:
    """Rename, shut out, let in again, make an operator; or invite anew who forgot a password."""
    values = change.model_dump(exclude={"id"}, exclude_none=True)
    return await ctx.need_people().change(ctx.caller, change.id, **values)


@tool(
    "user_delete",
    effect=Effect.DECIDE,
    group="users",
    title="Delete a user",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    destructive=True,
)
async def delete(ctx: Context, which: WhichUser) -> UserInfo:
    """Let somebody in no more, and forget who they are. What they did stays on record."""
    return await ctx.need_people().delete(which.id)
