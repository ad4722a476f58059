"""emma: Python's memory in an instance of its own, which can be capped, measured and looked into.

A program is started with its memory in emma by ``python -m emma run``; a running interpreter switches by
:func:`install`. What Python allocated before stays with the allocator before, and goes back to it.

Sizes are bytes; where one is taken, a string as ``"24 MB"`` or ``"512M"`` will do too (units of 1024). All
functions may be called from any thread that runs Python code.
"""

from ._figures import Block, Domain, Measurement, Stats, diagnose, measure, owns, stats, trim, walk
from ._install import install, is_installed, serve_numpy
from ._limit import LimitedModule
from ._size import format_size, parse_size

__all__ = [
    "Block", "Domain", "Measurement", "Stats", "doctor", "format_size", "install", "is_installed", "limit",
    "measure", "owns", "parse_size", "serve_numpy", "stats", "trim", "walk",
]


def doctor():
    """Tells who serves Python's memory now, as text of several lines: each domain, how many blocks of the
    allocator before came back to it, and what displaced emma, if something did."""
    return diagnose()


LimitedModule.adopt(__name__)
