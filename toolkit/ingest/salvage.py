"""What is said of a store that holds only the part of a file before its damage."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from toolkit.clock import NS_PER_S
from toolkit.errors import HwprofError
from toolkit.ingest.arrays import pa
from toolkit.ingest.reading import SalvageableError
from toolkit.ingest.store import ARROW_SCHEMAS, connect

if TYPE_CHECKING:
    import duckdb

CODE = "salvaged"
# Tables with what a trace is about; the others only say things of it.
CONTENT = ("slices", "allocations", "stacks", "segments")
MOMENTS = """
    SELECT ts_ns, ts_ns + dur_ns AS end_ns FROM slices
    UNION ALL SELECT ts_ns, ts_ns FROM allocations
    UNION ALL SELECT ts_ns, ts_ns + coalesce(dur_ns, 0) FROM stacks
"""


def note(folder: Path, path: Path, damages: Collection[SalvageableError]) -> None:
    """Adds the warning that the store's one trace is the part of `path` before its damage, which makes it untrusted.

    Raises HwprofError where nothing came before the damage.
    """
    with connect(folder) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in CONTENT]  # noqa: S608 - constants
        reach = _reach(connection)
    if not any(counts):
        first = next(iter(damages))
        raise HwprofError(f"{path} {first.what}; nothing of it can be kept.", remedy="Take the file again.")
    kept = "; ".join(damage.kept for damage in damages)
    what = "; ".join(damage.what for damage in damages)
    message = f"Only a part of the file is here: it {what}. Of it {kept}{reach}. All figures are of that part."
    target = folder / "warnings.parquet"
    row = {"trace": 0, "pass_name": None, "code": CODE, "count": 1, "message": message, "untrusted": True}
    rows = pa.Table.from_pylist([row], schema=ARROW_SCHEMAS["warnings"])
    known = [pq.read_table(target)] if target.exists() else []
    pq.write_table(pa.concat_tables([rows, *known]), target)


def _reach(connection: "duckdb.DuckDBPyConnection") -> str:
    """How far the trace reaches after its first moment; nothing of what tells no moments."""
    (reach_ns,) = connection.execute(f"SELECT max(end_ns) - min(ts_ns) FROM ({MOMENTS})").fetchall()[0]  # noqa: S608 - a constant
    return "" if reach_ns is None else f", and reach {reach_ns / NS_PER_S:,.6f} s from the first to the last"
