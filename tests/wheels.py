"""Wheels made on the spot, and an index of them, for tests that install."""

import base64
import functools
import hashlib
import http.server
import threading
import zipfile
from pathlib import Path
from typing import Any


def make_wheel(folder: Path, version: str, name: str = "tiny") -> str:
    """A wheel with one module that knows its version, in `folder`; its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Index(http.server.ThreadingHTTPServer):
    """Serves a folder of wheels; `asked` is set when one is fetched, which then waits for `go`."""

    def __init__(self, folder: Path) -> None:
        self.fetched: list[str] = []
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing where the other end went away, which is what some tests are about."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    server: Index

    def do_GET(self) -> None:
        """Answers, a wheel only once the test lets it."""
        if self.path.endswith(".whl"):
            self.server.fetched.append(self.path)
            self.server.asked.set()
            self.server.go.wait(300)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keeps still."""
