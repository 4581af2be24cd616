"""What a Prometheus refuses, in words that say what to do."""

import re
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

import msgspec
import requests

from recommender.model import RecommenderError

# As Prometheus, Thanos, Mimir and VictoriaMetrics put it.
TOO_MUCH = re.compile(
    r"too many (samples|chunks|series|points|unique)|exceeded maximum resolution|maxSamplesPerQuery"
    r"|err-mimir-max|exceed\w* .{0,40}limit|limit .{0,60}exceed|maxPointsPerTimeseries"
    r"|maxUniqueTimeseries|query timed out|context deadline exceeded|out of memory",
    re.IGNORECASE,
)
LONGEST = 300


class TooMuch(RecommenderError):
    """More than the server will load, or than we will hold, in one request: ask for less time."""

    def __init__(self, message: str, hint: str = "Ask for less time, or for fewer series.") -> None:
        super().__init__(message, hint, passing=True)


class Slow(TooMuch):
    """No answer in time, which may be because it is too much."""


class _Told(msgspec.Struct):
    errorType: str = ""
    error: str = ""


def refused(answer: requests.Response) -> RecommenderError:
    """What an answer that is none means."""
    status, said = answer.status_code, _said(answer)
    told = f": {said}" if said else "."
    match status:
        case 401:
            return RecommenderError(
                f"Prometheus does not know us (401){told}",
                "Check the token or the user and password, and that they have not expired.",
            )
        case 403:
            return RecommenderError(
                f"Prometheus does not let us read (403){told}",
                "Give the token the right to query; with several tenants, set X-Scope-OrgID.",
            )
        case 404 | 405:
            return RecommenderError(
                f"There is no Prometheus API at this address ({status}).",
                "Check the URL; Mimir and Thanos often want a path such as /prometheus.",
            )
        case _ if 300 <= status < 400:
            to = urlsplit(answer.headers.get("Location", ""))
            where = f"{to.scheme}://{to.netloc}{to.path}" if to.netloc else to.path
            return RecommenderError(
                f"Prometheus sends us elsewhere ({status}): {where}",
                "Set that as its URL if it is right: credentials are not sent after a redirect.",
            )
        case 413:
            return TooMuch(f"Prometheus refuses the request as too large (413){told}")
        case 400 | 422 | 500 | 503 | 504 | 200 | 429 if TOO_MUCH.search(said):
            return TooMuch(f"That is more than Prometheus will load ({status}){told}")
        case 400 | 422 | 200:
            return RecommenderError(
                f"Prometheus cannot answer the query ({status}){told}",
                "Check the expression, and the metric names in the settings.",
            )
        case 429:
            return RecommenderError(
                f"Prometheus is asked too often (429){told}",
                "It is asked again later; raise the limit for this caller if that goes on.",
                passing=True,
                retry_after=_retry_after(answer),
            )
        case _ if status >= 500 or status == 408:
            return RecommenderError(
                f"Prometheus cannot answer now ({status}){told}",
                "It is asked again later; see its own log.",
                passing=True,
                retry_after=_retry_after(answer),
            )
    return RecommenderError(f"Prometheus answered {status}{told}", "See its own log.")


def away(error: requests.RequestException, url: str) -> RecommenderError:
    """A connection that was not made, or broke off."""
    at = urlsplit(url)
    where = f"{at.scheme}://{at.netloc}"
    if isinstance(error, requests.exceptions.SSLError):
        return RecommenderError(
            f"The certificate of Prometheus at {where} is not trusted.",
            "Name its CA in the settings.",
        )
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.ConnectionError) and (
        "IncompleteRead" in str(error) or "prematurely" in str(error)
    ):
        return RecommenderError(
            f"Prometheus at {where} broke off in the middle of an answer.",
            "It is asked again at the next run.",
            passing=True,
        )
    return Away(
        f"Prometheus at {where} cannot be reached.",
        "Check that it runs, the URL, and the network policy between here and there.",
        passing=True,
    )


class Away(RecommenderError):
    """Nobody answers: there is no use in asking for the rest."""


def slow(seconds: float) -> Slow:
    return Slow(f"Prometheus did not answer within {seconds:g} s.")


def _said(answer: requests.Response) -> str:
    """The server's own words, if it is a Prometheus that speaks."""
    try:
        found = msgspec.json.decode(answer.content, type=_Told)
    except msgspec.DecodeError:
        text = answer.text.strip()
        return "" if text.startswith("<") else text[:LONGEST]
    return found.error[:LONGEST]


def _retry_after(answer: requests.Response) -> float | None:
    told = answer.headers.get("Retry-After", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time())
    except ValueError:
        return None
