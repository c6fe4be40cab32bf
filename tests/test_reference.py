"""The reference pages say what the code does."""

import pytest

from toolkit import schema
from toolkit.reports import reference


@pytest.mark.parametrize(
    "name",
    ["schema.md", "analyses.md", "settings.md", "summary.schema.json", "study.schema.json", "doctor.schema.json"],
)
def test_reference_pages_are_those_of_the_code(name: str) -> None:
    """`make docs` has been run since schema, analyses, settings, limits or summary changed."""
    assert (reference.DOCS / name).read_text(encoding="utf-8") == reference.pages()[name]


def test_the_schema_s_history_reaches_its_version() -> None:
    """Each version says what it changed."""
    assert sorted(schema.HISTORY) == list(range(1, schema.VERSION + 1))
