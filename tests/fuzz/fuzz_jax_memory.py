"""The harness of JAX's memory profiles."""

import gzip

from tests.fuzz.harness import Harness
from tests.fuzz.structures import wire_mutated
from tests.jax_memory_profiles import profile
from toolkit.ingest import jax_memory


def seeds() -> list[bytes]:
    """A profile of few samples, plain and packed."""
    content = profile(("cpu:0", 2, 64, [("step", "/home/me/train.py", 7)]), (None, 1, 9, []))
    return [content, gzip.compress(content, mtime=0)]


HARNESS = Harness(jax_memory, "memory.prof", seeds, wire_mutated)
