"""Sentences on what training started from, what of the model it changed, and on how many replicas, for every report."""

from collections.abc import Iterator

from toolkit.spec import ALONE, DDP, HEAD, RANDOM, RunSpec


def sentences(spec: RunSpec) -> Iterator[str]:
    """None of a run from random weights that trains all of one replica."""
    if spec.weights != RANDOM:
        file = "torchvision's file in every framework" if spec.matched else "the zoo's own file"
        unless = ", unless a fallback is named here" if spec.weights == "auto" else ""
        yield f"weights={spec.weights}: the start is ImageNet's, {file}{unless}; facts.json says of which tensors"
    if spec.trainable == HEAD:
        norms = "" if spec.matched else ", whose frozen batch norms each framework treats in its own way (facts.json)"
        yield f"trainable=head: the last layer alone is trained{norms}"
    if spec.parallel != ALONE:
        whose = "; ledger and trace are rank 0's, and `hwprof analyze` shows all ranks" if spec.parallel == DDP else ""
        yield (
            f"{spec.parallel} of {spec.replicas} replicas, batch {spec.batch} of all together; a batch norm takes the"
            f" statistics of its replica's part, as no single process does{whose}"
        )
