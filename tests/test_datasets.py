"""Making a dataset's folder ready: what is downloaded, checked, and refused."""

from pathlib import Path

import pytest

from tests import cifar
from toolkit.capture import datasets
from toolkit.capture.datasets import prepare
from toolkit.errors import BAD_INPUT, FAILED, HwprofError


def silent(line: str) -> None:
    """Hears nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return datasets.cache_folder()


def refusal(data_dir: str, *, url: str = "file:///nowhere", sha256: str = "0", code: int = BAD_INPUT) -> str:
    """The one line that a set which is not there, or not right, is answered with."""
    with pytest.raises(HwprofError) as caught:
        prepare("cifar10", data_dir, say=silent, url=url, sha256=sha256)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_synthetic_data_needs_no_folder() -> None:
    """Nothing is looked for and nothing fetched."""
    assert prepare("synthetic", "", say=silent, url="file:///nowhere") == ""


def test_an_empty_cache_is_filled_once(tmp_path: Path, cache: Path) -> None:
    """The archive is fetched, checked and extracted; the second time nothing is fetched and nothing said."""
    source, sha256 = cifar.archive(tmp_path / "published")
    said: list[str] = []
    found = prepare("cifar10", "", say=said.append, url=source.as_uri(), sha256=sha256)
    assert found == str(cache / datasets.FOLDER)
    assert {path.name: path.read_bytes() for path in Path(found).iterdir()} == cifar.files()
    assert [line.split()[0] for line in said] == ["Downloading", "Extracting"]
    source.unlink()
    assert prepare("cifar10", "", say=said.append, url=source.as_uri(), sha256=sha256) == found
    assert len(said) == 2


@pytest.mark.parametrize("inner", ["", datasets.FOLDER])
def test_a_folder_with_the_files_is_taken_as_it_is(tmp_path: Path, inner: str) -> None:
    """The set's own folder may be given, or the one around it."""
    place = cifar.folder(tmp_path)
    assert prepare("cifar10", str(place if inner else tmp_path), say=silent, url="file:///nowhere") == str(place)


def test_a_folder_with_the_archive_is_extracted_in_place(tmp_path: Path) -> None:
    """Nothing is fetched where the archive lies already."""
    _, sha256 = cifar.archive(tmp_path)
    found = prepare("cifar10", str(tmp_path), say=silent, url="file:///nowhere", sha256=sha256)
    assert found == str(tmp_path / datasets.FOLDER)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there is refused rather than filled."""
    assert refusal(str(tmp_path / "nowhere")).startswith(f"There is no dataset folder '{tmp_path / 'nowhere'}'.")


def test_a_folder_without_the_set_is_named(tmp_path: Path) -> None:
    """A folder given by hand is never downloaded into."""
    assert refusal(str(tmp_path)).startswith(f"{tmp_path} holds neither test_batch.bin nor {datasets.ARCHIVE}.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "another"])
def test_a_wrong_archive_is_refused(tmp_path: Path, damage: str) -> None:
    """An archive whose sha256 is not the published one is not extracted."""
    path, sha256 = cifar.archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-100] if damage == "truncated" else b"something else")
    answer = refusal(str(tmp_path), sha256=sha256)
    assert answer.startswith(f"{path} is not the published CIFAR-10 archive")
    assert "delete it and download it again" in answer
    assert not (tmp_path / datasets.FOLDER).exists()


def test_a_download_that_was_cut_short_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """What came is not the archive, so that the next try starts afresh."""
    source, sha256 = cifar.archive(tmp_path / "published")
    source.write_bytes(source.read_bytes()[:-100])
    assert "is not the published CIFAR-10 archive" in refusal("", url=source.as_uri(), sha256=sha256)
    assert list(cache.iterdir()) == []


def test_an_unreachable_archive_is_no_fault_of_the_caller(tmp_path: Path, cache: Path) -> None:
    """The address is named, with the two ways round it, and nothing is left behind."""
    url = (tmp_path / "nowhere.tar.gz").as_uri()
    answer = refusal("", url=url, code=FAILED)
    assert answer.startswith(f"CIFAR-10 could not be downloaded from {url}")
    assert "dataset=synthetic" in answer
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", cifar.records(2, 0)[:-1]])
def test_a_missing_or_truncated_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Each file must hold whole records."""
    place = cifar.folder(tmp_path)
    (place / "data_batch_3.bin").unlink()
    if content is not None:
        (place / "data_batch_3.bin").write_bytes(content)
    answer = refusal(str(place))
    assert answer.startswith(f"{place / 'data_batch_3.bin'} has {len(content or b'')} bytes")


def test_an_archive_without_the_set_is_refused(tmp_path: Path) -> None:
    """One that holds only part of the files says which is missing."""
    _, sha256 = cifar.archive(tmp_path, {"test_batch.bin": cifar.records(1, 0)})
    assert "data_batch_1.bin has 0 bytes" in refusal(str(tmp_path), sha256=sha256)
