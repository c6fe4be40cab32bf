"""The reference pages of docs/, written from the code they describe: `python -m toolkit.reports.reference`."""

import json
from pathlib import Path

import msgspec

from toolkit import schema
from toolkit.analyses import runner
from toolkit.analyses.comparison import Comparison
from toolkit.analyses.study.results import StudyResult
from toolkit.analyses.summary import Summary
from toolkit.ingest import limits
from toolkit.reports.doctor import Diagnosis
from toolkit.reports.findings import findings_page
from toolkit.settings import shown
from toolkit.spec import FIELDS

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = "<!-- Written by `make docs` from the code; change it there. -->"


def pages() -> dict[str, str]:
    """File name in docs/ -> content."""
    return {
        "schema.md": store_page(),
        "analyses.md": analyses_page(),
        "settings.md": settings_page(),
        "limits.md": limits_page(),
        "findings.md": "\n".join(["# Findings", "", GENERATED, "", *findings_page(), ""]),
        "summary.schema.json": json.dumps(msgspec.json.schema(Summary), indent=1) + "\n",
        "comparison.schema.json": json.dumps(msgspec.json.schema(Comparison), indent=1) + "\n",
        "study.schema.json": json.dumps(msgspec.json.schema(StudyResult), indent=1) + "\n",
        "doctor.schema.json": json.dumps(msgspec.json.schema(Diagnosis), indent=1) + "\n",
    }


def store_page() -> str:
    """Every table and column of the store."""
    lines = [
        "# The store",
        "",
        GENERATED,
        "",
        f"Version {schema.VERSION}: {schema.HISTORY[schema.VERSION]}. One Parquet file a table.",
        "",
    ]
    for table, columns in schema.TABLES.items():
        lines += [f"## {table}", "", "| column | type | holds |", "|---|---|---|"]
        lines += [f"| {column.name} | {column.type} | {column.doc} |" for column in columns]
        lines.append("")
    return "\n".join(lines)


def analyses_page() -> str:
    """Every SQL analysis and its output columns."""
    lines = [
        "# Analyses",
        "",
        GENERATED,
        "",
        "Each is `toolkit/analyses/NAME.sql`, over the tables of [the store](schema.md).",
        "",
    ]
    for name in runner.names():
        lines += [f"## {name}", "", runner.description(name), "", "| column | holds |", "|---|---|"]
        lines += [f"| {column} | {text} |" for column, text in runner.documented_columns(name).items()]
        lines.append("")
    return "\n".join(lines)


def settings_page() -> str:
    """Every setting of a run."""
    lines = [
        "# Settings of a run",
        "",
        GENERATED,
        "",
        "In a profile's TOML, as `--set name=value`, or in capitals on make's command line.",
        "",
    ]
    lines += ["| setting | default | what |", "|---|---|---|"]
    for name, item in FIELDS.items():
        choices = f" One of: {', '.join(item.metadata['choices'])}." if item.metadata["choices"] else ""
        lines.append(f"| {name} | `{shown(item.default)}` | {item.metadata['doc']}.{choices} |")
    return "\n".join([*lines, ""])


def limits_page() -> str:
    """Every limit on files that strangers made."""
    lines = [
        "# Limits",
        "",
        GENERATED,
        "",
        "Traces are untrusted input: a small file can ask for any amount of memory or time. What is over one of these",
        "limits is an error that names the variable to raise it by: `HWPROF_MAX_INFLATED_BYTES=64000000000 hwprof …`.",
        "With the defaults no file takes much more than 600 MB of memory while it is read.",
        "",
        "| variable | default | limits |",
        "|---|---|---|",
    ]
    lines += [f"| {limit.variable} | {_size(limit)} | {limit.counts} |" for limit in limits.ALL]
    return "\n".join([*lines, ""])


def _size(limit: limits.Limit) -> str:
    """The default, and a round number of bytes also in its unit."""
    units = {"GiB": 1 << 30, "MiB": limits.MIB}
    unit = next((name for name, size in units.items() if limit.default % size == 0), None)
    if unit is None or not limit.counts.startswith("bytes"):
        return str(limit.default)
    return f"{limit.default} ({limit.default // units[unit]} {unit})"


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
