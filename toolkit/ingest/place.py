"""Fills epoch, step and phase of a run's slices, by place.sql."""

from importlib.resources import files
from pathlib import Path

from toolkit.ingest.store import allow_more, connect


def place(folder: Path) -> None:
    """Rewrites the store's slices with their places; leaves a store without slices alone."""
    path = folder / "slices.parquet"
    if not path.exists():
        return
    partial = folder / ".slices.parquet.partial"
    sql = files(__package__).joinpath("place.sql").read_text(encoding="utf-8")
    try:
        with connect(folder) as connection:
            allow_more(connection)
            connection.sql(sql).write_parquet(str(partial), compression="zstd")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
