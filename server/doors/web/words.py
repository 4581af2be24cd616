"""Values as people read them: moments, money, shares, amounts, states."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from tools.visible import visible

MOST_VALUE = 400

# How a state is called, and how it is coloured.
STATES = {
    "planning": ("planning", "busy"),
    "awaiting_confirmation": ("waits for confirmation", "wait"),
    "awaiting_approval": ("waits for approval", "wait"),
    "running": ("running", "busy"),
    "succeeded": ("done", "good"),
    "failed": ("failed", "bad"),
    "denied": ("denied", "bad"),
    "rejected": ("rejected", "off"),
    "expired": ("expired", "off"),
    "stale": ("stale", "off"),
    "cancelled": ("withdrawn", "off"),
    "unknown": ("unknown", "bad"),
    "undoing": ("being undone", "busy"),
    "undone": ("undone", "off"),
    "stuck": ("stuck", "bad"),
    # of recommendations and jobs
    "open": ("open", "wait"),
    "later": ("put off", "off"),
    "applying": ("being applied", "busy"),
    "applied": ("applied, being measured", "busy"),
    "kept": ("it held", "good"),
    "harmful": ("it did harm", "bad"),
    "no_effect": ("no effect", "off"),
    "suspended": ("stopped", "off"),
    "pending": ("pending", "wait"),
}
UNDOES = {
    "exact": "An undo brings back exactly what was.",
    "recreates": "An undo makes deleted objects anew; what they held is lost.",
    "none": "An undo cannot bring all of it back.",
}
HOWS = {
    "server": "the cluster's own dry run",
    "computed": "computed: there is nothing yet to try it on",
    "probed": "its pod was tried in its place",
}
# What a button says of a call that will not go ahead at once, by what would become of it.
FATES = {
    "ahead": "",
    "confirmed": Markup(" <small>· needs confirmation</small>"),
    "approved": Markup(" <small>· needs approval</small>"),
}
DOORS = {"web": "this page", "mcp": "MCP", "cli": "the command line", "rest": "REST",
         "slack": "Slack", "internal": "Pilothouse itself"}  # fmt: skip
QUOTAS = {
    "requests.cpu": "CPU requested, cores", "requests.memory": "memory requested",
    "limits.cpu": "CPU limit, cores", "limits.memory": "memory limit", "pods": "pods",
    "count/jobs.batch": "jobs", "services.loadbalancers": "load balancers",
}  # fmt: skip
CURRENCIES = {"USD": "$", "EUR": "€", "GBP": "£", "": "$"}


def when(moment: str | datetime | None) -> Markup:
    """In UTC, and for the page's script to put into the reader's zone."""
    if not moment:
        return Markup("")
    at = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    shown = at.strftime("%-d %b %Y %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), shown)


def money(amount: float | None, currency: str = "USD") -> str:
    return f"{CURRENCIES.get(currency, currency + ' ')}{abs(amount or 0):,.2f}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}".replace("%", " %")


def state(word: str) -> str:
    return STATES.get(word, (word.replace("_", " "), "off"))[0]


def tone(word: str) -> str:
    return STATES.get(word, ("", "off"))[1]


def shown(anything: Any) -> Any:
    """Whatever stands on a page: nothing in a text hides, or turns the order of what is beside."""
    bare = isinstance(anything, str) and not isinstance(anything, Markup)
    return visible(anything) if bare else anything


def value(anything: Any) -> str:
    """What stands in a field, on one line."""
    text = anything if isinstance(anything, str) else json.dumps(anything, ensure_ascii=False)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}…"


def cores(amount: float) -> str:
    if amount < 1:
        return f"{amount * 1000:.3g}m"
    return "1 core" if amount == 1 else f"{amount:.3g} cores"


def bytes_(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"


def seconds(amount: float) -> str:
    if amount < 1:
        return f"{amount * 1000:.0f} ms"
    if amount < 120:
        return f"{amount:.3g} s"
    if amount < 7200:
        return f"{amount / 60:.0f} min"
    return f"{amount / 3600:.1f} h" if amount < 2 * 86_400 else f"{amount / 86_400:.3g} days"


def amount(name: str, much: Any) -> str:
    """Of a quota, with its unit."""
    from tools.backends.kubernetes.quantities import number

    known = number(much)
    if known is None:
        return str(much)
    if name.endswith("cpu"):
        return f"{float(known):.3g}"
    return bytes_(float(known)) if name.endswith("memory") else f"{float(known):g}"


def share(used: Any, hard: Any) -> float:
    """Of a quota, in percent."""
    from tools.backends.kubernetes.quantities import number

    most, much = number(hard), number(used)
    return min(100.0, 100 * float(much / most)) if most and much else 0.0


def line(values: Sequence[float | None], top: float, width: float, height: float) -> str:
    """The path of a curve in a box of that size."""
    known = [(i, v) for i, v in enumerate(values) if v is not None]
    if len(known) < 2 or top <= 0:
        return ""
    step = width / (len(values) - 1)
    points = (f"{i * step:.1f} {height - height * min(v, top) / top:.1f}" for i, v in known)
    return "M" + "L".join(points)


def peak(values: Sequence[float | None], *levels: float | None) -> float:
    """What the top of a box is, for all of that to fit."""
    known = [v for v in (*values, *levels) if v is not None]
    return 1.08 * max(known, default=0.0)


FILTERS = {
    "when": when, "money": money, "percent": percent, "state": state, "tone": tone,
    "value": value, "cores": cores, "bytes": bytes_, "seconds": seconds,
}  # fmt: skip
GLOBALS = {"amount": amount, "share": share, "line": line, "peak": peak, "UNDOES": UNDOES,
           "HOWS": HOWS, "DOORS": DOORS, "FATES": FATES, "QUOTAS": QUOTAS}  # fmt: skip
