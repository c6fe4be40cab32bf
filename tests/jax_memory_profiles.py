"""Memory profiles as JAX writes them."""

from collections.abc import Sequence
from typing import Any

from toolkit.ingest.jax_memory import VALUES, Profile

Frame = tuple[str, str, int]
# A device, a count, bytes, and a stack from its innermost frame; without a device it is compiled code.
Sample = tuple[str | None, int, int, Sequence[Frame]]


def profile(*samples: Sample, values: Sequence[tuple[str, str]] = VALUES) -> bytes:
    """A profile of these samples."""
    made, texts = Profile(), [""]

    def number(text: str) -> int:
        if text not in texts:
            texts.append(text)
        return texts.index(text)

    for kind, unit in values:
        made.sample_type.add(type=number(kind), unit=number(unit))
    for device, count, size, stack in samples:
        sample: Any = made.sample.add(value=[count, size])
        sample.label.add(key=number("kind"), str=number("buffer" if device else "executable"))
        if device:
            sample.label.add(key=number("device"), str=number(device))
        for name, file, line in stack:
            id_ = len(made.location) + 1
            made.function.add(id=id_, name=number(name), filename=number(file))
            made.location.add(id=id_).line.add(function_id=id_, line=line)
            sample.location_id.append(id_)
    made.string_table.extend(texts)
    return bytes(made.SerializeToString(deterministic=True))
