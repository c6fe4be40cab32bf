"""The harness of XPlane traces."""

import gzip

from tests.fuzz.harness import DATA, Harness, small_files
from tests.fuzz.structures import wire_mutated
from tests.xplane_traces import RICH, WHOLE, event, plane, space, start
from toolkit.ingest import xplane


def seeds() -> list[bytes]:
    """Planes of hosts and devices, with each kind of event, and recorded ones that are small."""
    memory = {"allocator_name": "mklcpu", "allocation_bytes": 64, "addr": 4096, "fragmentation": 0.5, "tf_op": "a/b"}
    host = plane(
        "/host:CPU", {"1:python": [event("MemoryAllocation", 5, 0, **memory), event("step", 0, 9, step_num=3)]}
    )
    recorded = [gzip.decompress(content) for content in small_files(DATA, "*.xplane.pb.gz")]
    return [WHOLE, RICH, space(host, start(), warnings=["dropped 5 events"]), *recorded]


HARNESS = Harness(xplane, "f.xplane.pb", seeds, wire_mutated)
