"""What of the caller's pip configuration means something inside a build: indexes, proxy, certificates.

Folders of this machine do not: a build cannot see them. The standard library only.
"""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Settings that choose where packages come from; others (a cache, a target) are about this machine's installations.
ADDRESSES = ("index-url", "extra-index-url", "find-links")
PLAIN = ("no-index", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
# pip takes these where its own setting is silent.
CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Settings(NamedTuple):
    """`values`: pip's options by name; `certificates`: a bundle on this machine; `unseen`: folders left out."""

    values: dict[str, str]
    certificates: Path | None
    unseen: tuple[str, ...]

    def text(self, certificates: str) -> str:
        """A pip.conf; `certificates` is where the bundle lies inside."""
        values = self.values | ({"cert": certificates} if self.certificates else {})
        return "\n".join(["[global]", *(f"{name} = {value}" for name, value in sorted(values.items())), ""])

    def hash(self) -> str:
        """Of all of it, as it may hold keys."""
        bundle = self.certificates.read_bytes() if self.certificates else b""
        return hashlib.sha256(self.text("").encode() + b"\0" + bundle).hexdigest()


def read() -> Settings:
    """The settings of pip's files and variables as they hold here, for `pip install`."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return parse(listed, dict(os.environ))


def parse(listed: str, environment: dict[str, str]) -> Settings:
    """The settings of what `pip config list` printed, one `section.name='value'` a line."""
    merged: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # a later one overrides
        for line in listed.splitlines():
            name, equals, value = line.removeprefix(f"{section}.").partition("=")
            if equals and line.startswith(f"{section}."):
                merged[name] = str(ast.literal_eval(value))
    # Several hosts stand a line each, of which the second would begin at the margin, as no value may.
    values = {name: " ".join(merged[name].split()) for name in PLAIN if name in merged}
    unseen: list[str] = []
    for name in ADDRESSES:
        items = merged.get(name, "").split()
        reached = [item for item in items if "://" in item and not item.startswith("file:")]
        unseen += [item for item in items if item not in reached]
        if reached:
            values[name] = " ".join(reached)
    bundle = merged.get("cert") or next(filter(None, map(environment.get, CERTIFICATE_VARIABLES)), None)
    certificates = Path(bundle) if bundle and Path(bundle).is_file() else None
    return Settings(values, certificates, tuple(unseen))
