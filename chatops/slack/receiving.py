"""The two ways in which Slack reaches us: signed HTTP requests, and a socket that we open."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
    from slack_bolt.async_app import AsyncApp
    from slack_sdk.web.async_client import AsyncWebClient
    from starlette.requests import Request
    from starlette.responses import Response

PATH = "/slack/events"
PING_S = 5.0  # a socket that is gone is noticed, and opened anew, after this


async def receive(bolt: "AsyncApp", request: "Request") -> "Response":
    """One signed request. What is not signed by Slack within five minutes, or comes again with
    the same signature, gets 401."""
    from slack_bolt.async_app import AsyncBoltRequest
    from starlette.responses import Response

    stamp = request.headers.get("x-slack-request-timestamp", "")
    try:
        body = (await request.body()).decode()
    except UnicodeDecodeError:
        return Response(status_code=400)
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 16):
        return Response(status_code=401)
    headers: Any = dict(request.headers)
    asked = AsyncBoltRequest(body=body, query=str(request.url.query), headers=headers)
    answer = await bolt.async_dispatch(asked)
    found = answer.first_headers_without_set_cookie()
    return Response(answer.body, answer.status, found)


async def connected(
    bolt: "AsyncApp", client: "AsyncWebClient", app_token: str
) -> "AsyncSocketModeHandler":
    """Connected by Socket Mode; reconnects by itself until it is closed."""
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

    socket = AsyncSocketModeHandler(bolt, app_token, web_client=client, ping_interval=PING_S)
    await socket.connect_async()  # type: ignore[no-untyped-call]
    return socket
