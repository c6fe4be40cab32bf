"""JSON arrays read piece by piece, and decimal text as exact nanoseconds."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tests.kineto_traces import NASTY
from toolkit.errors import HwprofError
from toolkit.ingest.arrays import texts_of
from toolkit.ingest.coded import coded
from toolkit.ingest.columns import LATEST_NS, ns_of_us
from toolkit.ingest.json_chunks import EventArray

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=6) | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
LAYOUTS = st.sampled_from([None, 0, 1, 2])


@given(elements=st.lists(JSON, max_size=8), member=JSON, layout=LAYOUTS, size=st.integers(1, 40), first=st.booleans())
def test_pieces_are_the_array(*, elements: list[Any], member: Any, layout: int | None, size: int, first: bool) -> None:
    """Whatever the elements, the members around them and the blocks' borders: the pieces joined are the array."""
    array, members = {"traceEvents": elements}, {"member": member}
    text = json.dumps(array | members if first else members | array, indent=layout, ensure_ascii=False).encode()
    blocks = iter([text[at : at + size] for at in range(0, len(text), size)])
    reader = EventArray(Path("trace.json"), blocks, msgspec.json.decode)
    assert [element for piece in reader for element in piece] == elements
    assert reader.metadata == members


@given(elements=st.lists(JSON, max_size=4), layout=LAYOUTS, cut=st.integers(1, 30), size=st.integers(1, 40))
def test_an_array_cut_short_is_an_error(elements: list[Any], layout: int | None, cut: int, size: int) -> None:
    """No text that lacks its end passes for a whole one."""
    text = json.dumps({"traceEvents": elements}, indent=layout).encode()[:-cut]
    blocks = iter([text[at : at + size] for at in range(0, len(text), size)])
    with pytest.raises(HwprofError, match=r"trace\.json"):
        list(EventArray(Path("trace.json"), blocks, msgspec.json.decode))


DECIMALS = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.decimals(-(10**13), 10**13, places=3).map(str),
    st.decimals(-(10**16), 10**16, places=6).map(lambda us: f"{us:f}"),
    st.sampled_from(
        ["0.0005", "0.0015", "-0.0005", "1e3", "25E-4", "1712195495505543.2", "4611686018427387.903", "-0"]
    ),
)


@given(texts=st.lists(DECIMALS, max_size=6))
def test_microseconds_become_exact_nanoseconds(texts: list[str]) -> None:
    """Every decimal is rounded half to even at 1 ns, at today's epoch too, and what the axis cannot hold is no time."""
    ns, known = ns_of_us([Raw(text.encode()) for text in texts])
    exact = [round(Fraction(Decimal(text)) * 1000) for text in texts]
    assert known.tolist() == [abs(time) < LATEST_NS for time in exact]
    assert ns.tolist() == [time if abs(time) < LATEST_NS else 0 for time in exact]


@pytest.mark.parametrize("text", ["", "null", '"1"', "[1]", "{}", "true", "1e30", "-1e30", "1e999999999", "9" * 99])
def test_what_is_no_time_is_known_as_none(text: str) -> None:
    """No text is taken for a time that is none, and the times beside it stay what they are."""
    ns, known = ns_of_us([Raw(b"1.5"), Raw(text.encode()), Raw(b"2")])
    assert (ns.tolist(), known.tolist()) == ([1_500, 0, 2_000], [True, False, True])


@given(times=st.lists(st.integers(-(10**17), 10**17) | st.integers(), max_size=6))
def test_whole_microseconds_are_as_exact_as_their_text(times: list[int]) -> None:
    """An integer is the time that its text is, and one beyond the axis is none."""
    whole, texts = ns_of_us(times), ns_of_us([Raw(str(time).encode()) for time in times])
    assert (whole[0].tolist(), whole[1].tolist()) == (texts[0].tolist(), texts[1].tolist())


@given(texts=st.lists(st.text(max_size=2)))
def test_repeating_texts_become_a_column(texts: list[str]) -> None:
    """Each value has its text, which is asked for once for each distinct one."""
    asked: list[str] = []

    def text(value: str) -> str | None:
        asked.append(value)
        return value or None

    assert texts_of(coded(texts, text)).to_pylist() == [value or None for value in texts]
    assert sorted(asked) == sorted(set(texts))
