"""Amounts and dates, as people say them."""

from datetime import UTC, datetime
from math import ceil, log2
from typing import Literal

Unit = Literal["cores", "bytes", "requests/s", "replicas", "share", ""]

DAY, HOUR = 86400.0, 3600.0


def said(value: float, unit: Unit) -> str:
    """An amount, as people say it."""
    if unit == "cores":
        if value < 1:
            return f"{value * 1000:.3g}m"
        return f"{value:.3g} core{'' if f'{value:.3g}' == '1' else 's'}"
    if unit == "share":
        return f"{value:.0%}"
    if unit == "bytes":
        factor, name = scale_of(unit, value)
        return f"{value / factor:.3g} {name}"
    return f"{value:.3g} {unit}".rstrip()


def scale_of(unit: Unit, top: float) -> tuple[float, str]:
    """What amounts up to `top` are divided by, and what they are called then."""
    if unit == "bytes":
        power = min(4, int(log2(max(top, 1)) // 10))
        return 1024.0**power, ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    if unit == "cores" and top < 1:
        return 1e-3, "millicores"
    return (0.01, "%") if unit == "share" else (1.0, unit)


def dates(start: float, end: float) -> tuple[list[float], list[str]]:
    """A few even moments, and how they are called."""
    span = end - start
    steps = [n * HOUR for n in (0.25, 1, 2, 3, 6, 12, 24, 48, 168, 336, 672)]
    step = next((step for step in steps if span / step <= 8.5), span / 6)
    ticks = [n * step for n in range(ceil(start / step), ceil(end / step))]
    shape = "%H:%M" if step < DAY else "%a %-d" if span < 10 * DAY else "%-d %b"
    labels: list[str] = []
    for tick in ticks:
        moment = datetime.fromtimestamp(tick, UTC)
        new = (
            not labels
            or (step < DAY and moment.hour == 0)
            or (step >= DAY and moment.day <= step / DAY)
        )
        labels.append(moment.strftime("%-d %b" if new else shape))
    return ticks, labels
