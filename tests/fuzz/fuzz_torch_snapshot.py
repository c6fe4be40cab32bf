"""The harness of allocator snapshots."""

import pickle
from random import Random

from tests.fuzz.harness import SHARED, Harness, small_files
from tests.fuzz.structures import damaged, pickle_mutated, tree_mutated
from tests.snapshot_traces import SNAPSHOT
from toolkit.ingest import torch_snapshot


def seeds() -> list[bytes]:
    """A snapshot by every protocol, and real ones that are small."""
    whole = [pickle.dumps(SNAPSHOT, protocol=protocol) for protocol in (2, 3, 4, 5)]
    return [*whole, *small_files(SHARED / "memory", "*.pickle")]


def mutated(data: bytes, random: Random) -> bytes:
    """Other instructions, other values in a whole snapshot, or other bytes."""
    choice = random.random()
    if choice < 0.5:
        return pickle_mutated(data, random)
    if choice < 0.8:
        return pickle.dumps(tree_mutated(SNAPSHOT, random), protocol=random.choice([2, 4]))
    return damaged(data, random)


HARNESS = Harness(torch_snapshot, "f_snapshot.pickle", seeds, mutated)
