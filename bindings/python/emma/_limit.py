"""``emma.limit``, an attribute of the package that can be set."""

import sys
import types
from typing import Any, Optional, Union

from . import _process
from ._figures import require_served, stats
from ._size import format_size, parse_size

# As the library's own: see emma-malloc-options.c.
_SPARE_SHARE = 4
_SPARE_MOST_BYTES = 4 << 20


class LimitedModule(types.ModuleType):
    """The package, with an attribute that is a property."""

    @property
    def __version__(self) -> str:
        return str(_process.load().process_version())

    @property
    def limit(self) -> Any:  # an int or None; what is set may be text
        """The hard cap on Python's memory in bytes, None for none, or where emma does not serve it. Setting it takes a
        size, or None. ValueError where that is too small to live with; MemoryError where so much is in use already,
        even after a trim; RuntimeError where emma does not serve Python."""
        return stats().limit if _process.load().process_is_served() else None

    @limit.setter
    def limit(self, size: Optional[Union[int, str]]) -> None:
        process = require_served()
        limit = None if size is None else parse_size(size)
        spare = 0 if limit is None else min(limit // _SPARE_SHARE, _SPARE_MOST_BYTES)
        status = process.process_set_limit(limit, spare)
        if status == process.EMMA_NO_MEMORY:
            process.process_trim()
            status = process.process_set_limit(limit, spare)
        if status == process.EMMA_NO_MEMORY:
            used = format_size(stats().footprint)
            raise MemoryError(f"the limit {format_size(limit)} is below what is in use: {used}")
        if status != process.EMMA_OK:
            raise ValueError(f"the limit {format_size(limit)} is too small")

    @classmethod
    def adopt(cls, name: str) -> None:
        """Makes a module one of this class."""
        sys.modules[name].__class__ = cls
