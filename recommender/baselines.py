"""What people would pick instead, written from the published formulas: KRR, VPA and the HPA."""

from collections import deque

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from recommender.forecast import DAY, day_peaks, quietly
from recommender.model import Floats
from recommender.simulation import Service, needed, served

MIB = 2.0**20


def krr_cpu(past: Floats, step: float, current: Floats | None = None) -> Floats:
    """KRR simple: the 95th percentile, at least 10 millicores. `past` is (series, samples)."""
    return np.maximum(quietly(np.nanquantile, past, 0.95, axis=1), 0.01)


def krr_memory(past: Floats, step: float, current: Floats | None = None) -> Floats:
    """KRR simple: the maximum and 15 %, at least 100 MiB."""
    return np.maximum(1.15 * quietly(np.nanmax, past, axis=1), 100 * MIB)


def vpa_cpu(past: Floats, step: float, current: Floats | None = None) -> Floats:
    """VPA's target: a decayed histogram's 90th percentile and 15 %, at least 25 millicores."""
    age = step * np.arange(-past.shape[1], 0, dtype=np.float64)
    return _vpa(past, np.exp2(age / DAY), first=0.01, floor=0.025)


def vpa_memory(past: Floats, step: float, current: Floats | None = None) -> Floats:
    """VPA's target on each day's peak, at least 250 MiB."""
    peaks = day_peaks(past, step)
    return _vpa(
        peaks, np.exp2(np.arange(peaks.shape[1], dtype=np.float64)), first=1e7, floor=250 * MIB
    )


def hpa(demand: Floats, service: Service) -> Floats:
    """The replicas that an HPA keeps ready: tolerance 0.1, 5 minutes of stabilisation."""
    window = deque[int](maxlen=1 + round(300 / service.step))
    wanted = np.empty(len(demand))
    replicas = 1
    for i, used in enumerate(demand.tolist()):
        ratio = used / (replicas * service.capacity * service.target)
        within = not abs(ratio - 1) > 0.1
        window.append(replicas if within else max(1, int(np.ceil(ratio * replicas - 1e-9))))
        replicas = max(window[-1], min(replicas, max(window)))
        wanted[i] = replicas
    return served(wanted, service)


def hpa_with_schedule(demand: Floats, service: Service) -> Floats:
    """The HPA, and never below the 80th percentile of the last 7 days within 15 minutes of now."""
    per_day = round(DAY / service.step)
    reach = round(900 / service.step)
    around = sliding_window_view(np.pad(demand, reach, mode="edge"), 2 * reach + 1).max(axis=1)
    least = np.ones(len(demand))
    for day in range(per_day, len(demand), per_day):
        past = around[max(0, day - 7 * per_day) : day].reshape(-1, per_day)
        least[day : day + per_day] = needed(np.quantile(past, 0.8, axis=0), service)[
            : len(demand) - day
        ]
    return np.maximum(hpa(demand, service), least)


def _vpa(values: Floats, weights: Floats, first: float, floor: float) -> Floats:
    """Buckets start at first · (1.05ⁿ - 1) / 0.05; a quantile is answered as its bucket's end."""
    ends = first * (1.05 ** np.arange(1, 400) - 1) / 0.05
    found = np.full(len(values), np.nan)
    for i, row in enumerate(values):
        known = np.isfinite(row)
        if known.any():
            buckets = np.searchsorted(ends, row[known], side="right")
            sums = np.cumsum(np.bincount(buckets, weights[known]))
            found[i] = ends[np.searchsorted(sums, 0.9 * sums[-1] * (1 - 1e-12))]
    return np.maximum(found * 1.15, floor)
