"""XPlane files cut to columns: every field as the protobuf library reads it, exact moments, exact unions."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.clock import ps_to_ns
from toolkit.ingest import xplane_file, xplane_lines
from toolkit.ingest.xplane_clock import place_ns
from toolkit.ingest.xplane_events import MOST_PS
from toolkit.ingest.xplane_file import LINES, PLANES, File
from toolkit.ingest.xplane_lines import LineFigures
from toolkit.ingest.xplane_schema import message_class, parse, tags_of
from toolkit.ingest.xplane_wire import PADDING, DamageError, Messages


@given(st.lists(st.integers(-MOST_PS, MOST_PS), max_size=20), st.integers(-(2**60), 2**62))
def test_placing_is_exact_half_to_even(ps: list[int], origin_ns: int) -> None:
    """A whole column is placed as each moment is, in exact integers of picoseconds since the epoch."""
    column = np.array(ps, np.int64)
    assert ps_to_ns(column).tolist() == [ps_to_ns(value) for value in ps]
    assert place_ns(origin_ns, column).tolist() == [ps_to_ns(origin_ns * 1000 + value) for value in ps]


SPANS = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 30)), min_size=1, max_size=12)


@pytest.mark.parametrize("loose", [0, 3, 1 << 16])
@given(batches=st.lists(SPANS, min_size=1, max_size=4))
def test_a_line_s_figures_are_those_of_all_its_batches(loose: int, batches: list[list[tuple[int, int]]]) -> None:
    """Busy equals counting the picoseconds that any span covers, in whatever order and batches the spans come."""
    figures = LineFigures()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xplane_lines, "LOOSE_STRETCHES", loose)
        for batch in batches:
            figures.add(*(np.array(column, np.int64) for column in zip(*batch, strict=True)))
    spans = [span for batch in batches for span in batch]
    covered = {moment for offset, duration in spans for moment in range(offset, offset + duration)}
    assert figures.figures(7) == {
        "sum_ps": sum(duration for _, duration in spans),
        "busy_ps": len(covered),
        "first_ps": 7 + min(offset for offset, _ in spans),
        "last_ps": 7 + max(offset + duration for offset, duration in spans),
    }


INT64 = st.integers(-(2**63), 2**63 - 1)
STATS = st.builds(message_class("XStat"), metadata_id=INT64, double_value=st.floats(allow_nan=False)) | st.builds(
    message_class("XStat"), metadata_id=INT64, uint64_value=st.integers(0, 2**64 - 1)
)
EVENTS = st.builds(
    message_class("XEvent"), metadata_id=INT64, offset_ps=INT64, duration_ps=INT64, stats=st.lists(STATS, max_size=3)
)


@given(st.lists(EVENTS, max_size=6))
def test_columns_cut_from_bytes_are_what_the_protobuf_library_reads(events: list[Any]) -> None:
    """Every field of every event and stat, over the whole range of each type."""
    parts = [event.SerializeToString() for event in events]
    ends = np.cumsum([0, *map(len, parts)])
    content = Messages(b"".join(parts) + PADDING)
    fields = tags_of("XEvent")
    found = [dict.fromkeys(("metadata_id", "offset_ps", "duration_ps"), 0) | {"stats": []} for _ in events]
    for cut in content.fields(ends[:-1], ends[1:]):
        for name, tag in fields.items():
            for row, value, end in zip(*cut.of(tag), strict=True):
                if name == "stats":
                    found[row]["stats"].append(message_class("XStat").FromString(content.bytes[end - int(value) : end]))
                else:
                    found[row][name] = value.view(np.int64)
    assert found == [{name: getattr(event, name) for name in found[0]} for event in events]


# A line's fields, each with its tag: events of many lengths, and fields of the line's own in whatever order.
EVENT_FIELDS = st.integers(0, 20_000).map(lambda size: message_class("XLine")(events=[bytes(size)]).SerializeToString())
OWN_FIELDS = st.builds(
    message_class("XLine"), id=INT64, name=st.text(max_size=200), timestamp_ns=INT64, duration_ps=INT64
).map(lambda line: line.SerializeToString())


@given(st.lists(EVENT_FIELDS | OWN_FIELDS, max_size=12), st.integers(1, 40_000))
def test_a_line_walked_by_its_frame_is_what_the_protobuf_library_reads(fields: list[bytes], window: int) -> None:
    """Whatever the order of fields, the length of events and the size of windows; and a cut off line is damage."""
    line = b"".join(fields)
    content = message_class("XPlane")(lines=[line]).SerializeToString()
    expected = message_class("XLine").FromString(line)
    with tempfile.TemporaryFile() as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(xplane_file, "WINDOW_BYTES", window)
        opened.write(message_class("XSpace")(planes=[content]).SerializeToString())
        opened.flush()
        file = File(opened.fileno())
        (plane,), _ = file.split(file.whole, PLANES)
        (span,), _ = file.split(plane, LINES)
        own, windows = file.line(span)
        lengths = [length for part in windows for length in _lengths(file, part)]
        assert lengths == [len(event) for event in expected.events]
        assert parse("XLine", own) == message_class("XLine")(
            **{name: getattr(expected, name) for name in ("id", "name", "timestamp_ns", "duration_ps")}
        )
        if fields and fields[-1]:
            with pytest.raises(DamageError):
                file.line(span._replace(end=span.end - 1))


def _lengths(file: File, window: xplane_file.Window) -> list[int]:
    events = file.events(window)
    lengths: list[int] = (events.ends - events.starts).tolist()
    return lengths


def test_a_line_read_from_a_file_that_shrinks_is_damage(tmp_path: Path) -> None:
    """Whoever cuts the file meanwhile gets an error, not half a line."""
    path = tmp_path / "vm.xplane.pb"
    path.write_bytes(message_class("XLine")(events=[b"abc"]).SerializeToString())
    with path.open("rb") as opened:
        file = File(opened.fileno())
        path.write_bytes(b"")
        with pytest.raises(DamageError, match="shorter"):
            file.line(file.whole)
