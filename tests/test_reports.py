"""What the terminal reports are made of."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from toolkit.reports.tables import Cropped, Sparkline, bar, percent, share, short_frame, shown


def drawn(renderable: object, width: int) -> str:
    """The one line that it draws at this width."""
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(renderable)
    return str(console.file.getvalue()).rstrip("\n")  # type: ignore[attr-defined] # it is the StringIO of above


def test_a_share_of_nothing_is_unknown() -> None:
    """Neither 0 % nor a division by zero."""
    assert share(0, 0) is None
    assert (percent(None), bar(None).plain) == ("–", "–")
    assert bar(share(1, 4)).plain == "██········  25.0%"


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        ([0, 8, 4, 0], " ██▄"),
        ([5, 5, 5, 5], "████"),
        ([0, 0, 0, 0], "    "),
        ([-8, 0, -4, -8], " ██▄"),
        ([1000, 1, 1000, 1], "████"),
    ],
)
def test_a_sparkline_shows_the_highest_of_each_stretch(levels: list[int], line: str) -> None:
    """Also the level with which a stretch begins; 0 is empty, and little is not nothing."""
    moments = [0, 10, 20, 30]
    assert len(line) == 4
    text = "".join(Sparkline(moments, levels)._line(4))
    assert text == line


@given(
    st.lists(st.tuples(st.integers(0, 10**18), st.integers(-(2**62), 2**62)), min_size=1, max_size=30),
    st.integers(12, 200),
)
def test_a_sparkline_is_never_wider_than_it_may_be(points: list[tuple[int, int]], width: int) -> None:
    """Any levels at any moments."""
    moments, levels = zip(*sorted(points), strict=True)
    start = moments[0]
    line = drawn(Sparkline([moment - start for moment in moments], levels), width)
    assert len(line) <= min(width, 60)


@pytest.mark.parametrize(
    ("width", "line"), [(30, "abcdefghijklmnopqrstuvwxyz"), (26, "abcdefghijklmnopqrstuvwxyz"), (13, "abcdefgh…wxyz")]
)
def test_a_long_name_loses_its_middle(width: int, line: str) -> None:
    """Only where there is no room for it."""
    assert drawn(Cropped("abcdefghijklmnopqrstuvwxyz"), width) == line


def test_names_of_a_trace_are_data() -> None:
    """Neither markup nor control characters do anything."""
    assert shown("[bold]x\x1b[2J\n") == "\\[bold]x\\x1b[2J\\n"
    assert drawn(Cropped("[bold]x\x1b"), 20) == "[bold]x\\x1b"


@pytest.mark.parametrize(
    ("frame", "short"),
    [
        ("f (/a/b/c/d.py:3)", "f (c/d.py:3)"),
        ("f (D:\\x\\y\\z.py:3)", "f (y\\z.py:3)"),
        ("f (<string>:1)", "f (<string>:1)"),
        ("aten::mm", "aten::mm"),
    ],
)
def test_frames_keep_the_end_of_their_path(frame: str, short: str) -> None:
    """The last folder and the file tell where to look."""
    assert short_frame(frame) == short
