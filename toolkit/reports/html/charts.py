"""Figures of Plotly's, as plain data that its script draws. Text of traces is data there, too: it opens no tag."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from toolkit.errors import printable

# By the hues of Okabe and Ito (2008). Each stands out by 3 to 1 from its ground, white or dark, and from every other by
# 15 of CIELAB's units, also where red or green cones are missing; tests hold them to both.
BLUE, ORANGE, GREEN, PINK = "#066CB1", "#C57F00", "#1DA378", "#BB5999"
SKY, RED, OLIVE, VIOLET, OTHER = "#2A97D1", "#B84400", "#98883B", "#5B3383", "#6C6C6C"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED, OTHER)
# The same on a dark ground.
DARK = {
    BLUE: "#218FE6",
    ORANGE: "#E9A306",
    GREEN: "#00996E",
    PINK: "#D788C3",
    SKY: "#88CBF0",
    RED: "#E3661F",
    OLIVE: "#EEE542",
    VIOLET: "#8C6CB7",
    OTHER: "#A0A0A0",
}
# One colour a part wherever it is drawn.
PARTS = {
    "compute": BLUE,
    "data_wait": ORANGE,
    "validation": GREEN,
    "profiler": PINK,
    "host_to_device": SKY,
    "compile": RED,
    "callbacks": OLIVE,
    "checkpoint": VIOLET,
    "other": OTHER,
}
# Two that tell neighbouring spans apart, and what can be read on both of them.
SHADES, ON_SHADES = ("#748190", "#8A96A3"), "#000000"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# Patterns tell neighbours apart in print without colour.
PATTERNS = {
    "data_wait": "/",
    "validation": ".",
    "profiler": "x",
    "host_to_device": "\\",
    "compile": "+",
    "callbacks": "-",
}
LONGEST_LABEL = 48

Trace = dict[str, Any]


def label(text: str) -> str:
    """A name for Plotly, which takes some HTML in labels: as data, and not too long."""
    name = printable(text)
    cut = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 17]}…{name[-16:]}"
    return escape(cut, quote=False)


def colour(name: str, place: int) -> str:
    """A part's own, else by its place."""
    return PARTS.get(name) or COLOURS[place % len(COLOURS)]


def stacked(rows: Sequence[str], parts: Mapping[str, Sequence[float | None]], *, unit: str) -> list[Trace]:
    """Horizontal bars, one a row, of parts on top of each other."""
    return [
        {
            "type": "bar", "orientation": "h", "name": label(name.replace("_", " ")), "y": [label(row) for row in rows],
            "x": list(values), "hovertemplate": f"%{{y}}<br>%{{fullData.name}}: %{{x:,.2f}} {unit}<extra></extra>",
            "marker": {"color": colour(name, place), "pattern": {
                "shape": PATTERNS.get(name, ""), "size": 6, "solidity": 0.2, "fillmode": "overlay",
                "fgcolor": "rgba(255,255,255,0.7)",
            }},
        }
        for place, (name, values) in enumerate(parts.items())
    ]  # fmt: skip


def bars(names: Sequence[str], values: Sequence[float | None], *, unit: str, name: str) -> Trace:
    """Horizontal bars, one a name."""
    return {
        "type": "bar", "orientation": "h", "name": label(name), "y": list(range(len(names))), "x": list(values),
        "text": [label(each) for each in names], "textposition": "none", "marker": {"color": COLOURS[0]},
        "hovertemplate": f"%{{text}}<br>%{{x:,.2f}} {unit}<extra></extra>",
    }  # fmt: skip


def named_axis(names: Sequence[str]) -> dict[str, Any]:
    """The y axis of `bars`: two long names may be cut to the same, so that their place tells them apart."""
    return {"tickvals": list(range(len(names))), "ticktext": [label(each) for each in names], "autorange": "reversed"}


