"""``emma.limit``, an attribute of the package that can be set."""

import sys
import types

from . import _library
from ._figures import instance, stats
from ._size import format_size, parse_size

# As the library's own: see emma-malloc-options.c.
_SPARE_SHARE = 4
_SPARE_MOST_BYTES = 4 << 20


class LimitedModule(types.ModuleType):
    """The package, with an attribute that is a property."""

    @property
    def __version__(self):
        return _library.load().py_emma_version().decode()

    @property
    def limit(self):
        """The hard cap on Python's memory in bytes, None for none, or where emma does not serve it. Setting it takes a
        size, or None. ValueError where that is too small to live with; MemoryError where so much is in use already,
        even after a trim; RuntimeError where emma does not serve Python."""
        return stats().limit if _library.load().emma_python_instance() else None

    @limit.setter
    def limit(self, size):
        instance()
        limit = _library.UNLIMITED if size is None else parse_size(size)
        spare = 0 if size is None else min(limit // _SPARE_SHARE, _SPARE_MOST_BYTES)
        library = _library.load()
        status = library.emma_python_set_limit(limit, spare)
        if status == _library.NO_MEMORY:
            library.emma_python_trim()
            status = library.emma_python_set_limit(limit, spare)
        if status == _library.NO_MEMORY:
            used = format_size(stats().footprint)
            raise MemoryError(f"the limit {format_size(limit)} is below what is in use: {used}")
        if status != _library.OK:
            raise ValueError(f"the limit {format_size(limit)} is too small")

    @classmethod
    def adopt(cls, name):
        """Makes a module one of this class."""
        sys.modules[name].__class__ = cls
