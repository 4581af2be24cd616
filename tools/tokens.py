"""Tools for who may come in: tokens are made, listed and revoked by operators, who are people."""

from typing import Annotated

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.holdings import TokenInfo
from tools.tool import Answer, Arguments, Effect, tool

TENANT_ROLES = (Role.VIEWER, Role.USER, Role.ADMIN)
SUBJECT = r"^[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,127}$"


class NewToken(Arguments):
    """What a token is to allow. The token itself stays with whoever made it up: only its SHA-256
    is sent, so that no journal, log or model ever sees it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="of the token, in hex")]
    subject: Annotated[str, Field(pattern=SUBJECT, description="who it is for")]
    tenants: Annotated[
        dict[str, Role],
        Field(max_length=1000, description="role in each tenant: viewer, user or admin"),
    ] = {}
    operator: Annotated[bool, Field(description="a role over the whole platform")] = False
    agent: Annotated[bool, Field(description="held by a program, so it never decides")] = False
    person: Annotated[
        str,
        Field(pattern=f"^$|{SUBJECT}", description="whom an agent acts for, if not the subject"),
    ] = ""
    expires_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    slack: Annotated[
        bool,
        Field(description="for `pilothouse slack`: speaks for who is linked there; 90 days"),
    ] = False


class TokenId(Arguments):
    id: Annotated[str, Field(max_length=64, description="as token_list shows it")]


class TokenList(Answer):
    tokens: list[TokenInfo]


@tool(
    "token_create",
    effect=Effect.DECIDE,
    group="tokens",
    title="Create a token",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    idempotent=False,
)
async def create(ctx: Context, new: NewToken) -> TokenInfo:
    """Let somebody in, with a role over the platform or in tenants that are there now."""
    return await ctx.need_tokens().create(
        ctx.caller,
        sha256=new.sha256,
        subject=new.subject,
        tenants=new.tenants,
        operator=new.operator,
        agent=new.agent,
        person=new.person,
        expires_days=new.expires_days,
        slack=new.slack,
    )


@tool(
    "token_list",
    effect=Effect.READ,
    group="tokens",
    title="List tokens",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def list_(ctx: Context, nothing: Arguments) -> TokenList:
    """Every token: whose it is, what it allows, and when it was last used."""
    return TokenList(tokens=list(await ctx.need_tokens().list()))


@tool(
    "token_revoke",
    effect=Effect.DECIDE,
    group="tokens",
    title="Revoke a token",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
    destructive=True,
)
async def revoke(ctx: Context, which: TokenId) -> TokenInfo:
    """Make a token worthless, at once and for good."""
    return await ctx.need_tokens().revoke(which.id)
