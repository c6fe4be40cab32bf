"""The harness of Kineto traces."""

import gzip
import json
from pathlib import Path

from tests.fuzz.harness import SHARED, Harness
from tests.fuzz.structures import json_mutated
from tests.kineto_traces import BASE, EVENTS, MEMBERS, OP
from toolkit.ingest import kineto

LARGEST_TRACE = 1 << 20
EVENTS_OF_REAL = 20
OLD = [{"ph": "X", "cat": "Kernel", "name": "k", "pid": 0, "tid": "stream 7", "ts": 1606910596288053, "dur": 1}]


def seeds() -> list[bytes]:
    """Events of each kind in each form of document, and real ones that are small."""
    step = OP | {"name": "ProfilerStep#3", "dur": 9}
    documents = [{**MEMBERS, "traceEvents": [*EVENTS, step], **BASE}, [*EVENTS, step], OLD, {"traceEvents": []}]
    texts = [json.dumps(document).encode() for document in documents]
    indented = json.dumps(documents[0], indent=2).encode()
    real = [thinned(path) for path in sorted((SHARED / "kineto").glob("*.gz")) if path.stat().st_size < LARGEST_TRACE]
    return [*texts, indented, gzip.compress(texts[0], mtime=0), *real]


def thinned(path: Path) -> bytes:
    """A real trace with EVENTS_OF_REAL of its events, from all over it."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    events = document if isinstance(document, list) else document["traceEvents"]
    events[:] = events[:: len(events) // EVENTS_OF_REAL + 1]
    return json.dumps(document).encode()


HARNESS = Harness(kineto, "f.pt.trace.json", seeds, json_mutated)
