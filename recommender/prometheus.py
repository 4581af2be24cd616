"""A Prometheus over HTTP: `prometheus-api-client`, mended where it would hang, leak or fall short.

Every request of the client goes through one session, so that one place mends them all: the query
in the body, a deadline, tries that are bounded, no redirects, and no surroundings that overrule a
CA. The client is synchronous; two threads may share one.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from prometheus_api_client import PrometheusConnect
from requests.utils import get_environ_proxies
from urllib3.util.retry import Retry

from recommender.answers import (
    Envelope,
    Labels,
    Limits,
    Login,
    Matrix,
    Vector,
    decoded,
    envelope,
    joined,
    matrix,
    vector,
)
from recommender.model import RecommenderError
from recommender.refusals import TooMuch, away, refused, slow

AGAIN = (408, 429, 502, 503, 504)
CHUNK = 1 << 20


class Session(requests.Session):
    """A session that is bounded in every way."""

    def __init__(self, limits: Limits, wait: Callable[[float], None]) -> None:
        super().__init__()
        self.limits = limits
        self.wait = wait
        # Else REQUESTS_CA_BUNDLE and .netrc overrule the CA and the login that were given.
        self.trust_env = False
        # What is compressed on one side is inflated on the other, for longer than it is under way.
        self.headers["Accept-Encoding"] = "identity"

    def request(  # type: ignore[override]
        self, method: str, url: str, params: Any = None, **how: Any
    ) -> requests.Response:
        """The whole answer. Raises RecommenderError where there is none, or a bad one."""
        if method.upper() == "POST":
            how["data"], params = params, None
        how |= {"allow_redirects": False, "stream": True}
        for n in range(self.limits.tries):
            last = n + 1 == self.limits.tries
            try:
                answer = self._once(method, url, params, how)
            except RecommenderError as broken:
                if last or not broken.passing or isinstance(broken, TooMuch):
                    raise
                pause = 0.0
            else:
                if answer.status_code < 300:
                    return answer
                error = refused(answer)
                pause = error.retry_after or 0.0
                again = answer.status_code in AGAIN and not isinstance(error, TooMuch)
                if last or not again or pause > self.limits.wait_s:
                    raise error
            self.wait(pause or min(0.25 * 4**n, self.limits.wait_s))
        raise AssertionError("tried at least once")

    def _once(self, method: str, url: str, params: Any, how: dict[str, Any]) -> requests.Response:
        limits = self.limits
        end = time.monotonic() + limits.request_s
        how["timeout"] = (limits.connect_s, limits.request_s)
        try:
            with super().request(method, url, params=params, **how) as answer:
                parts, size = [], 0
                for part in answer.iter_content(CHUNK):
                    parts.append(part)
                    size += len(part)
                    if size > limits.answer_mb << 20:
                        raise TooMuch(f"The answer is longer than {limits.answer_mb} MB.")
                    if time.monotonic() > end:
                        raise slow(limits.request_s)
                answer._content = b"".join(parts)
                return answer
        except requests.ReadTimeout:
            raise slow(limits.request_s) from None
        except requests.exceptions.InvalidURL as error:
            raise RecommenderError(f"The URL of Prometheus cannot be used: {error}") from None
        except requests.RequestException as error:
            raise away(error, url) from None


class Prometheus(PrometheusConnect):  # type: ignore[misc]
    """One Prometheus-compatible server."""

    def __init__(
        self,
        url: str,
        login: Login | None = None,
        limits: Limits | None = None,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`wait` is what it pauses with between two tries. Nothing is sent yet."""
        login, self.limits = login or Login(), limits or Limits()
        url, basic = _apart(url)
        session = Session(self.limits, wait)
        session.verify = login.ca_file or True
        headers = dict(login.headers)
        if login.token:
            headers["Authorization"] = f"Bearer {login.token}"
        super().__init__(
            url,
            headers=headers,
            auth=login.basic or basic,
            retry=Retry(0, redirect=False),
            session=session,
            proxy=get_environ_proxies(url),
            method="POST",
        )

    def query(self, expr: str, at: float | None = None) -> Vector:
        """The value of every series at a moment (the server's now)."""
        asked = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        return vector(self._asked("/api/v1/query", asked))

    def query_range(self, expr: str, start: float, end: float, step: float) -> Matrix:
        """From `start` to `end`, both included, in as many requests as the server's limits want.

        Raises TooMuch where a piece is more than the server will load: ask for less time.
        """
        limits = self.limits
        steps = max(1, int((end - start) / step + 1e-6) + 1)
        width = max(1, min(limits.points, int(limits.piece_s / step)))
        return joined(
            [
                self._piece(expr, start + first * step, step, min(width, steps - first))
                for first in range(0, steps, width)
            ]
        )

    def _piece(self, expr: str, start: float, step: float, steps: int) -> Matrix:
        end = start + (steps - 1) * step
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        found = self._asked("/api/v1/query_range", {"query": expr} | times)
        return matrix(found, start, step, steps)

    def series(self, match: str, start: float, end: float) -> list[Labels]:
        """The labels of all series that were there between two moments: the index alone answers."""
        asked = {"match[]": match, "start": f"{start:.3f}", "end": f"{end:.3f}"}
        found: list[Labels] = decoded(self._asked("/api/v1/series", asked).data, list[Labels])
        return found

    def label_values(self, label: str, start: float, end: float, match: str = "") -> list[str]:
        """What a label is set to anywhere, between two moments."""
        asked = {"start": f"{start:.3f}", "end": f"{end:.3f}"} | (
            {"match[]": match} if match else {}
        )
        found = self._asked(f"/api/v1/label/{label}/values", asked, "GET")
        values: list[str] = decoded(found.data, list[str])
        return values

    def now(self) -> float:
        """The server's own time."""
        return float(self.query("time()").values[0])

    def build(self) -> str:
        """Its version; empty where it does not say (not every compatible server does)."""
        try:
            found = self._asked("/api/v1/status/buildinfo", {}, "GET")
            return str(decoded(found.data, dict[str, Any]).get("version", ""))
        except RecommenderError as error:
            if error.passing:
                raise
            return ""

    def _asked(self, path: str, asked: Mapping[str, str], method: str = "POST") -> Envelope:
        answer = self._session.request(
            method, self.url + path, params=asked, headers=self.headers, auth=self.auth
        )
        found = envelope(answer.content)
        if found.status != "success":
            raise refused(answer)
        return found


def _apart(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without the login in it, which must not show in any message, and that login."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecommenderError(
            "The URL of Prometheus must begin with http:// or https:// and name a host.",
            "For example http://prometheus.monitoring:9090",
        )
    login = (parts.username, parts.password or "") if parts.username else None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return urlunsplit(bare).rstrip("/"), login
