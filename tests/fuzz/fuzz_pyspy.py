"""The harness of py-spy's Chrome traces."""

import gzip
import json

from tests.fuzz.harness import Harness
from tests.fuzz.structures import json_mutated
from tests.pyspy_traces import EVENTS, event
from toolkit.ingest import pyspy


def seeds() -> list[bytes]:
    """Frames within frames, on several threads, that begin or end twice or never."""
    loose = [event("B", "f", 1), event("E", "g", 2), event("B", "f", 3, tid=6), event("E", "f", 2.5)]
    documents = [EVENTS, {"traceEvents": EVENTS}, [*EVENTS, *loose], loose]
    texts = [json.dumps(document).encode() for document in documents]
    return [*texts, gzip.compress(texts[0], mtime=0)]


HARNESS = Harness(pyspy, "pyspy.json", seeds, json_mutated)
