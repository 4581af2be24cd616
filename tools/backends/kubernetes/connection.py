"""One connection pool to one cluster, with whatever credentials its kubeconfig says."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.errors import Code, ToolError

POOL = 128
CONNECT_S = 5.0
# How old credentials may get before their source (a token file, a plugin, OIDC) is asked again.
FRESH_S = 60.0
# A server that refuses everything must not make us run a credential plugin for every request.
RELOAD_S = 5.0
IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Connection:
    """Loads the configuration with the first request, and keeps the credentials fresh.

    `kubeconfig` is a file (or several, joined as in KUBECONFIG); without one it is KUBECONFIG,
    `~/.kube/config`, or the ServiceAccount of the pod that we run in.
    """

    def __init__(self, name: str, kubeconfig: str = "", context: str = "") -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.context = context
        self.url = ""
        self._configuration: Any = None
        self._loader: Any = None
        self._rest: Any = None
        self._retired: list[Any] = []
        self._loaded = 0.0
        self._lock = asyncio.Lock()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any,
        timeout_s: float | None,
    ) -> Any:
        """Send one request; aiohttp's response, its body not read yet. Raises what aiohttp raises,
        and `ToolError` where there is no configuration to connect with."""
        import aiohttp

        rest, authorization = await self._ready()
        answer = await rest.request(
            method,
            self.url + path,
            headers=dict(headers) | authorization,
            body=body,
            _request_timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
        )
        return answer.response

    async def reload(self) -> bool:
        """Ask for credentials anew, after a 401. False where that was only just done."""
        async with self._lock:
            if time.monotonic() - self._loaded < RELOAD_S:
                return False
            if self._rest is not None:
                # Requests of others may still be under way on the old one.
                self._retired.append(self._rest)
            self._rest = None
            await self._load()
            return True

    async def close(self) -> None:
        for rest in [*self._retired, self._rest]:
            if rest is not None:
                await rest.close()
        self._retired, self._rest = [], None

    async def _ready(self) -> tuple[Any, dict[str, str]]:
        if self._rest is None or time.monotonic() - self._loaded > FRESH_S:
            async with self._lock:
                if self._rest is None:
                    await self._load()
                elif time.monotonic() - self._loaded > FRESH_S:
                    await self._freshen()
        token = await self._configuration.get_api_key_with_prefix(
            "BearerToken", alias="authorization"
        )
        return self._rest, {"Authorization": token} if token else {}

    async def _load(self) -> None:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.client.rest import RESTClientObject
        from kubernetes.aio.config import load_incluster_config, load_kube_config

        # Not the default one, which others in this process may have set.
        configuration = type.__call__(Configuration)
        configuration.connection_pool_maxsize = POOL
        source = where_from(self.kubeconfig)
        try:
            if source:
                self._loader = await load_kube_config(
                    config_file=source,
                    context=self.context or None,
                    client_configuration=configuration,
                )
                self._must_have_credentials(configuration)
            else:
                load_incluster_config(client_configuration=configuration)
            # aiohttp would look for a proxy and a .netrc in a thread, twice for every request.
            configuration.client_session_kwargs = {"trust_env": False}
            configuration.trace_configs = [self._stay_here()]
            configuration.proxy = configuration.proxy or proxy_for(configuration.host)
            self._rest = RESTClientObject(configuration)
        except ToolError:
            raise
        # A kubeconfig is a hand-written file: what is wrong with it may be anything.
        except Exception as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The kubeconfig of cluster {self.name} cannot be used: {error}",
                "Mend it, or name another with --kubeconfig and --context.",
            ) from error
        self._configuration = configuration
        self.url = configuration.host.rstrip("/")
        self._loaded = time.monotonic()

    def _stay_here(self) -> Any:
        """An API server does not send its clients elsewhere; whoever does is not to be followed
        with our credentials."""
        import aiohttp

        async def refuse(*_: Any) -> None:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The server of cluster {self.name} sends us to another address.",
                "Name the API server itself in the kubeconfig.",
            )

        watching = aiohttp.TraceConfig()
        watching.on_request_redirect.append(refuse)
        return watching

    async def _freshen(self) -> None:
        self._loaded = time.monotonic()
        if self._loader is None:
            return  # the configuration of a pod reads its token file by itself
        user = self._loader._user
        if user and "exec" in user and not hasattr(self._loader, "exec_plugin_expiry"):
            return  # a credential without an end is good until the server refuses it
        await self._loader.load_and_set(self._configuration)

    def _must_have_credentials(self, configuration: Any) -> None:
        # The client only logs it when a plugin fails, and then goes on as nobody.
        user = self._loader._user
        if user and "exec" in user and not (configuration.api_key or configuration.cert_file):
            raise ToolError(
                Code.UNAUTHENTICATED,
                f"The credential plugin for cluster {self.name} ({user['exec']['command']}) gave "
                "no credentials.",
                "Run the plugin by hand to see why, log in again, and repeat.",
            )


def where_from(kubeconfig: str) -> str:
    """The kubeconfig to load, or nothing for the pod that we run in. Raises `ToolError`."""
    for source in (kubeconfig, os.environ.get("KUBECONFIG", "")):
        if source:
            files = [Path(f).expanduser() for f in source.split(os.pathsep) if f]
            if not any(f.is_file() for f in files):
                raise ToolError(
                    Code.FAILED_PRECONDITION,
                    f"There is no kubeconfig at {source}.",
                    "Name one with --kubeconfig FILE or KUBECONFIG.",
                )
            return source
    default = Path.home() / ".kube" / "config"
    if default.is_file():
        return str(default)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and IN_CLUSTER_TOKEN.is_file():
        return ""
    raise ToolError(
        Code.FAILED_PRECONDITION,
        "No cluster is configured.",
        "Name one with --kubeconfig FILE or KUBECONFIG, or try `pilothouse demo`.",
    )


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address, if any."""
    from urllib.request import getproxies, proxy_bypass

    where = urlsplit(url)
    if not where.hostname or proxy_bypass(where.hostname):
        return None
    return getproxies().get(where.scheme)


def context_name(kubeconfig: str = "", context: str = "") -> str:
    """What to call the cluster of a kubeconfig: its context's name, or `in-cluster`."""
    import yaml

    source = where_from(kubeconfig)
    if context or not source:
        return context or "in-cluster"
    for file in source.split(os.pathsep):
        if Path(file).expanduser().is_file():
            content = yaml.safe_load(Path(file).expanduser().read_text()) or {}
            if isinstance(content, dict) and content.get("current-context"):
                return str(content["current-context"])
    return "default"
