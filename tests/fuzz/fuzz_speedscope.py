"""The harness of speedscope files."""

import gzip
import json

from tests.fuzz.harness import SHARED, Harness, small_files
from tests.fuzz.structures import json_mutated
from tests.pyspy_traces import DOCUMENT
from toolkit.ingest import speedscope


def seeds() -> list[bytes]:
    """A document of a few samples, and real ones that are small."""
    text = json.dumps(DOCUMENT).encode()
    return [text, gzip.compress(text, mtime=0), *small_files(SHARED / "pyspy", "*.gz")]


HARNESS = Harness(speedscope, "f.speedscope.json", seeds, json_mutated)
