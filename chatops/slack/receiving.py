"""The two ways in which Slack reaches us: signed HTTP requests, and a socket that we open."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
    from slack_bolt.async_app import AsyncApp
    from slack_sdk.web.async_client import AsyncWebClient
    from starlette.requests import Request
    from starlette.responses import Response

    from chatops.slack.connecting import Slack

PATH = "/slack/events"
# What a request leads to that is not as Slack sends it; Bolt reads them before their signature.
ODD = (LookupError, TypeError, AttributeError, ValueError, RecursionError)
PING_S = 5.0  # a socket that is gone is noticed, and opened anew, after this


async def receive(
    slack: "Slack", stranger: Callable[[str], Awaitable[None]], request: "Request"
) -> "Response":
    """One signed request. What is not signed by Slack within five minutes, or comes again with
    the same signature, gets 401; all of them 503 until we know who we are there."""
    answer = await _answered(slack, request)
    if answer.status_code >= 400 and request.client:
        await stranger(request.client.host)
    return answer


async def _answered(slack: "Slack", request: "Request") -> "Response":
    from slack_bolt.async_app import AsyncBoltRequest
    from starlette.responses import Response

    if not slack.ready.is_set():
        return Response("Not connected to Slack yet.", 503, {"Retry-After": "5"})
    stamp = request.headers.get("x-slack-request-timestamp", "")
    try:
        body = (await request.body()).decode()
    except UnicodeDecodeError:
        return Response(status_code=400)
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 16):
        return Response(status_code=401)
    headers: Any = dict(request.headers)
    try:
        asked = AsyncBoltRequest(body=body, query=str(request.url.query), headers=headers)
        answer = await slack.bolt.async_dispatch(asked)
    except ODD:
        return Response(status_code=400)
    found = answer.first_headers_without_set_cookie()
    return Response(answer.body, answer.status, found)


async def connected(
    bolt: "AsyncApp", client: "AsyncWebClient", app_token: str, stack: AsyncExitStack
) -> "AsyncSocketModeHandler":
    """Connected by Socket Mode; reconnects by itself until `stack` is left. Raises
    `SlackApiError`."""
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

    async def address() -> str:
        return str((await client.apps_connections_open(app_token=app_token))["url"])

    first = await address()  # the SDK would try a token that is refused for ever
    socket = AsyncSocketModeHandler(bolt, app_token, web_client=client, ping_interval=PING_S)
    stack.push_async_callback(socket.close_async)
    # The SDK's own waits as long as it is told to, however long.
    socket.client.issue_new_wss_url = address  # type: ignore[method-assign]
    socket.client.wss_uri = first
    await socket.connect_async()  # type: ignore[no-untyped-call]
    return socket
