"""A picture of what was used against what is asked for, and where a change would put it."""

import io
import re
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from recommender.amounts import Unit, dates, said, scale_of
from recommender.forecast import quietly
from recommender.model import Floats, Series
from recommender.vectors import as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 720, 480
# On a phone it is half as wide: no smaller than this.
TITLE, TEXT = 20, 15
DAY, HOUR = 86400.0, 3600.0
# One value for each so many pixels, with the least and the greatest in them.
THIN = 2
# A line so much higher than everything else is told of, not drawn: it would flatten the rest.
FAR = 2.5

LIGHT = {
    "paper": "#ffffff", "ink": "#1c2330", "faint": "#5b6475", "grid": "#e5e8ee",
    "usage": "#2563eb", "band": "#7c3aed", "request": "#b45309", "limit": "#b91c1c",
    "proposed": "#15803d",
}  # fmt: skip
DARK = {
    "paper": "#141821", "ink": "#eceff5", "faint": "#a3adbf", "grid": "#2a303d",
    "usage": "#60a5fa", "band": "#c4a5fd", "request": "#fbbf24", "limit": "#f87171",
    "proposed": "#4ade80",
}  # fmt: skip
Role = Literal["request", "limit", "proposed", "proposed_limit", "bound"]
# Told apart by their dashes too.
STYLES: dict[str, tuple[str, Any, float]] = {
    "request": ("request", (0, (6, 3)), 2.0),
    "limit": ("limit", (0, (1.5, 2)), 2.0),
    "proposed": ("proposed", "-", 2.6),
    "proposed_limit": ("proposed", (0, (1.5, 2)), 2.0),
    "bound": ("band", (0, (4, 2, 1, 2)), 1.6),
}

# Matplotlib's settings are everybody's.
_one_at_a_time = threading.Lock()


class Level(NamedTuple):
    """A line across the picture, as it is called in the legend: `Request now`."""

    role: Role
    label: str
    value: float


@dataclass(frozen=True)
class Band:
    """What is expected: between `low` and `high`, around `middle` where that is known."""

    low: Series
    high: Series
    middle: Series | None = None
    label: str = "Expected"


def picture(
    title: str,
    usage: Series,
    unit: Unit,
    levels: Sequence[Level] = (),
    band: Band | None = None,
    *,
    label: str = "Used",
    subtitle: str = "",
    format: Literal["svg", "png"] = "svg",
    dark: bool = False,
) -> bytes:
    """`usage` over time, with lines at some levels, and what is expected from where it ends. SVG
    has its text as text and refers to nothing outside; the same picture is always the same bytes.
    Both are 720 pixels wide (PNG: twice as many, for sharp screens). Takes a tenth of a second or
    two: not for the event loop."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "pilothouse",
        "svg.id": None,
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 11.0,
        "axes.unicode_minus": True,
        "path.simplify": True,
        "timezone": "UTC",
    }
    with _one_at_a_time, mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, facecolor=colours["paper"])
        FigureCanvasAgg(figure)
        levels = [one for one in levels if isfinite(one.value)]
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        scale, name = scale_of(unit, _top(usage, levels, band))
        legend = _draw(axes, usage, levels, band, label, scale, unit, colours)
        _dress(axes, usage, band, name, colours)
        _frame(figure, axes, _clean(title), _clean(subtitle), legend, colours)
        out = io.BytesIO()
        if format == "png":
            figure.savefig(out, format="png", dpi=144, metadata={"Software": None})
            return _few_colours(out)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return as_svg(out.getvalue().decode(), _clean(title))


def _few_colours(png: io.BytesIO) -> bytes:
    """A third of the bytes: a chat takes many of them."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(png) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            out, format="png", optimize=True
        )
    return out.getvalue()


def _top(usage: Series, levels: Sequence[Level], band: Band | None) -> float:
    """The highest that is drawn: a limit far above everything else is not."""
    used = [float(quietly(np.nanmax, s.values)) for s in (usage, band.high if band else None)
            if s is not None and np.isfinite(s.values).any()]  # fmt: skip
    near = [one.value for one in levels if "limit" not in one.role]
    top = max([*used, *near, 0.0])
    limits = [one.value for one in levels if "limit" in one.role]
    return max([top, *(value for value in limits if not top or value <= FAR * top)]) or 1.0


