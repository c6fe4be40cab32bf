"""The fuzz harnesses: inputs that once broke an importer, and changes of seeds made as the fuzzer makes them."""

import importlib
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import IMPORTERS
from tests.fuzz.harness import DATA, Harness, check
from toolkit.ingest import formats

FOUND = sorted((DATA / "fuzz").glob("*/*"))


def harness_of(name: str) -> Harness:
    """The harness of one importer."""
    found: Harness = importlib.import_module(f"tests.fuzz.fuzz_{name}").HARNESS
    return found


def test_every_importer_has_its_harness() -> None:
    """A format that is added without one is missed here."""
    assert {harness_of(name).importer for name in IMPORTERS} == set(formats.importers())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_an_importer_is_an_answer_now(path: Path, tmp_path: Path) -> None:
    """Each input that fuzzing found, as small as it could be made, is analysed or refused in one line."""
    check(harness_of(path.parent.name), path.read_bytes(), tmp_path)


@cache
def seeds_of(name: str) -> list[bytes]:
    """Inputs to begin with."""
    return harness_of(name).seeds()


@given(name=st.sampled_from(IMPORTERS), random=st.randoms(use_true_random=True))
@pytest.mark.e2e
def test_changes_that_keep_the_form_are_answered(
    name: str, random: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Values, instructions and fields changed, dropped, doubled and moved: nothing but HwprofError comes out."""
    harness = harness_of(name)
    content = harness.mutated(random.choice(seeds_of(name)), random)
    check(harness, content, tmp_path_factory.mktemp("fuzz"))
