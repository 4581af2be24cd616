"""Pictures: what is in them, and that any series makes one."""

import io
import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from recommender.amounts import dates, said
from recommender.drawing import drawn
from recommender.model import Autoscaler, Container, Series, Subject, Suggestion, Workload
from recommender.pictures import Band, Level, picture, thinned

DAY, STEP = 86400.0, 300.0
START = 20_000 * DAY
NOISE = np.random.default_rng(3)


def week(level: float = 0.2, days: float = 7) -> Series:
    time = np.arange(round(days * DAY / STEP))
    season = 1 + 0.5 * np.sin(time * 2 * np.pi * STEP / DAY)
    return Series(START, STEP, level * season + NOISE.gamma(2, level / 20, len(time)))


USAGE = week()
BAND = Band(*(Series(USAGE.end, 3600.0, np.full(24, level)) for level in (0.1, 0.3)))
LEVELS = [
    Level("request", "Request now", 0.5),
    Level("proposed", "Suggested request", 0.26),
    Level("limit", "Limit now", 4.0),
]


def texts(svg: bytes) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_words_are_text_and_the_amounts_are_said_as_people_say_them() -> None:
    svg = picture("Resize <app> of a&b $x_1$", USAGE, "cores", LEVELS, BAND, subtitle="It idles.")
    words = texts(svg)
    assert "Resize <app> of a&b $x_1$" in words
    assert {"It idles.", "now", "millicores", "Used", "Expected"} <= set(words)
    assert "Request now: 500m" in words
    assert "Limit now: 4 cores (further up)" in words


def test_an_svg_refers_to_nothing_has_no_styles_and_is_small_and_the_same_each_time() -> None:
    long = Series(START, 30.0, NOISE.random(90 * 2880))
    svg = picture("Ninety days at every 30 s", long, "cores", LEVELS, BAND)
    assert len(svg) < 60_000
    assert picture("Ninety days at every 30 s", long, "cores", LEVELS, BAND) == svg
    text = svg.decode().replace('xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|href=\"[^#]|<style|style=|<script|<image|<!|<metadata", text)
    assert ET.fromstring(svg).get("viewBox") == "0 0 720 480"


def test_thinning_keeps_the_extremes() -> None:
    values = NOISE.random(10_001)
    values[[77, 9_000]] = 50.0, -50.0
    values[5000:6000] = np.nan
    when, low, mean, high = thinned(Series(START, STEP, values), 200)
    assert len(when) <= 200
    assert (np.nanmax(high), np.nanmin(low)) == (50.0, -50.0)
    assert np.isnan(mean).any()
    known = ~np.isnan(mean)
    assert ((low <= mean) & (mean <= high))[known].all()


def test_light_and_dark_are_png_too() -> None:
    from PIL import Image

    papers = set()
    for dark in (False, True):
        image = Image.open(io.BytesIO(picture("T", USAGE, "cores", format="png", dark=dark)))
        assert image.size == (1440, 960)
        papers.add(image.getpixel((2, 2)))
    assert len(papers) == 2


@pytest.mark.parametrize(
    "values",
    [[], [np.nan] * 9, [0.0] * 9, [1.0], [1e-12, 1e15], [5, 6, 7]],
    ids=["none", "unknown", "zero", "one", "wide", "whole"],
)
@pytest.mark.parametrize("unit", ["cores", "bytes", "replicas", "share", ""])
def test_any_series_makes_a_picture(values: list[float], unit: Any) -> None:
    series = Series(START, STEP, np.array(values))
    nothing = [Level("request", "\0\x1b[31m￿ \ud800", float("nan")), Level("limit", "L", 0.0)]
    ET.fromstring(picture("\0\x1b[31mred \ud800" + "long " * 99, series, unit, nothing))


def test_several_at_once_do_not_mix_up_their_settings() -> None:
    with ThreadPoolExecutor(4) as pool:
        same = pool.map(lambda dark: picture("T", USAGE, "cores", dark=dark), [True, False] * 4)
        assert len(set(same)) == 2


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.25, "cores", "250m"),
        (1.5, "cores", "1.5 cores"),
        (3 * 2**30, "bytes", "3 GiB"),
        (200 * 2**20, "bytes", "200 MiB"),
        (12.0, "requests/s", "12 requests/s"),
        (0.5, "share", "50%"),
        (7, "", "7"),
    ],
)
def test_amounts_are_said(value: float, unit: Any, words: str) -> None:
    assert said(value, unit) == words


@pytest.mark.parametrize("hours", [1, 5, 24, 72, 168, 24 * 15, 24 * 90, 24 * 900])
def test_dates_are_few_and_within(hours: float) -> None:
    ticks, labels = dates(START + 777, START + 777 + hours * 3600)
    assert 2 <= len(ticks) == len(labels) <= 9
    assert START + 777 <= ticks[0] <= ticks[-1] <= START + 777 + hours * 3600


API = Subject("default", "shop", "Deployment", "api")


def suggestion(**more: Any) -> Suggestion:
    values: dict[str, Any] = {"title": "Do it", "reason": "It helps.", "confidence": 0.9}
    return Suggestion(**({"strategy": "rightsize", "subject": API} | values | more))


def test_each_kind_of_suggestion_has_its_picture() -> None:
    app = Container("app", cpu=week(), memory=week(3e8), cpu_request=0.5, memory_limit=1e9)
    api = Workload(API, (app,), demand=week(3), wanted=9, disks={"data": (week(6e9), 1e10)})
    resize = suggestion(
        arguments={"cpu_request": "260m", "cpu_limit": "800m"},
        bound={"metric": "cpu", "at_most": 0.4},
    )
    assert {"Suggested request: 260m", "Request now: 500m", "At most, 90% sure: 400m"} <= set(
        texts(drawn(resize, api) or b"")
    )
    leak = suggestion(
        bound={"metric": "memory", "at_least": 1e9},
        evidence={"level": 5e8, "grows_per_hour": 1e7, "full_in_seconds": 180_000},
    )
    assert {"At this pace", "Limit now: 954 MiB", "GiB"} <= set(texts(drawn(leak, api) or b""))
    scale = suggestion(
        arguments={"replicas": 6},
        bound={"metric": "demand"},
        evidence={"one_replica_serves": 1.0, "target": 0.7},
    )
    words = {"Needed", "Replicas now: 9 replicas", "Suggested: 6 replicas", "Expected tomorrow"}
    assert words <= set(texts(drawn(scale, api) or b""))
    scaled = Workload(API, (app,), demand=week(3), autoscaler=Autoscaler("api", 2, 9))
    bounds = suggestion(
        arguments={"max_replicas": 12}, bound={"metric": "demand"}, evidence=scale.evidence
    )
    assert "Suggested maximum: 12 replicas" in texts(drawn(bounds, scaled) or b"")
    assert "Size: 9.31 GiB" in texts(drawn(suggestion(bound={"metric": "disk:data"}), api) or b"")
    assert drawn(resize, Workload(API)) is None
    assert drawn(scale, Workload(API)) is None
