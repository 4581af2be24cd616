"""A stand-in for Slack: its Web API and Socket Mode over real sockets, and the people there, who
type, press and fill in. It refuses what Slack would refuse."""

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from tests.chatops.slack_limits import check_blocks, check_message, check_view, need

TEAM, BOT, SECRET, TOKEN, APP_TOKEN = "T1", "UBOT", "shh", "xoxb-1", "xapp-1"
_numbers = itertools.count(1)
Message = dict[str, Any]


@dataclass
class SlackServer:
    """`messages` by channel and ts; `whispers` are what one user alone saw; `called` is every Web
    API method in order. `refuse` holds 429s to give, as (method, seconds); `fail` the error that a
    method answers with. As often as `unready` says, a picture is not ready to be shown."""

    url: str = ""
    messages: dict[tuple[str, str], Message] = field(default_factory=dict)
    whispers: list[Message] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    homes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)
    refuse: list[tuple[str, int]] = field(default_factory=list)
    fail: dict[str, str] = field(default_factory=dict)
    unready: int = 0
    absent: set[str] = field(default_factory=set)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    acknowledged: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    pilothouse: str = ""
    http: aiohttp.ClientSession | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # ---- the Web API

    async def api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.called.append(method)
        for one in self.refuse:
            if one[0] == method:
                self.refuse.remove(one)
                headers = {"Retry-After": str(one[1])}
                return web.json_response({"ok": False}, status=429, headers=headers)
        if method in self.fail:
            return web.json_response({"ok": False, "error": self.fail[method]})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, APP_TOKEN):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        handler: Callable[..., Any] | None = getattr(self, method.replace(".", "_"), None)
        if handler is None:
            return web.json_response({"ok": False, "error": "unknown_method"})
        try:
            answer = self._not_ready(body := await _body(request)) or handler(body)
        except (ValueError, KeyError) as error:
            self.wrong.append(f"{method}: {error!r}")
            answer = {"ok": False, "error": "invalid_blocks"}
        self._changed.set()
        return web.json_response({"ok": True} | answer)

    def _not_ready(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.unready and "slack_file" in json.dumps(body.get("blocks") or []):
            self.unready -= 1
            return {"ok": False, "error": "invalid_blocks"}
        return {}

    def auth_test(self, body: Any) -> dict[str, Any]:
        we = {"team_id": TEAM, "user_id": BOT, "bot_id": "B1", "url": "https://x.slack.com/"}
        return we | {"team": "team", "user": "pilothouse"}

    def chat_postMessage(self, body: Message) -> dict[str, Any]:
        if body["channel"] in self.absent:
            return {"ok": False, "error": "not_in_channel"}
        check_message(body)
        channel = body["channel"]
        channel = f"D{channel[1:]}" if channel.startswith("U") else channel
        ts = f"1700000000.{next(_numbers):06d}"
        self.messages[channel, ts] = body | {"channel": channel, "ts": ts, "edits": 0}
        return {"channel": channel, "ts": ts}

    def chat_update(self, body: Message) -> dict[str, Any]:
        check_message(body)
        found = self.messages.get((body["channel"], body["ts"]))
        if found is None:
            return {"ok": False, "error": "message_not_found"}
        found.update(body | {"edits": found["edits"] + 1})
        return {"channel": body["channel"], "ts": body["ts"]}

    def chat_delete(self, body: Message) -> dict[str, Any]:
        self.messages.pop((body["channel"], body["ts"]))
        return {}

    def chat_postEphemeral(self, body: Message) -> dict[str, Any]:
        if body["channel"] in self.absent:
            return {"ok": False, "error": "not_in_channel"}
        check_message(body)
        self.whispers.append(body)
        return {"message_ts": f"1700000000.{next(_numbers):06d}"}

    def chat_startStream(self, body: Message) -> dict[str, Any]:
        need(body["thread_ts"], "no thread")
        ts = f"1700000000.{next(_numbers):06d}"
        text = "".join(chunk["text"] for chunk in body.get("chunks") or [])
        text += body.get("markdown_text") or ""
        self.messages[body["channel"], ts] = body | {"ts": ts, "text": text, "edits": 0}
        return {"channel": body["channel"], "ts": ts}

    def chat_appendStream(self, body: Message) -> dict[str, Any]:
        found = self.messages[body["channel"], body["ts"]]
        found["text"] += "".join(chunk["text"] for chunk in body.get("chunks") or [])
        found["text"] += body.get("markdown_text") or ""
        found["edits"] += 1
        return {"channel": body["channel"], "ts": body["ts"]}

    def chat_stopStream(self, body: Message) -> dict[str, Any]:
        check_blocks(body.get("blocks") or [], 50)
        self.chat_appendStream(body)
        found = self.messages[body["channel"], body["ts"]]
        found["blocks"], found["ended"] = body.get("blocks"), True
        return {"channel": body["channel"], "ts": body["ts"]}

    def views_open(self, body: dict[str, Any]) -> dict[str, Any]:
        check_view(body["view"])
        need(body["view"]["type"] == "modal", "not a modal")
        if body["trigger_id"].startswith("old"):
            return {"ok": False, "error": "expired_trigger_id"}
        view = body["view"] | {"id": f"V{next(_numbers)}", "hash": "h"}
        self.views.append(view)
        return {"view": view}

    def views_publish(self, body: dict[str, Any]) -> dict[str, Any]:
        check_view(body["view"])
        self.homes[body["user_id"]] = body["view"]
        return {}

    def users_info(self, body: dict[str, Any]) -> dict[str, Any]:
        known = {"id": body["user"], "name": body["user"].lower(), "team_id": TEAM, "profile": {}}
        return {"user": known | self.users.get(body["user"], {})}

    def files_getUploadURLExternal(self, body: dict[str, Any]) -> dict[str, Any]:
        id = f"F{next(_numbers)}"
        return {"file_id": id, "upload_url": f"{self.url}/upload/{id}"}

    def files_completeUploadExternal(self, body: dict[str, Any]) -> dict[str, Any]:
        files = body["files"]
        return {"files": json.loads(files) if isinstance(files, str) else files}

    def assistant_threads_setStatus(self, body: dict[str, Any]) -> dict[str, Any]:
        self.statuses.append(body["status"])
        return {}

    def assistant_threads_setSuggestedPrompts(self, body: dict[str, Any]) -> dict[str, Any]:
        need(1 <= len(body["prompts"]) <= 4, "prompts")
        self.prompts = body["prompts"]
        return {}

    def apps_connections_open(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"{self.url.replace('http', 'ws')}/socket"}

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.read()
        self.files[request.match_info["id"]] = form
        return web.Response(text="OK")

    async def respond(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            check_message(body)
            need(body.get("response_type") == "ephemeral", "said to all at a response_url")
            if self._not_ready(body):
                return web.Response(status=400, text="invalid_blocks")
        except ValueError as error:
            self.wrong.append(f"response_url: {error!r}")
            return web.Response(status=400)
        before = [w for w in self.whispers if w.get("at") == request.path]
        if len(before) >= 5:
            return web.Response(status=404, text="used_url")
        self.whispers.append(body | {"at": request.path})
        self._changed.set()
        return web.Response(text="ok")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello"})
        self.sockets.append(socket)
        self._changed.set()
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                answer = json.loads(message.data)
                self.acknowledged[answer["envelope_id"]] = answer.get("payload")
                self._changed.set()
        self.sockets.remove(socket)
        self._changed.set()
        return socket

    # ---- the people

    async def send(
        self, body: str, *, stamp: str = "", signature: str = "", **headers: str
    ) -> tuple[int, str]:
        """One signed request, as Slack sends it."""
        stamp = stamp or str(int(time.time()))
        signature = signature or sign(body, stamp)
        kind = "application/json" if body.startswith("{") else "application/x-www-form-urlencoded"
        signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature}
        signed |= {"Content-Type": kind} | headers
        assert self.http is not None
        where = f"{self.pilothouse}/slack/events"
        async with self.http.post(where, data=body.encode(), headers=signed) as answer:
            return answer.status, await answer.text()

    def command(self, user: str, channel: str, text: str) -> dict[str, str]:
        return {
            "command": "/pilot",
            "text": text,
            "user_id": user,
            "channel_id": channel,
            "team_id": TEAM,
            "trigger_id": f"trigger.{next(_numbers)}",
            "response_url": f"{self.url}/respond/{next(_numbers)}",
        }

    async def types(self, user: str, channel: str, text: str) -> int:
        """`/pilot text` in a channel."""
        return (await self.send(urlencode(self.command(user, channel, text))))[0]

    def said(self, user: str, channel: str, text: str, **more: Any) -> dict[str, Any]:
        own = channel.startswith("D")
        event = {
            "type": "message" if own else "app_mention",
            "user": user,
            "channel": channel,
            "text": text if own else f"<@{BOT}> {text}",
            "ts": f"1700000000.{next(_numbers):06d}",
        }
        event |= {"channel_type": "im"} if own else {}
        return self.event(event | more)

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        id = f"Ev{next(_numbers)}"
        return {"type": "event_callback", "team_id": TEAM, "event_id": id, "event": event}

    async def says(self, user: str, channel: str, text: str, **more: Any) -> int:
        """A mention in a channel, or a direct message."""
        return (await self.send(json.dumps(self.said(user, channel, text, **more))))[0]

    async def happens(self, **event: Any) -> int:
        return (await self.send(json.dumps(self.event(event))))[0]

    def press(self, user: str, message: Message, text: str) -> dict[str, Any]:
        """What is sent when somebody presses the button with this text."""
        button = next(b for b in buttons(message) if b["text"]["text"] == text)
        whispered = "ts" not in message
        container = {"type": "message", "is_ephemeral": whispered}
        container |= {"message_ts": message.get("ts", "1.1"), "channel_id": message.get("channel")}
        shown = {k: message[k] for k in ("ts", "thread_ts") if message.get(k)}
        return {
            "type": "block_actions",
            "user": {"id": user, "team_id": TEAM},
            "team": {"id": TEAM},
            "trigger_id": f"trigger.{next(_numbers)}",
            "response_url": f"{self.url}/respond/{next(_numbers)}",
            "channel": {"id": message.get("channel", "C1")},
            "container": container,
            "message": shown,
            "actions": [button | {"type": "button", "block_id": "b", "action_ts": "1.1"}],
        }

    async def presses(self, user: str, message: Message, text: str) -> int:
        payload = self.press(user, message, text)
        return (await self.send(urlencode({"payload": json.dumps(payload)})))[0]

    async def fills(self, user: str, view: dict[str, Any], **values: Any) -> tuple[int, str]:
        """Send a form; a value for each field that is filled in, the others as they were."""
        state = {}
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            element, name = block["element"], block["block_id"]
            if element["type"] == "static_select":
                option = (
                    {"value": values[name]} if name in values else element.get("initial_option")
                )
                written = {"type": "static_select", "selected_option": option}
            else:
                value = values.get(name, element.get("initial_value"))
                written = {"type": element["type"], "value": value}
            state[name] = {"value": written}
        sent = {k: view[k] for k in ("id", "hash", "callback_id", "private_metadata", "type")}
        payload = {
            "type": "view_submission",
            "user": {"id": user, "team_id": TEAM},
            "team": {"id": TEAM},
            "view": sent | {"state": {"values": state}},
        }
        return await self.send(urlencode({"payload": json.dumps(payload)}))

    async def until(self, holds: Callable[[], Any], timeout_s: float = 30) -> Any:
        """What `holds` gives, once it is something."""
        async with asyncio.timeout(timeout_s):
            while not (found := holds()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def message(self, channel: str, text: str) -> Message | None:
        """The latest message of a channel that shows this text."""
        found = [m for (c, _), m in self.messages.items() if c == channel and text in shown(m)]
        return found[-1] if found else None

    def card(self, channel: str, text: str) -> Message | None:
        """The latest card that can be approved and shows this text."""
        found = [m for (c, _), m in self.messages.items() if c == channel and text in shown(m)]
        return next((m for m in reversed(found) if {"Approve", "Confirm"} & {*labels(m)}), None)

    def whisper(self, text: str) -> Message | None:
        found = [m for m in self.whispers if text in shown(m)]
        return found[-1] if found else None


def shown(message: Message) -> str:
    """All the text that somebody reads."""
    return json.dumps([message.get("text"), message.get("blocks")], ensure_ascii=False)


def buttons(message: Message) -> list[dict[str, Any]]:
    found = []
    for block in message.get("blocks") or []:
        found += block.get("elements", []) if block["type"] == "actions" else []
        found += [block["accessory"]] if "accessory" in block else []
    return found


def labels(message: Message) -> list[str]:
    return [b["text"]["text"] for b in buttons(message)]


def sign(body: str, stamp: str, secret: str = SECRET) -> str:
    signed = f"v0:{stamp}:{body}".encode()
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


async def _body(request: web.Request) -> dict[str, Any]:
    body: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body |= await request.json()
    else:
        body |= dict(await request.post())
    return body


@asynccontextmanager
async def slack_server() -> AsyncIterator[SlackServer]:
    server = SlackServer()
    app = web.Application(client_max_size=10 << 20)
    app.router.add_post("/api/{method}", server.api)
    app.router.add_get("/api/{method}", server.api)
    app.router.add_post("/upload/{id}", server.upload)
    app.router.add_post("/respond/{id}", server.respond)
    app.router.add_get("/socket", server.socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    connector = aiohttp.TCPConnector(limit=500)
    async with aiohttp.ClientSession(connector=connector) as server.http:
        yield server
    await runner.cleanup()
