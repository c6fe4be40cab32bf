"""Colours of charts: anyone tells one from every other, and from the ground, whichever cones their eyes have."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.reports.html.charts import COLOURS, DARK, ON_SHADES, PARTS, SHADES

Colour = NDArray[np.float64]
GROUNDS = {"light": "#ffffff", "dark": "#12171d"}
PALETTES = {"light": [*DARK], "dark": [*DARK.values()]}
# Of CIELAB (1976): 2.3 can just be noticed side by side; this is seven times as much.
APART = 15
# In linear RGB, of severity 1: Machado, Oliveira and Fernandes (2009), table 1.
SIGHTS = {
    "all cones": np.eye(3),
    "no red cones": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "no green cones": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
}  # fmt: skip
# sRGB with its white, IEC 61966-2-1.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)


def linear(name: str) -> Colour:
    """Of `#RRGGBB`."""
    shares = np.array([int(name[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(colour: Colour) -> Colour:
    """CIELAB's L*, a*, b* of linear RGB."""
    shares = TO_XYZ @ colour.clip(0, 1) / WHITE
    x, y, z = np.where(shares > 216 / 24389, np.cbrt(shares), (24389 / 27 * shares + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(name)) for name in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", PALETTES)
def test_every_two_colours_can_be_told_apart(theme: str, sight: str) -> None:
    """In both themes, by people who see all colours and by those without red or green cones."""
    seen = {name: lab(SIGHTS[sight] @ linear(name)) for name in PALETTES[theme]}
    near = [
        (one, other)
        for one, other in combinations(seen, 2)
        if np.linalg.norm(seen[one] - seen[other]) < APART
    ]  # fmt: skip
    assert near == []


@pytest.mark.parametrize("theme", PALETTES)
def test_every_colour_stands_out_from_the_ground(theme: str) -> None:
    """By the 3 to 1 that WCAG asks of what a picture is made of; what is written on a shade by the 4.5 of text."""
    assert min(contrast(name, GROUNDS[theme]) for name in [*PALETTES[theme], *SHADES]) >= 3
    assert min(contrast(shade, ON_SHADES) for shade in SHADES) >= 4.5


def test_every_colour_has_its_other_in_the_dark() -> None:
    """Of lines and of parts; no colour of one theme is looked for in the other."""
    assert {*COLOURS, *PARTS.values()} == {*DARK}
    assert not {*DARK} & {*DARK.values()}
