"""How many replicas to run: the number whose expected loss is the least when it will be ready.

The demand's level is a fading mean of the last minutes. How far the demand is from it by the time
that a replica has started is known from the last days, in units of what the demand varies by, so
the chance that `n` replicas are too few is known too. One that is kept without need costs 1 a step;
the number stays as it is until changing it gains more than `move`.
"""

from dataclasses import dataclass

import numpy as np

from recommender.forecast import DAY, quietly
from recommender.model import Floats
from recommender.simulation import Service, served

MOST = 1000
# Of a normal demand, until there is a past.
UNKNOWN = np.array([-1.3, -0.8, -0.4, 0.0, 0.4, 0.8, 1.3, 2.0, 3.0])


@dataclass(frozen=True)
class ReplicaCosts:
    """In replica-steps: `under` for a step above the target, `saturated` for one with nothing left.
    `level` and `varies` are half-lives in seconds."""

    under: float = 26.0
    saturated: float = 16.0
    move: float = 0.3
    level: float = 480.0
    varies: float = 1200.0
    history: int = 7


def fading(values: Floats, half_life: float, step: float) -> Floats:
    """The exponentially fading mean at each step of what was seen until then; gaps keep it."""
    share = 1 - 0.5 ** (step / half_life)
    level = np.nan
    found = np.empty(len(values))
    for i, value in enumerate(values.tolist()):
        if value == value:
            level = level + share * (value - level) if level == level else value
        found[i] = level
    return np.nan_to_num(found)


@dataclass(frozen=True)
class Level:
    """The demand's level as it will be `ahead` steps later, and what it varies by, at each step."""

    mean: Floats
    deviation: Floats


def level_of(demand: Floats, step: float, ahead: int, costs: ReplicaCosts) -> Level:
    """The last minutes' mean, moved as the season moves it. Half of the variance is what was seen
    lately, half what such a level usually has."""
    day = max(1, round(DAY / step))
    mean = fading(demand, costs.level, step)
    long = fading(demand, costs.varies, step)
    seen = np.maximum(fading(np.nan_to_num(demand) ** 2, costs.varies, step) - long**2, 0)
    usual = seen.copy()
    least = 1e-3 * np.maximum.accumulate(np.maximum(mean, 1e-9))
    turned = mean.copy()
    for start in range(day, len(demand), day):
        past = slice(max(0, start - costs.history * day), start)
        today = slice(start, start + day)
        usual[today] = mean[today] * seen[past].mean() / max(mean[past].mean(), 1e-300)
        turn = _turn(demand[past], day, ahead, step, costs)
        turned[today] *= turn[: len(mean[today])]
    return Level(turned, np.sqrt(0.5 * seen + 0.5 * usual) + least)


def _turn(past: Floats, day: int, ahead: int, step: float, costs: ReplicaCosts) -> Floats:
    """By what factor the mean day's demand is above what a fading mean of it shows, by step."""
    days = past[len(past) % day :].reshape(-1, day)
    mean = np.nan_to_num(quietly(np.nanmean, days, axis=0))
    reach = round(1800 / step)
    smooth = np.convolve(np.pad(mean, reach, mode="wrap"), np.ones(2 * reach + 1), mode="valid")
    smooth = smooth / (2 * reach + 1) + 0.05 * max(mean.mean(), 1e-300)
    shown = fading(np.concatenate([smooth, smooth]), costs.level, step)[day:]
    return np.asarray(np.roll(smooth, -ahead) / shown)


def surprises(demand: Floats, level: Level, ahead: int) -> Floats:
    """By how many deviations the demand came out above its level of `ahead` steps before; NaN
    where that is not known."""
    found = np.full(len(demand), np.nan)
    before = (level.mean[:-ahead], level.deviation[:-ahead])
    found[ahead:] = (demand[ahead:] - before[0]) / before[1]
    return found


def least_loss(
    mean: Floats,
    deviation: Floats,
    past: Floats,
    service: Service,
    costs: ReplicaCosts,
    caution: float = 1.0,
) -> Floats:
    """The expected loss of running 1, 2, … replicas, (steps, counts). `past`: surprises, sorted."""
    one = service.capacity * service.target
    top = float(np.max(mean + max(float(past[-1]), 3.0) * deviation, initial=one))
    counts = np.arange(1, min(MOST, int(np.ceil(top / one)) + 1) + 1, dtype=np.float64)

    def above(limit: Floats) -> Floats:
        reach = (limit[None, :] - mean[:, None]) / deviation[:, None]
        return np.asarray(1.0 - np.searchsorted(past, reach, side="right") / (len(past) + 1))

    return np.asarray(
        counts
        + caution * costs.under * above(counts * one)
        + caution * costs.saturated * above(counts * service.capacity)
    )


def follow(
    demand: Floats, service: Service, *, caution: float = 1.0, costs: ReplicaCosts | None = None
) -> Floats:
    """The replicas ready at each step, each decided from what came before it."""
    costs = costs or ReplicaCosts()
    ahead = max(1, round(service.start / service.step))
    if len(demand) <= ahead:
        return np.ones(len(demand))
    level = level_of(demand, service.step, ahead, costs)
    surprised = surprises(demand, level, ahead)
    day = max(1, round(DAY / service.step))
    wanted = np.ones(len(demand))
    replicas = 1
    for start in range(0, len(demand), day):
        past = surprised[max(0, start - costs.history * day) : start]
        past = np.sort(past[np.isfinite(past)])
        past = past if len(past) >= 60 else UNKNOWN
        today = slice(start, min(start + day, len(demand)))
        loss = least_loss(level.mean[today], level.deviation[today], past, service, costs, caution)
        best = loss.argmin(axis=1)
        for i, (row, choice) in enumerate(zip(loss, best.tolist(), strict=True)):
            at = min(replicas, loss.shape[1]) - 1
            extra = max(0, replicas - loss.shape[1])
            if row[at] + extra - row[choice] > costs.move:
                replicas = choice + 1
            wanted[start + i] = replicas
    return served(wanted, service)
