"""Requests to AWS, in threads, with a bound on how long each may take and how often it is tried."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tools.backends.aws.refusals import refusal
from tools.errors import Code

# `call("iam", "get_role", RoleName="x")` is boto3's `iam.get_role(RoleName="x")`.
Call = Callable[..., Awaitable[dict[str, Any]]]

CONNECT_S = 5
READ_S = 20
TRIES = 3
AT_ONCE = 32
READS = ("describe_", "get_", "head_", "list_")


class Requests:
    """boto3's clients, each made when it is first needed and kept. They are safe to share."""

    def __init__(self, region: str = "", endpoint: str = "") -> None:
        self.region = region
        self._endpoint = endpoint
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self.forgotten = 0  # how often credentials were found to be worth nothing
        self._lock = threading.Lock()
        # Of its own: what AWS keeps waiting must keep nothing else.
        self._threads = ThreadPoolExecutor(AT_ONCE, "aws")

    async def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """One operation by boto3's name for it. Raises `ToolError`."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._threads, self._call, service, operation, arguments)

    def _call(self, service: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**arguments)
        # botocore's errors have no common base but Exception that can be named without it.
        except Exception as error:
            name = f"{service}:{''.join(word.title() for word in operation.split('_'))}"
            refused = refusal(error, name, writes=not operation.startswith(READS))
            if refused.code is Code.UNAUTHENTICATED:
                self._forget()
            raise refused from error
        return answer

    def _forget(self) -> None:
        """Look for credentials again at the next call: somebody may renew them by then."""
        with self._lock:
            self._clients.clear()
            self._session = None
            self.forgotten += 1

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            region = self.region or os.environ.get("AWS_REGION")
            self._session = boto3.Session(region_name=region or None)
            self.region = self._session.region_name or ""
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=AT_ONCE,
            user_agent_extra="pilothouse",
        )
        return self._session.client(service, config=config, endpoint_url=self._endpoint or None)
