"""WebSockets for uvicorn, which brings none of its own: aiohttp's frames as ASGI's messages."""

import asyncio
import base64
import hashlib
from typing import Any
from urllib.parse import unquote

import h11
import structlog
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_websocket import (
    WS_KEY,
    WebSocketError,
    WebSocketReader,
    WebSocketWriter,
    WSMsgType,
)
from aiohttp.streams import EofStream

log = structlog.get_logger(__name__)

Message = dict[str, Any]
MOST_MESSAGE = 1 << 16
HELD = 1 << 16
NORMAL, ABNORMAL, GOING_AWAY, BROKEN = 1000, 1006, 1001, 1011
# A client that does not answer a closing frame does not hold the connection.
CLOSE_S = 5.0


class WebSocketProtocol(BaseProtocol):
    """One connection, from the request to upgrade it to its end."""

    def __init__(self, config: Any, server_state: Any, app_state: Message, **_: Any) -> None:
        super().__init__(asyncio.get_running_loop())
        self._upgraded = True  # in aiohttp's words: there is no parser of HTTP to be paused
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._http = h11.Connection(h11.SERVER)
        self._messages = WebSocketDataQueue(self, HELD, loop=self._loop)
        self._reader: WebSocketReader | None = None
        self._writer: WebSocketWriter | None = None
        self._begun = False
        self._closed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._state.connections.add(self)

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self._state.connections.discard(self)
        self._messages.feed_eof()

    def shutdown(self) -> None:
        """The server stops; the application says so to the client, or else this does."""
        if self._writer is None and self.transport:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.feed_data(data)
            return
        self._http.receive_data(data)
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            task = self._loop.create_task(self._run(self._scope(event)))
            self._state.tasks.add(task)
            task.add_done_callback(self._state.tasks.discard)

    def _scope(self, request: h11.Request) -> Message:
        assert self.transport is not None
        path, _, query = request.target.partition(b"?")
        headers = [(bytes(k).lower(), bytes(v)) for k, v in request.headers]
        given = dict(headers)
        self._key = given.get(b"sec-websocket-key", b"")
        self._fits = given.get(b"sec-websocket-version") == b"13" and len(self._key) == 24
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "subprotocols": [],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    async def _run(self, scope: Message) -> None:
        try:
            if self._fits:
                await self._app(scope, self._receive, self._send)
            else:
                self._deny(400, [(b"sec-websocket-version", b"13")])
        except Exception:
            log.exception("websocket failed", path=scope["path"])
            if self._writer is None:
                self._deny(500)
            else:
                await self._close(BROKEN, "Something broke down.")
        if self.transport and not self._closed:
            self.transport.close()

    # ---- what the application calls

    async def _receive(self) -> Message:
        if not self._begun:
            self._begun = True
            return {"type": "websocket.connect"}
        while True:
            try:
                message = await self._messages.read()
            except EofStream:
                return _disconnected(self._closed or ABNORMAL)
            except WebSocketError as error:
                await self._close(error.code, str(error))
                return _disconnected(error.code)
            match message.type:
                case WSMsgType.TEXT:
                    return {"type": "websocket.receive", "text": message.data}
                case WSMsgType.BINARY:
                    return {"type": "websocket.receive", "bytes": message.data}
                case WSMsgType.PING if self._writer and not self._closed:
                    await self._writer.send_frame(message.data, WSMsgType.PONG)
                case WSMsgType.CLOSE:
                    await self._close(message.data or NORMAL, "")
                    if self.transport:
                        self.transport.close()
                    return _disconnected(message.data or NORMAL)

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accept(message.get("headers", ()))
            case "websocket.send":
                if self._writer is None or self._closed or self.transport is None:
                    raise OSError("the client has gone")
                text = message.get("text")
                kind = WSMsgType.BINARY if text is None else WSMsgType.TEXT
                data = message["bytes"] if text is None else text.encode()
                await self._writer.send_frame(data, kind)
                if self._paused:
                    await self._drain_helper()
            case "websocket.close" if self._writer is None:
                self._deny(403)
            case "websocket.close":
                await self._close(message.get("code", NORMAL), message.get("reason") or "")
            case "websocket.http.response.start":
                headers = [*message["headers"], (b"connection", b"close")]
                self._write(h11.Response(status_code=message["status"], headers=headers))
            case "websocket.http.response.body":
                self._write(h11.Data(data=message.get("body", b"")))
                if not message.get("more_body") and self.transport:
                    self._write(h11.EndOfMessage())
                    self.transport.close()

    # ---- the connection

    def _accept(self, more: Any) -> None:
        assert self.transport is not None
        accept = base64.b64encode(hashlib.sha1(self._key + WS_KEY, usedforsecurity=False).digest())
        headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", accept),
            *more,
        ]
        self._write(h11.InformationalResponse(status_code=101, headers=headers))
        self._reader = WebSocketReader(self._messages, MOST_MESSAGE, False, True)
        self._writer = WebSocketWriter(self, self.transport, limit=HELD)

    def _deny(self, status: int, headers: Any = ()) -> None:
        if self.transport:
            close = [*headers, (b"content-length", b"0"), (b"connection", b"close")]
            self._write(h11.Response(status_code=status, headers=close))
            self._write(h11.EndOfMessage())
            self.transport.close()

    async def _close(self, code: int, reason: str) -> None:
        if self._closed or self._writer is None or self.transport is None:
            return
        self._closed = code
        try:
            await self._writer.close(code, reason)
        except ConnectionError:
            return
        self._loop.call_later(CLOSE_S, self.transport.close)

    def _write(self, event: Any) -> None:
        if self.transport and (data := self._http.send(event)):
            self.transport.write(data)


def _disconnected(code: int) -> Message:
    return {"type": "websocket.disconnect", "code": code}
