"""How much to ask for: the request whose expected loss over the next day is the least.

CPU: what is asked for and not used (slack) is weighed against the time spent above it. Tomorrow is
like one of the last days, the later the likelier, moved by the drift of the last hours and blurred
by how much this workload moves from day to day. Memory is lost by its peak alone, so it is the
fading maximum and a margin from the workload's own spread. What is in force is kept unless moving
is worth it, and a move inside the dead band is not considered.
"""

from dataclasses import dataclass

import numpy as np

from recommender.forecast import anchor, drift, known_days, mean, quantile, recency, spread
from recommender.model import Floats

GRID = np.arange(-5.0, 0.8, 0.02)
SHIFTS = np.arange(-50, 51) * 0.02
# The grid with as much of its ends again on either side as a shift may reach.
PADDED = np.clip(np.arange(len(GRID) + len(SHIFTS) - 1) - len(SHIFTS) // 2, 0, len(GRID) - 1)


@dataclass(frozen=True)
class CpuCosts:
    """In units of a day's mean slack: `under` is the price of a day spent above the request,
    `unserved` of a day's usage that went unserved. A move must gain `move`, a lower one `lower`
    more. Of a drift `lasts` is expected to be there tomorrow, of a falling one `lasts_down`."""

    under: float = 2.4
    unserved: float = 1.0
    move: float = 0.06
    lower: float = 0.02
    half_life: float = 3.0
    lasts: float = 0.5
    lasts_down: float = 0.25


@dataclass(frozen=True)
class MemoryMargins:
    """Shares above the fading peak: always, per spread from day to day, per jump from step to step
    (a workload that jumps inside the day is likelier to jump higher than ever; from `most_jumps` on
    its peaks are far up already), and for each day that the past is short of `week`. What
    Pilothouse set is only lowered to less than `lower` of it: a kill costs more than a margin."""

    always: float = 0.025
    spread: float = 0.1
    jumps: float = 0.75
    most_jumps: float = 0.1
    young: float = 0.009
    week: int = 7
    fading: float = 0.03
    lasts: float = 0.2
    most: float = 0.3
    lower: float = 0.5


def cpu_request(
    past: Floats,
    step: float,
    current: float = float("nan"),
    *,
    caution: float = 1.0,
    dead_band: float = 0.1,
    costs: CpuCosts | None = None,
) -> float:
    """Cores for the next day. `current` is what is asked for now (NaN: nothing), and is the answer
    where a change is not worth it; NaN where less than half a day is known. `caution` raises the
    price of being short."""
    costs = costs or CpuCosts()
    days = known_days(past, step)
    peak = float(np.nanmax(days)) if days.size else float("nan")
    if not peak > 0:
        return peak
    grid = peak * np.exp(GRID)
    loss = _expected(days, step, grid, caution, costs)
    if not np.isfinite(current) or current <= 0:
        return float(grid[np.argmin(loss)])
    stay = float(np.interp(current, grid, loss))
    if current > grid[-1]:
        stay = max(stay, 1 - (1 - float(loss[-1])) * grid[-1] / current)
    away = np.abs(grid / current - 1) > dead_band + 0.0005
    moved = np.where(away, loss + np.where(grid < current, costs.lower, 0.0), np.inf)
    best = int(np.argmin(moved))
    return float(grid[best]) if stay - moved[best] > costs.move else float(current)


def _expected(days: Floats, step: float, grid: Floats, caution: float, costs: CpuCosts) -> Floats:
    """The expected loss of each request in `grid` (evenly spaced in log)."""
    losses = _losses(days, grid, caution, costs)
    weights = recency(len(days), costs.half_life) * np.isfinite(days).mean(axis=1)
    levels = mean(np.log(np.maximum(days, grid[0])))
    blur = max(0.35 * spread(levels, 0.03, 2), 0.004)
    moved = drift(days, step)
    centre = (costs.lasts if moved > 0 else costs.lasts_down) * moved
    kernel = np.exp(-(((SHIFTS - centre) / blur) ** 2) / 2)
    padded = (weights @ losses / weights.sum())[PADDED]
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _losses(days: Floats, grid: Floats, caution: float, costs: CpuCosts) -> Floats:
    """What each request would have lost on each day, `[day, request]`."""
    used = np.sort(days, axis=1)  # NaN comes last
    known = np.isfinite(used)
    count = known.sum(axis=1, keepdims=True)
    sums = np.zeros((used.shape[0], used.shape[1] + 1))
    np.cumsum(np.where(known, used, 0.0), axis=1, out=sums[:, 1:])
    within = np.array([row.searchsorted(grid, side="right") for row in used])
    served = np.take_along_axis(sums, within, axis=1) + grid * (count - within)
    slack = 1 - served / count / grid
    under = 1 - within / count
    unserved = 1 - served / np.maximum(sums[:, -1:], 1e-300)
    return np.asarray(slack + caution * (costs.under * under + costs.unserved * unserved))


def _moves(days: Floats) -> Floats:
    return np.asarray(np.abs(np.diff(np.log(days), axis=1)))


def memory_request(
    past: Floats,
    step: float,
    current: float = float("nan"),
    *,
    caution: float = 1.0,
    dead_band: float = 0.1,
    ours: bool = True,
    margins: MemoryMargins | None = None,
) -> float:
    """Bytes for the next day, as `cpu_request`. `ours`: what is in force was set by Pilothouse, so
    it has its margins in it, and is lowered only where much less is needed."""
    margins = margins or MemoryMargins()
    days = known_days(past, step)
    peak = float(np.nanmax(days)) if days.size else float("nan")
    if not peak > 0:
        return peak
    days = np.maximum(days, 1e-3 * peak)
    peaks = np.log(np.nanmax(days, axis=1))
    inside = quantile(quantile(_moves(days), 0.99), 0.5)
    jumps = min(float(np.nan_to_num(inside)), margins.most_jumps)
    margin = caution * (
        margins.always
        + margins.spread * spread(peaks, 0.03, 4)
        + margins.jumps * jumps
        + margins.young * max(0, margins.week - len(days))
    )
    margin = min(margin, margins.most * max(1.0, caution))
    margin += margins.lasts * max(drift(days, step), 0.0)
    target = float(np.exp(anchor(peaks, margins.fading) + margin))
    if not np.isfinite(current) or current <= 0:
        return target
    if target > 1.02 * current:
        return max(target, current * (1 + dead_band + 0.0005))
    lowest = margins.lower if ours else 1 - dead_band
    return target if target < lowest * current else current