def _draw(
    axes: "Axes",
    usage: Series,
    levels: Sequence[Level],
    band: Band | None,
    label: str,
    scale: float,
    unit: Unit,
    colours: dict[str, str],
) -> list[tuple[Any, str]]:
    """Draws it all; what goes into the legend."""
    top = _top(usage, levels, band)
    end = max(usage.end, band.high.end if band else 0.0)
    share = (usage.end - usage.start) / max(end - usage.start, 1.0)
    when, low, mean, high = thinned(usage, max(20, int(WIDTH * share / THIN)))
    legend: list[tuple[Any, str]] = []
    axes.fill_between(
        _days(when), low / scale, high / scale, color=colours["usage"], alpha=0.28, linewidth=0
    )
    (line,) = axes.plot(_days(when), mean / scale, color=colours["usage"], linewidth=1.8)
    legend.append((line, textwrap.shorten(_clean(label), 32, placeholder="…")))
    if band:
        count = max(20, int(WIDTH * (1 - share) / THIN / 2))
        when, least, _, _ = thinned(band.low, count)
        _, _, _, most = thinned(band.high, count)
        area = axes.fill_between(
            _days(when), least / scale, most / scale, color=colours["band"], alpha=0.3, linewidth=0
        )
        if band.middle:
            when, _, middle, _ = thinned(band.middle, count)
            axes.plot(
                _days(when), middle / scale, color=colours["band"], linewidth=1.4, linestyle="--"
            )
        legend.append((area, textwrap.shorten(_clean(band.label), 32, placeholder="…")))
        axes.axvline(_day(usage.end), color=colours["faint"], linewidth=1.0, linestyle=":")
    for one in levels:
        colour, dashes, width = STYLES[one.role]
        style = {"color": colours[colour], "linestyle": dashes, "linewidth": width}
        told = (
            f"{textwrap.shorten(_clean(one.label), 24, placeholder='…')}: {said(one.value, unit)}"
        )
        if one.value > top * 1.001:
            (line,) = axes.plot([], [], **style)
            legend.append((line, f"{told} (further up)"))
            continue
        # What is proposed was not there in the past: it is only hinted at.
        new = one.role.startswith("proposed") and band is not None
        first = usage.end if new else usage.start
        if one.role == "bound" and band:
            first = usage.end
        if new:
            axes.plot([_day(usage.start), _day(first)], [one.value / scale] * 2,
                      **{**style, "linewidth": 1.0, "alpha": 0.6})  # fmt: skip
        (line,) = axes.plot([_day(first), _day(end)], [one.value / scale] * 2, **style)
        legend.append((line, told))
    axes.set_xlim(_day(usage.start), _day(max(end, usage.start + HOUR)))
    axes.set_ylim(0, top / scale * 1.06)
    return legend


def _dress(
    axes: "Axes", usage: Series, band: Band | None, name: str, colours: dict[str, str]
) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    end = max(usage.end, band.high.end if band else 0.0)
    ticks, labels = dates(usage.start, end)
    axes.xaxis.set_major_locator(FixedLocator([_day(tick) for tick in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.yaxis.set_major_locator(
        MaxNLocator(5, integer=name == "replicas", steps=[1, 2, 2.5, 5, 10])
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    axes.tick_params(colors=colours["faint"], length=0, labelsize=TEXT, pad=8)
    axes.grid(axis="y", color=colours["grid"], linewidth=1.0)
    axes.set_axisbelow(True)
    axes.set_facecolor(colours["paper"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colours["faint"])
    axes.text(
        0, 1.0, name, transform=axes.transAxes, color=colours["faint"], fontsize=TEXT,
        ha="left", va="bottom",
    )  # fmt: skip
    if band:
        axes.text(
            _day(usage.end), 1.0, "now", transform=axes.get_xaxis_transform(),
            color=colours["faint"], fontsize=TEXT, ha="center", va="bottom",
        )  # fmt: skip


def _frame(
    figure: Any,
    axes: "Axes",
    title: str,
    subtitle: str,
    legend: list[tuple[Any, str]],
    colours: dict[str, str],
) -> None:
    """The words around it, and what room they leave: nothing covers the data."""
    lines = textwrap.wrap(title, 52, max_lines=2, placeholder=" …") or [""]
    under = textwrap.wrap(subtitle, 76, max_lines=3, placeholder=" …")
    y = HEIGHT - 14.0
    for line in lines:
        figure.text(18 / WIDTH, y / HEIGHT, line, fontsize=TITLE, fontweight="bold",
                    color=colours["ink"], va="top")  # fmt: skip
        y -= 26
    for line in under:
        figure.text(18 / WIDTH, y / HEIGHT, line, fontsize=TEXT, color=colours["faint"], va="top")
        y -= 20
    rows = ceil(len(legend) / 2)
    bottom = 25.0 * rows + 46
    left, right = 66.0, 22.0
    axes.set_position((
        left / WIDTH,
        bottom / HEIGHT,
        (WIDTH - left - right) / WIDTH,
        (y - 30 - bottom) / HEIGHT,
    ))  # fmt: skip
    handles = [handle for handle, _ in legend]
    figure.legend(
        # Matplotlib fills columns first; people read rows.
        [*handles[::2], *handles[1::2]],
        [*(text for _, text in legend[::2]), *(text for _, text in legend[1::2])],
        loc="lower left", bbox_to_anchor=(10 / WIDTH, 2 / HEIGHT), ncols=2, frameon=False,
        fontsize=TEXT, labelcolor=colours["ink"], handlelength=2.2, columnspacing=2.5,
        labelspacing=0.4, borderaxespad=0.3,
    )  # fmt: skip


def thinned(series: Series, count: int) -> tuple[Floats, Floats, Floats, Floats]:
    """At most so many moments, with the least, the mean and the greatest around each."""
    size = max(1, ceil(len(series.values) / max(count, 1)))
    over = -len(series.values) % size
    values = np.pad(np.asarray(series.values, dtype=float), (0, over), constant_values=np.nan)
    bins = values.reshape(-1, size)
    when = series.start + series.step * size * (np.arange(len(bins)) + 0.5)
    when = np.minimum(when, series.end)
    low, mean, high = (quietly(f, bins, axis=1) for f in (np.nanmin, np.nanmean, np.nanmax))
    return when, low, mean, high


def _day(seconds: float) -> float:
    return seconds / DAY


def _days(seconds: Floats) -> Floats:
    return seconds / DAY


def _clean(text: str) -> str:
    """Without what XML does not take."""
    return re.sub(r"[^\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+", " ", text).strip()