def line(  # noqa: PLR0913 - what a line may be
    name: str,
    xs: Sequence[float],
    ys: Sequence[float | None],
    *,
    unit: str,
    place: int = 0,
    dash: int = 0,
    stepped: bool = False,
    axis: str = "y",
) -> Trace:
    """A line over x, its colour by `place`; `stepped` holds each level until the next."""
    return {
        "type": "scatter", "mode": "lines", "name": label(name), "x": list(xs), "y": list(ys), "yaxis": axis,
        "line": {"color": COLOURS[place % len(COLOURS)], "dash": DASHES[dash % len(DASHES)], "width": 1.6,
                 "shape": "hv" if stepped else "linear"},
        "hovertemplate": f"%{{y:,.2f}} {unit}",
    }  # fmt: skip


def ratios(names: Sequence[str], intervals: Sequence[tuple[float, float | None, float | None]]) -> Trace:
    """Points with the ends of their intervals, one a name; an unknown interval is a hollow point without ends."""
    above = [0 if high is None else high - estimate for estimate, _, high in intervals]
    below = [0 if low is None else estimate - low for estimate, low, _ in intervals]
    return {
        "type": "scatter", "mode": "markers", "name": "ratio", "y": list(range(len(names))),
        "x": [estimate for estimate, *_ in intervals], "text": [label(name) for name in names],
        "error_x": {"type": "data", "symmetric": False, "array": above, "arrayminus": below},
        "marker": {
            "size": 9, "color": COLOURS[0],
            "symbol": ["circle-open" if low is None else "circle" for _, low, _ in intervals],
        },
        "hovertemplate": "%{text}: ×%{x:.3f}<extra></extra>",
    }  # fmt: skip


def band(name: str, points: Sequence[tuple[int | None, float, float | None, float | None]], place: int) -> list[Trace]:
    """A line through (x, estimate, low, high) and the band between the ends, which go and come together."""
    colour_of = COLOURS[place % len(COLOURS)]
    xs = [x for x, *_ in points]
    edge = {
        "type": "scatter", "mode": "lines", "x": xs, "line": {"width": 0, "color": colour_of}, "hoverinfo": "skip",
        "showlegend": False, "legendgroup": label(name),
    }  # fmt: skip
    own = line(
        name, [float(x or 0) for x in xs], [estimate for _, estimate, *_ in points], unit="", place=place, dash=place
    )
    return [
        edge | {"y": [low if low is not None else estimate for _, estimate, low, _ in points]},
        edge | {"y": [high if high is not None else estimate for _, estimate, _, high in points],
                "fill": "tonexty", "fillcolor": f"{colour_of}2E"},
        own | {"mode": "lines+markers", "legendgroup": label(name), "marker": {"size": 8, "symbol": place % 8}},
    ]  # fmt: skip


def batch_axis(batches: Sequence[int]) -> dict[str, Any]:
    """An x axis of batch sizes, each of which stands on it."""
    # Ticks that nobody sees keep the labels clear of crosses on the axis.
    clear = {"ticks": "outside", "ticklen": 9, "tickcolor": "rgba(0,0,0,0)"}
    named = {"tickvals": [*batches], "ticktext": [*map(str, batches)]}
    return {"title": {"text": "batch"}, "type": "log", **named, **clear}


def ended(points: Sequence[tuple[int, str, str]]) -> list[Trace]:
    """Crosses on the axis, by how a point (x, how, of what) ended."""
    return [
        {
            "type": "scatter", "mode": "markers", "name": how, "x": [x for x, each, _ in points if each == how],
            "y": [0 for _, each, _ in points if each == how], "cliponaxis": False,
            "text": [label(of) for _, each, of in points if each == how],
            "marker": {"symbol": "x", "size": 12, "color": RED},
            "hovertemplate": f"%{{text}}, batch %{{x}}: {label(how)}<extra></extra>",
        }
        for how in dict.fromkeys(how for _, how, _ in points)
    ]  # fmt: skip


def seconds(moments_ns: Iterable[int], since_ns: int) -> list[float]:
    """Seconds since a moment."""
    return [(at - since_ns) / 1e9 for at in moments_ns]
