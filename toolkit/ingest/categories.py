"""Kernel categories, by the one table of rules in categories.toml."""

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

OTHER = "other"
TABLE = Path(__file__).with_name("categories.toml")


class Rule(NamedTuple):
    """A category, what it covers, and the pattern that finds it in a kernel's name."""

    category: str
    what: str
    pattern: re.Pattern[str]


_ROWS = tomllib.loads(TABLE.read_text(encoding="utf-8"))["rule"]
CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys([*(row["category"] for row in _ROWS), OTHER]))


@cache
def rules() -> tuple[Rule, ...]:
    """The table in its order; the first rule that matches wins."""
    return tuple(Rule(row["category"], row["what"], re.compile(row["pattern"], re.IGNORECASE)) for row in _ROWS)


# Traces name some hundred kernels; the bound keeps one that names millions from filling the memory.
@lru_cache(maxsize=16_384)
def kernel_category(name: str) -> str:
    """The category of a kernel by its name as the profiler gives it; `other` where no rule knows it."""
    for text in (own_name(name), name):
        for rule in rules():
            if rule.pattern.search(text):
                return rule.category
    return OTHER


def own_name(name: str) -> str:
    """The function's name without return type, template arguments and parameters.

    >>> own_name("void at::native::(anonymous namespace)::max_pool_forward_nchw<float, float>(int, float const*)")
    'at::native::max_pool_forward_nchw'
    """
    plain = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    return re.split(r"[<(]", plain, maxsplit=1)[0]
