"""hwprof: run the same workload in several frameworks, and say where its time, memory and energy went.

`from toolkit import profile` records a training loop of your own: docs/your-own-loop.md.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.capture.own import profile

__all__ = ["__version__", "profile"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`profile`, imported on use: every process of hwprof's imports this module."""
    if name == "profile":
        return importlib.import_module("toolkit.capture.own").profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
