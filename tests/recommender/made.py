"""Made usage of every kind that real usage comes in: always the same for the same seed."""

import numpy as np

from recommender.model import Autoscaler, Container, Series, Subject, Workload

STEP = 300.0
DAY = 86400.0
PER_DAY = int(DAY / STEP)
NOW = 20_000 * DAY
MIB = 2.0**20


def noise(days, seed=0):
    return np.random.default_rng(seed).normal(size=int(days * PER_DAY))


def time(days):
    return np.arange(int(days * PER_DAY)) / PER_DAY


def seasonal(days=7, base=1.0, seed=0):
    return base * (1 + 0.5 * np.sin(2 * np.pi * time(days)) + 0.05 * noise(days, seed))


def growing(days=7, base=1.0, a_day=0.05, seed=0):
    return base * (1 + a_day * time(days) + 0.01 * noise(days, seed))


def leaking(days=3, base=200 * MIB, a_day=100 * MIB, seed=0):
    return base + a_day * time(days) + 0.5 * MIB * noise(days, seed)


def spiky(days=7, base=1.0, seed=0):
    values = base * (1 + 0.05 * noise(days, seed))
    at = np.random.default_rng(seed).choice(len(values), max(1, int(days)), replace=False)
    values[at] *= 4
    return values


def constant(days=7, base=1.0):
    return np.full(int(days * PER_DAY), base)


def gappy(days=7, base=1.0, seed=0):
    values = seasonal(days, base, seed)
    values[np.random.default_rng(seed).random(len(values)) < 0.4] = np.nan
    values[2 * PER_DAY : 3 * PER_DAY] = np.nan
    return values


KINDS = {
    "seasonal": seasonal,
    "growing": growing,
    "spiky": spiky,
    "constant": constant,
    "gappy": gappy,
}


def series(values, now=NOW, step=STEP):
    values = np.asarray(values, float)
    return Series(now - step * len(values), step, values)


def container(cpu=None, memory=None, name="web", **more):
    return Container(
        name,
        cpu=None if cpu is None else series(cpu),
        memory=None if memory is None else series(memory),
        **more,
    )


def workload(*containers, kind="Deployment", name="shop", wanted=2, **more):
    return Workload(Subject("here", "team-a", kind, name), containers, wanted=wanted, **more)


def autoscaler(low=2, high=4, resources=("cpu",), target=0.7):
    return Autoscaler("shop-hpa", low, high, frozenset(resources), target)
