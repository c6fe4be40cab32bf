"""Makes a dataset's folder ready before a worker starts, which may have no network. The standard library only."""

import hashlib
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from toolkit.capture.downloads import cache_folder, fetch
from toolkit.errors import FAILED, HwprofError

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
RECORD_BYTES = 1 + 3 * 32 * 32

Say = Callable[[str], None]


def prepare(dataset: str, data_dir: str, *, say: Say, url: str = CIFAR10_URL, sha256: str = CIFAR10_SHA256) -> str:
    """The folder to read `dataset` from; empty for synthetic data, which needs none.

    `data_dir` may hold the extracted files, or the archive; where it is empty the data cache is used, and filled once
    from the published archive. Raises HwprofError for a folder or an archive that is not the dataset.
    """
    if dataset == "synthetic":
        return ""
    folder = Path(data_dir).expanduser() if data_dir else cache_folder()
    if data_dir and not folder.is_dir():
        raise HwprofError(
            f"There is no dataset folder {data_dir!r}.",
            remedy="Give data_dir= a folder with CIFAR-10's binary files, or leave it out to download them.",
        )
    found = _find(folder) or _extract(_archive(folder, url, sha256, may_download=not data_dir, say=say), sha256, say)
    _check_files(found)
    return str(found.resolve())


def present(data_dir: str) -> bool:
    """Whether CIFAR-10 lies in that folder, or in the data cache where it is empty, so that nothing is downloaded."""
    folder = Path(data_dir).expanduser() if data_dir else cache_folder()
    return _find(folder) is not None or (folder / ARCHIVE).exists()


def _find(folder: Path) -> Path | None:
    return next((place for place in (folder, folder / FOLDER) if (place / TEST_FILES[0]).exists()), None)


def _archive(folder: Path, url: str, sha256: str, *, may_download: bool, say: Say) -> Path:
    archive = folder / ARCHIVE
    if not archive.exists():
        if not may_download:
            raise HwprofError(
                f"{folder} holds neither {TEST_FILES[0]} nor {ARCHIVE}.",
                remedy="Put CIFAR-10's binary version there, or leave data_dir out to download it.",
            )
        _download(archive, url, sha256, say)
    return archive


def _download(archive: Path, url: str, sha256: str, say: Say) -> None:
    say(f"Downloading CIFAR-10 (162 MiB, once) to {archive}")
    try:
        fetch(url, archive, lambda path: _check_sum(path, sha256))
    except OSError as error:
        raise HwprofError(
            f"CIFAR-10 could not be downloaded from {url}: {error}.",
            remedy=f"Put {ARCHIVE} into a folder and give it as data_dir=, or use dataset=synthetic.",
            exit_code=FAILED,
        ) from error


def _check_sum(archive: Path, sha256: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise HwprofError(
            f"{archive} is not the published CIFAR-10 archive: sha256 {found[:12]}…, not {sha256[:12]}….",
            remedy="It may be truncated: delete it and download it again.",
        )


def _extract(archive: Path, sha256: str, say: Say) -> Path:
    _check_sum(archive, sha256)
    say(f"Extracting {archive}")
    target = archive.parent / FOLDER
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            (Path(folder) / FOLDER).replace(target)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise HwprofError(
            f"{archive} cannot be extracted: {error}.", remedy="Delete it and download it again."
        ) from error
    return target


def _check_files(folder: Path) -> None:
    for name in TRAIN_FILES + TEST_FILES:
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size == 0 or size % RECORD_BYTES:
            raise HwprofError(
                f"{folder / name} has {size} bytes, which is no whole number of {RECORD_BYTES}-byte CIFAR-10 records.",
                remedy="It is missing or truncated: extract the archive again.",
            )
