"""Energy of processor packages and memory as Linux tells Intel's and AMD's RAPL counters: powercap's sysfs, read-only.

The kernel's Documentation/power/powercap/powercap.rst: `energy_uj` counts microjoules and starts anew past
`max_energy_range_uj`, which takes a busy package minutes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")
UJ_PER_MJ = 1000


class Zone(NamedTuple):
    """One counter: its metric, its file, and the number at which it starts anew."""

    metric: str
    path: Path
    range_uj: int


class Rapl:
    """The zones that can be read, and why any other cannot."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self.refused: dict[str, str] = {}
        self._zones: list[Zone] = []
        self._last: dict[str, int] = {}
        self._sum_uj: dict[str, int] = {}
        for folder in sorted(root.glob("intel-rapl:*")):
            self._add(folder)
        if not self._zones and not self.refused:
            self.refused["rapl"] = f"{root} holds no RAPL counters"

    def energy_mj(self) -> Iterator[tuple[str, float]]:
        """(metric, millijoules since the first call) of each zone that answers."""
        for zone in self._zones:
            try:
                now = int(zone.path.read_text(encoding="ascii"))
            except (OSError, ValueError):
                continue
            # Less than before is a start anew; read several times a minute, it cannot have been two.
            grown = (now - self._last.get(zone.metric, now)) % (zone.range_uj + 1)
            self._last[zone.metric] = now
            self._sum_uj[zone.metric] = self._sum_uj.get(zone.metric, 0) + grown
            yield zone.metric, self._sum_uj[zone.metric] / UJ_PER_MJ

    def _add(self, folder: Path) -> None:
        """package-0 of intel-rapl:0 is rapl_package-0; its dram, intel-rapl:0:2, rapl_package-0_dram."""
        metric = f"rapl_{folder.name}"
        try:
            parent = folder.parent / folder.name.rpartition(":")[0]
            names = [one / "name" for one in (parent, folder) if (one / "name").exists()]
            metric = "_".join(["rapl", *(name.read_text(encoding="ascii").strip() for name in names)])
            zone = Zone(metric, folder / "energy_uj", int((folder / "max_energy_range_uj").read_text(encoding="ascii")))
            int(zone.path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            self.refused[metric] = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            return
        self._zones.append(zone)
