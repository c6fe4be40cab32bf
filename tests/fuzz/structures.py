"""Changes of an input that keep its form, so that they reach behind the parser."""

import copy
import gzip
import json
import pickletools
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

NASTY: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.0005, 1e30, -1e30, 1e308,
    float("nan"), float("inf"), "", "0", "NaN", "-1", "\x00", "\x1b[31m", "[bold]x[/bold]", "'; DROP TABLE slices; --",
    "../../etc/passwd", "\ud800", "é日😀", '"}]', "]" * 9, "x" * 3000, [], {}, [[]], [{}], [0] * 300,
    "X", "i", "B", "E", "M", "s", "kernel", "cuda_runtime", "gpu_memcpy", "cpu_op", "user_annotation", "[memory]",
    "ProfilerStep#3", "ProfilerStep#99999999999999", "cudaLaunchKernel", "py-spy", "alloc", "free_completed", "oom",
    "segment_alloc", "active_allocated", "inactive", "large", "sampled", "seconds", "dropped 99999999999999999999",
]  # fmt: skip
TEXTS = [
    b"NaN", b"-Infinity", b"1e999", b"0." + b"0" * 400, b"\xff", b"\xef\xbb\xbf", b"[" * 600, b'"a":1,"a":2,', b"\\",
]  # fmt: skip
INSTRUCTIONS = [b"]", b"}", b"(", b")", b"\x94", b"N", b"K\x01", b"u", b"e", b"s", b"a", b"h\x00", b"."]
NUMBERS = [0, 1, 127, 128, 2**31, 2**61, 2**63 - 1, 2**63, 2**64 - 1]


def json_mutated(data: bytes, random: Random) -> bytes:
    """A JSON document with some of its values changed, dropped, doubled or moved; maybe packed, maybe cut off."""
    try:
        document = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (ValueError, OSError, EOFError, RecursionError, zlib.error):
        return damaged(data, random)
    changed = tree_mutated(document, random)
    text = json.dumps(changed, indent=random.choice([None, None, 0, 1]), ensure_ascii=random.random() < 0.5)
    content = text.encode(errors="surrogatepass")
    if random.random() < 0.2:
        content = damaged(content, random)
    if random.random() < 0.1:
        content = gzip.compress(content, 1, mtime=0)
        content = damaged(content, random) if random.random() < 0.3 else content
    return content


def damaged(data: bytes, random: Random) -> bytes:
    """Bytes put in, taken out, or cut off."""
    at = random.randint(0, len(data))
    put = random.choice([*TEXTS, b"", random.randbytes(3)])
    return random.choice([data[:at], data[:at] + put + data[at:], data[:at] + put + data[at + random.randint(1, 9) :]])


def tree_mutated(document: Any, random: Random) -> Any:
    """A few places of a tree of dicts and lists changed."""
    document = copy.deepcopy(document)
    for _ in range(random.randint(1, 4)):
        places = list(_places(document))
        if not places:
            return random.choice(NASTY)
        holder, key = random.choice(places)
        random.choice(_CHANGES)(holder, key, random)
    return document


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    stack = [tree]
    while stack:
        holder = stack.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            stack.append(holder[key])


def _replace(holder: Any, key: Any, random: Random) -> None:
    holder[key] = copy.deepcopy(random.choice(NASTY))


def _drop(holder: Any, key: Any, random: Random) -> None:
    del holder[key]


def _double(holder: Any, key: Any, random: Random) -> None:
    if isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(holder[key])] * random.choice([1, 2, 50])
    else:
        holder[f"{key}{random.choice('xyz')}"] = copy.deepcopy(holder[key])


def _move(holder: Any, key: Any, random: Random) -> None:
    other = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _nudge(holder: Any, key: Any, random: Random) -> None:
    value = holder[key]
    if isinstance(value, int | float):
        part = value / 7 if abs(value) < 1e300 else 0
        holder[key] = random.choice([-value, value + 1, value * 1000, part, str(value)])


_CHANGES: list[Callable[[Any, Any, Random], None]] = [_replace, _replace, _drop, _double, _move, _nudge]


def pickle_mutated(data: bytes, random: Random) -> bytes:
    """A pickle with some instructions dropped, doubled or moved, or with other arguments; nothing is unpickled."""
    places = [0]
    with suppress(Exception):  # what comes before the damage is enough
        places += [place for _, _, place in pickletools.genops(data) if place]
    pieces = [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]
    for _ in range(random.randint(1, 3)):
        at, other = random.randrange(len(pieces)), random.randrange(len(pieces))
        change = random.randrange(5)
        if change == 0:
            del pieces[at : at + random.randint(1, 4)]
        elif change == 1:
            pieces[at:at] = pieces[other : other + random.randint(1, 8)] * random.choice([1, 2, 30])
        elif change == 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif change == 3:
            pieces[at] = pieces[at][:1] + random.randbytes(max(len(pieces[at]) - 1, 0))
        else:
            pieces[at] = random.choice(INSTRUCTIONS)
        pieces = pieces or [b""]
    return b"".join(pieces)


def wire_mutated(data: bytes, random: Random) -> bytes:
    """A protobuf message with some fields dropped, doubled or moved, other numbers, or such changes further in."""
    fields = list(_fields(data))
    if not fields:
        return damaged(data, random)
    at, other = random.randrange(len(fields)), random.randrange(len(fields))
    tag, value = fields[at]
    change = random.randrange(8)
    if change == 0:
        del fields[at]
    elif change == 1:
        fields[at:at] = [fields[other]] * random.choice([1, 2, 50])
    elif change == 2:
        fields[at], fields[other] = fields[other], fields[at]
    elif change == 3:
        fields[at] = (random.choice([tag ^ 8, tag ^ 16, tag ^ 1, 3, 4, tag]), value)
    elif isinstance(value, int):
        fields[at] = (tag, random.choice(NUMBERS))
    else:
        fields[at] = (tag, wire_mutated(value, random) if value else random.randbytes(4))
    return b"".join(_field(tag, value) for tag, value in fields)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of what may be a message; none where it is not."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        wire, length = tag & 7, {1: 8, 5: 4}.get(tag & 7, 0)
        if wire == 0:
            value, at = _number(data, at)
            found.append((tag, value))
            continue
        if wire == 2:
            length, at = _number(data, at)
        if tag < 8 or wire not in {1, 2, 5} or at + length > len(data):
            return
        found.append((tag, data[at : at + length]))
        at += length
    yield from found


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return 0, len(data) + 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(tag: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(tag) + _varint(value)
    return _varint(tag) + (_varint(len(value)) if tag & 7 == 2 else b"") + value
