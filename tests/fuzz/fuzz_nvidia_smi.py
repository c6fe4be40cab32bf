"""The harness of nvidia-smi's tables."""

import gzip
from random import Random

from tests.fuzz.harness import Harness
from tests.fuzz.structures import NASTY, damaged
from toolkit.ingest import nvidia_smi

TABLES = (
    b"timestamp, index, power.draw [W], memory.used [MiB]\n2025/09/08 17:26:50.123, 0, 74.01 W, 4 MiB\n"
    b"2025/09/08 17:26:51.125, 0, [N/A], 5 MiB\n",
    b"timestamp,gpu,index,temperature.gpu\n2025-09-08T17:26:50+08:00,0, 0, 33\n2025-09-08T17:26:50+08:00,1, 0, 34\n",
)


def seeds() -> list[bytes]:
    """Tables with units and without, with a zone and without."""
    return [*TABLES, gzip.compress(TABLES[0], mtime=0)]


def mutated(data: bytes, random: Random) -> bytes:
    """A cell changed, a row dropped or doubled, or damage."""
    rows = [row.split(b",") for row in data.split(b"\n")]
    row = random.choice(rows)
    change = random.randrange(4)
    if change == 0:
        row[random.randrange(len(row))] = str(random.choice(NASTY)).encode(errors="replace")
    elif change == 1:
        rows.remove(row)
    elif change == 2:
        rows.append(list(row))
    else:
        return damaged(data, random)
    return b"\n".join(b",".join(row) for row in rows)


HARNESS = Harness(nvidia_smi, "f.csv", seeds, mutated)
