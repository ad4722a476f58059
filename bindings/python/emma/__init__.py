"""emma: Python's memory in an instance of its own, which can be capped, measured and looked into.

A program is started with its memory in emma by ``python -m emma run``; a running interpreter switches by
:func:`install`. What Python allocated before stays with the allocator before, and goes back to it.

:class:`Sandbox` and :class:`Pool` run Lua scripts that are not trusted, each in an instance of its own.

Sizes are bytes; where one is taken, a string as ``"24 MB"`` or ``"512M"`` will do too (units of 1024). All
functions may be called from any thread that runs Python code.
"""

from typing import TYPE_CHECKING, Any, List, Optional, Union

from ._errors import (
    Deadline, HeapCorrupt, InstructionLimit, Killed, MemoryLimit, SandboxBroken, SandboxBusy, SandboxClosed,
    SandboxError, ScriptError,
)
from ._figures import Block, Domain, Measurement, Stats, diagnose, measure, owns, stats, trim, walk
from ._install import install, is_installed, serve_numpy
from ._limit import LimitedModule
from ._report import report
from ._size import format_size, parse_size

if TYPE_CHECKING:
    from ._instance import Instance
    from ._pool import Lease, Pool, PoolStats
    from ._sandbox import Sandbox, SandboxStats, SandboxTypes

__all__ = [
    "Block", "Deadline", "Domain", "HeapCorrupt", "Instance", "InstructionLimit", "Killed", "Lease", "Measurement",
    "MemoryLimit", "Pool", "PoolStats", "Sandbox", "SandboxBroken", "SandboxBusy", "SandboxClosed", "SandboxError",
    "SandboxStats", "SandboxTypes", "ScriptError", "Stats", "doctor", "export", "format_size", "install", "is_installed", "limit",
    "measure", "owns", "parse_size", "report", "serve_numpy", "stats", "trim", "walk",
]

__version__: str
limit: Optional[Union[int, str]]

# Loaded when they are asked for, with Lua: programs that are only to be served are not to wait for it.
_LATER = {
    "Instance": "_instance", "Lease": "_pool", "Pool": "_pool", "PoolStats": "_pool", "Sandbox": "_sandbox",
    "SandboxStats": "_sandbox", "SandboxTypes": "_sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return found


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})


def export() -> None:
    """Shows the sandboxes and instances that this process makes from now on to ``emma top``. (The instance that serves
    Python itself is shown where the program is started by ``python -m emma run --export``.) OSError where that cannot
    be."""
    from ._control import show

    try:
        show()
    except MemoryError as error:
        raise OSError(str(error)) from None


def doctor() -> str:
    """Tells who serves Python's memory now, as text of several lines: each domain, how many blocks of the
    allocator before came back to it, and what displaced emma, if something did."""
    return diagnose()


LimitedModule.adopt(__name__)
