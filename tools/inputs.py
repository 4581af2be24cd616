"""What callers may send, checked: names, quantities, images. Bounds that a model can do without
stay out of the schemas, where each byte is paid for on every call."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from tools.errors import Code, ToolError
from tools.tool import Arguments


def _matching(pattern: str, most: int, what: str) -> Callable[[str], str]:
    shape = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) > most or not shape.fullmatch(text):
            raise ValueError(f"{text[:80]!r} is not {what}")
        return text

    return check


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_label = _matching(_LABEL, 63, "a name of a-z, 0-9 and '-', at most 63 long")
_subdomain = _matching(
    rf"{_LABEL}(\.{_LABEL})*", 253, "a name of a-z, 0-9, '-' and '.', at most 253 long"
)
_SIZES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "E": Decimal(10**18), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(
    rf"(\d{{1,15}}(?:\.\d{{1,9}})?)(?:({'|'.join(_SIZES)})|[eE]([+-]?\d{{1,2}}))"
)
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def amount(quantity: str) -> Decimal:
    """A Kubernetes quantity as a number. Raises `ValueError` for what is none."""
    if not (found := _QUANTITY.fullmatch(quantity)):
        raise ValueError(f"{quantity[:40]!r} is not a quantity such as 250m, 2 or 512Mi")
    return Decimal(found[1]) * (Decimal(f"1e{found[3]}") if found[3] else _SIZES[found[2]])


def _quantity(text: str) -> str:
    amount(text)
    return text


def _since(text: str) -> str:
    if text and not _SPAN.fullmatch(text):
        try:
            aware = datetime.fromisoformat(text).tzinfo
        except ValueError:
            aware = None
        if aware is None:
            raise ValueError(f"{text[:40]!r} is neither a span such as 10m nor an RFC 3339 time")
    return text


def since_s(text: str, now: datetime) -> int | None:
    """How many seconds back `since` reaches, at least one; None for an empty one."""
    if not text:
        return None
    if span := _SPAN.fullmatch(text):
        return max(1, int(span[1]) * _SECONDS[span[2]])
    return max(1, int((now - datetime.fromisoformat(text)).total_seconds()))


Label = Annotated[str, AfterValidator(_label)]
Subdomain = Annotated[str, AfterValidator(_subdomain)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Since = Annotated[str, AfterValidator(_since)]
Image = Annotated[str, AfterValidator(_matching(
    r"[a-zA-Z0-9][a-zA-Z0-9._:/-]*(@sha256:[0-9a-f]{64})?", 512, "an image such as busybox:1.37"
))]  # fmt: skip
EnvName = Annotated[str, AfterValidator(_matching(
    r"[A-Za-z_][A-Za-z0-9_]*", 128, "the name of an environment variable"
))]  # fmt: skip
SecretKey = Annotated[str, AfterValidator(_matching(
    r"[-._a-zA-Z0-9]+", 253, "a Secret's key"
))]  # fmt: skip
Selector = Annotated[str, AfterValidator(_matching(
    r"[-A-Za-z0-9_./,=! ()]*", 1000, "a label selector such as app=web,tier!=test"
))]  # fmt: skip


class InTenant(Arguments):
    """The base of what is asked of one tenant."""

    tenant: Label


class OfAnyTenant(Arguments):
    """The base of what is asked of one tenant, or by an operator of all."""

    tenant: Label | None = Field(None, description="operators may leave it out: all")


class Resources(Arguments):
    """What a container asks for and may take at most."""

    cpu_request: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory_request: Quantity | None = None
    memory_limit: Quantity | None = None

    def wanted(self) -> dict[str, dict[str, str]]:
        """As in a container's `resources`, without what was not said."""
        asked = {
            "requests": {"cpu": self.cpu_request, "memory": self.memory_request},
            "limits": {"cpu": self.cpu_limit, "memory": self.memory_limit},
        }
        said = {part: {k: v for k, v in of.items() if v} for part, of in asked.items()}
        return {part: of for part, of in said.items() if of}


def check_bounds(resources: dict[str, dict[str, str]]) -> None:
    """Raises `ToolError` where a request is above its limit."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for what in requests.keys() & limits.keys():
        if amount(str(requests[what])) > amount(str(limits[what])):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"The {what} request {requests[what]} is above its limit {limits[what]}.",
                f"Raise {what}_limit or lower {what}_request.",
            )
