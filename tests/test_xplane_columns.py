"""XPlane events cut from their bytes: exact columns, exact moments, exact unions."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.clock import ps_to_ns
from toolkit.ingest.xplane_clock import place_ns
from toolkit.ingest.xplane_events import MOST_PS
from toolkit.ingest.xplane_intake import span_figures
from toolkit.ingest.xplane_schema import message_class, tags_of
from toolkit.ingest.xplane_wire import Messages


@given(st.lists(st.integers(-MOST_PS, MOST_PS), max_size=20), st.integers(-(2**60), 2**62))
def test_placing_is_exact_half_to_even(ps: list[int], origin_ns: int) -> None:
    """A whole column is placed as each moment is, in exact integers of picoseconds since the epoch."""
    column = np.array(ps, np.int64)
    assert ps_to_ns(column).tolist() == [ps_to_ns(value) for value in ps]
    assert place_ns(origin_ns, column).tolist() == [ps_to_ns(origin_ns * 1000 + value) for value in ps]


SPANS = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 30)), min_size=1, max_size=12)


@given(SPANS)
def test_busy_is_the_union(spans: list[tuple[int, int]]) -> None:
    """Equal to counting the picoseconds that any span covers."""
    offset_ps, duration_ps = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    covered = {moment for offset, duration in spans for moment in range(offset, offset + duration)}
    assert span_figures(offset_ps, duration_ps, 7) == {
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
    content = Messages([event.SerializeToString() for event in events])
    fields = tags_of("XEvent")
    found = [dict.fromkeys(("metadata_id", "offset_ps", "duration_ps"), 0) | {"stats": []} for _ in events]
    for rows_, tags, values, ends in content.fields(content.starts, content.ends):
        for row, tag, value, end in zip(rows_, tags, values.view(np.int64), ends, strict=True):
            name = next(name for name, number in fields.items() if number == tag)
            if name == "stats":
                found[row]["stats"].append(message_class("XStat").FromString(content.bytes[end - value : end]))
            else:
                found[row][name] = value
    assert found == [{name: getattr(event, name) for name in found[0]} for event in events]
