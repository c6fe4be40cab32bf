"""The importer of sampled profiles: every sample counted once, seconds exact, and what is no sample refused."""

import gzip
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyspy_traces import DOCUMENT, PROFILE, refused, rows, write
from tests.stores import needs_traces, read, warned
from toolkit.analyses import runner
from toolkit.clock import s_to_ns
from toolkit.ingest.limits import SPEEDSCOPE_BYTES, STACKS

REAL = Path(__file__).parents[2] / "shared" / "traces" / "pyspy" / "cpu_program.speedscope.json.gz"


def test_samples_become_a_call_tree(tmp_path: Path) -> None:
    """Each place in the tree is one row with its samples and their sum, and with no start."""
    connection = read(write(tmp_path, DOCUMENT, "x.speedscope.json"))
    columns = "depth, frame, samples, dur_ns, self_ns, recursive, ts_ns, thread"
    thread = 'Thread 7 "MainThread"'
    assert rows(connection, columns, "depth") == [
        (0, "thread (7)", 4, 40_000_000, 10_000_000, False, None, thread),
        (1, "main (a.py:1)", 4 - 1, 30_000_000, 10_000_000, False, None, thread),
        (2, "work (a.py:2)", 2, 20_000_000, 10_000_000, False, None, thread),
        (3, "work (a.py:2)", 1, 10_000_000, 10_000_000, True, None, thread),
    ]
    assert warned(connection) == {"no_timeline": (4, False)}
    found = runner.run(connection, "stacks")
    assert [(row["samples"], row["self_ns"], row["total_ns"]) for row in found if "work" in row["frame"]] == [
        (2, 20_000_000, 20_000_000)
    ]


@needs_traces
def test_a_real_profile_keeps_every_sample(tmp_path: Path) -> None:
    """Samples and time of each thread are those of the file, in total and as the sum of own times."""
    path = tmp_path / REAL.name
    path.symlink_to(REAL)
    document = json.loads(gzip.decompress(REAL.read_bytes()), parse_float=Decimal)
    expected = {
        profile["name"]: (len(profile["samples"]), s_to_ns(profile["endValue"])) for profile in document["profiles"]
    }
    with read(path) as connection:
        found = connection.execute(
            "SELECT thread, sum(samples) FILTER (depth = 0), sum(dur_ns) FILTER (depth = 0), sum(self_ns) FROM stacks"
            " GROUP BY thread"
        ).fetchall()
    assert {thread: (samples, ns) for thread, samples, ns, _ in found} == expected
    assert all(own == ns for _, _, ns, own in found)


@given(seconds=st.decimals(0, 10**6, places=11))
def test_seconds_become_exact_nanoseconds(seconds: Decimal) -> None:
    """Every decimal is rounded half to even at 1 ns."""
    assert s_to_ns(seconds) == round(Fraction(seconds) * 10**9)


SAMPLES = st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=5), st.integers(0, 10**6)), max_size=8)


@given(stacks=SAMPLES)
def test_no_time_is_lost_in_the_tree(
    stacks: list[tuple[list[int], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Own times sum to the weights of all samples that hold a frame."""
    profile = PROFILE | {"samples": [stack for stack, _ in stacks], "weights": [us / 10**6 for _, us in stacks]}
    path = write(tmp_path_factory.mktemp("tree"), DOCUMENT | {"profiles": [profile]}, "x.speedscope.json")
    with read(path) as connection:
        total = connection.execute("SELECT coalesce(sum(self_ns), 0), count(*) FROM stacks").fetchall()[0][0]
        empty = warned(connection).get("empty_samples", (0, False))
    assert total == sum(1000 * us for stack, us in stacks if stack)
    assert empty == (sum(not stack for stack, _ in stacks), False)


def changed(**members: Any) -> dict[str, Any]:
    """The document with other members of its profile."""
    return DOCUMENT | {"profiles": [PROFILE | members]}


WRONG = {
    "nothing": b"",
    "half": json.dumps(DOCUMENT).encode()[:-30],
    "half of a gzip": gzip.compress(json.dumps(DOCUMENT).encode())[:-12],
    "a list": [],
    "evented": changed(type="evented"),
    "unit of bytes": changed(unit="bytes"),
    "unit of control characters": changed(unit="\x1b[2J"),
    "fewer weights": changed(weights=[0.01]),
    "frame that is not there": changed(samples=[[3]], weights=[1]),
    "negative frame": changed(samples=[[-1]], weights=[1]),
    "negative weight": changed(samples=[[0]], weights=[-1]),
    "NaN": changed(samples=[[0]], weights=[float("nan")]),
    "NaN as text": changed(samples=[[0]], weights=["NaN"]),
    "weight of ages": changed(samples=[[0]], weights=["1e999999999"]),
    "weights of ages": changed(samples=[[0]] * 3, weights=["2e9"] * 3),
    "nesting": b'{"a":' * 100_000,
    "lone surrogate": changed(name="\ud800"),
}


@pytest.mark.parametrize("name", WRONG)
def test_damaged_profiles_are_errors(name: str, tmp_path: Path) -> None:
    """What is cut off, contradicts itself or is not sampled in seconds is refused in one line that names the file."""
    assert refused(write(tmp_path, WRONG[name], "x.speedscope.json")).isprintable()


def test_larger_profiles_than_stated_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both limits are named: bytes, and places in the call tree."""
    path = write(tmp_path, DOCUMENT, "x.speedscope.json")
    monkeypatch.setenv(STACKS.variable, "3")
    assert f"more than 3 different stacks ({STACKS.variable})" in refused(path)
    (tmp_path / "store").rmdir()
    monkeypatch.setenv(SPEEDSCOPE_BYTES.variable, "100")
    assert "more than 100 bytes" in refused(path)
