"""nvidia-smi's tables, as people record them beside their training."""

import json
from pathlib import Path

import pytest

from tests.commands import hwprof
from tests.drivers import REPO
from tests.stores import read, rows, warned
from toolkit.clock import written_ns
from toolkit.errors import HwprofError

SHARED = REPO.parent / "shared" / "traces" / "power" / "nvidia_smi_8gpu.csv"
TABLE = """\
timestamp, index, name, power.draw [W], memory.used [MiB], utilization.gpu [%], pstate
2025/09/08 17:26:50.500, 0, NVIDIA H100, 74.01 W, 4 MiB, 0 %, P0
2025/09/08 17:26:50.600, 1, NVIDIA H100, [N/A], 5 MiB, 7 %, P0
2025/09/08 17:26:52.500, 0, NVIDIA H100, 75.01 W, 4 MiB, 1 %, P0
"""
FIRST_NS = 1_757_352_410_500_000_000


def test_a_table_becomes_readings_by_gpu(tmp_path: Path) -> None:
    """Watts become milliwatts and mebibytes bytes, at their moments; what is not told has its reason and no figure."""
    (tmp_path / "f.csv").write_text(TABLE)
    store = read(tmp_path / "f.csv")
    query = "SELECT ts_ns, device, value, unit FROM counters WHERE metric = 'power' ORDER BY ts_ns"
    assert rows(store, query) == [(FIRST_NS, "0", 74_010.0, "mW"), (FIRST_NS + 2_000_000_000, "0", 75_010.0, "mW")]
    assert rows(store, "SELECT max(value), any_value(unit) FROM counters WHERE metric = 'memory_used'") == [
        (5 << 20, "B")
    ]
    assert rows(store, "SELECT device, metric, reason FROM unavailable") == [("1", "power", "N/A")]
    assert rows(store, "SELECT device, name FROM gpus ORDER BY device") == [("0", "NVIDIA H100"), ("1", "NVIDIA H100")]
    assert warned(store) == {"no_time_zone": (3, False), "columns_left": (1, False), "no_energy": (3, False)}


def test_no_two_columns_are_one_metric(tmp_path: Path) -> None:
    """What was asked for and what is enforced are two limits; of two names of one clock the first is read."""
    columns = "timestamp, power.limit [W], enforced.power.limit [W], clocks.current.sm [MHz], clocks.sm [MHz]"
    (tmp_path / "f.csv").write_text(f"{columns}\n2025/09/08 17:26:50.500, 700.00 W, 500.00 W, 1980 MHz, 1980 MHz\n")
    assert rows(read(tmp_path / "f.csv"), "SELECT metric, value FROM counters ORDER BY metric") == [
        ("enforced_power_limit", 500_000.0), ("power_limit", 700_000.0), ("sm_clock", 1980.0)
    ]  # fmt: skip


def test_the_shared_table_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight GPUs that `gpu` tells apart and `index` does not; whole seconds; readings, and why there is no energy."""
    if not SHARED.exists():
        pytest.skip("needs the traces beside the repository")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (trace,) = json.loads(hwprof("analyze", SHARED, "--json").stdout)["traces"]
    assert (trace["format"], trace["events"], trace["trusted"]) == ("nvidia_smi_csv", 43, True)
    found = {(row["device"], row["metric"]): row for row in trace["readings"]}
    assert len(found) == 8 * 4
    assert found["0", "power"]["mean"] == pytest.approx(1e3 * (74.01 + 74.06 + 74.05 + 74.03 + 74.00 + 74.05) / 6)
    assert found["7", "power"]["readings"] == 5
    assert found["5", "memory_total"]["most"] == 81_559 << 20
    codes = {sentence.split()[0] for sentence in trace["warnings"]}
    assert codes == {"whole_seconds", "ambiguous_device", "no_energy"}
    shown = hwprof("analyze", SHARED).stdout
    assert "index tells fewer of them apart" in " ".join(shown.split())
    assert "so there is no energy" in " ".join(shown.split())


@pytest.mark.parametrize(
    "row", ["2025/09/08 17:26:53.0, 0", "yesterday, 0, x, 1 W, 1 MiB, 1 %, P0", "2025-09-08T1, 0, x, 1e9 W"]
)
def test_a_damaged_row_is_one_line_and_what_came_before_can_be_kept(tmp_path: Path, row: str) -> None:
    """The row is named by its number; --salvage keeps the three before."""
    (tmp_path / "f.csv").write_text(TABLE + row)
    with pytest.raises(HwprofError, match=r"f\.csv is damaged in row 4: .*--salvage"):
        read(tmp_path / "f.csv")


def test_times_are_exact_and_bounded() -> None:
    """To the microsecond, in the zone that is written; a year that 64 bits do not hold is refused."""
    assert written_ns("2025-09-08T17:26:50.500001+08:00") == (FIRST_NS - 8 * 3_600_000_000_000 + 1_000, True)
    with pytest.raises(ValueError, match="out of the range"):
        written_ns("2999-01-01")
