"""Tools about who somebody is in chat."""

from typing import Annotated

from pydantic import Field

from tools.context import Context
from tools.tool import Answer, Arguments, Effect, tool

Code = Annotated[str, Field(min_length=12, max_length=20, description="as /pilot login tells it")]


class LinkCode(Arguments):
    code: Code


class ChatUser(Answer):
    """`called` is the name that they have in chat."""

    user: str
    called: str


@tool("chat_code", effect=Effect.READ, group="chat", title="Whose code", scope="platform",
      people_only=True)  # fmt: skip
async def chat_code(ctx: Context, which: LinkCode) -> ChatUser:
    """Whose one-time code this is: look before chat_link, which makes them you."""
    user, called = await ctx.need_chat().code(which.code)
    return ChatUser(user=user, called=called)


@tool("chat_link", effect=Effect.DECIDE, group="chat", title="Link chat", scope="platform",
      people_only=True)  # fmt: skip
async def chat_link(ctx: Context, which: LinkCode) -> ChatUser:
    """Be known in chat: whoever was told this code there may do what you may, from now on."""
    user, called = await ctx.need_chat().link(which.code, ctx.caller)
    return ChatUser(user=user, called=called)
