"""The library of emma in this process: found, loaded, and its functions with their types."""

import ctypes
import functools
from pathlib import Path

UNLIMITED = (1 << 64) - 1

OK, NO_MEMORY, INVALID, BUSY, UNSUPPORTED, CORRUPT = range(6)

NAME = "libemma-python.so"
NAME_OF_ALL = "libemma-python-all.so"


class LibraryMissing(ImportError):
    """The package is here and its library is not, or cannot be loaded."""


class StatsStruct(ctypes.Structure):
    """emma_stats."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "struct_bytes", "limit_bytes", "soft_limit_bytes", "spare_bytes", "reserve_bytes", "footprint_bytes",
        "peak_footprint_bytes", "metadata_bytes", "retained_bytes", "live_bytes", "live_blocks", "large_bytes",
        "large_blocks", "mapping_count")] + [(name, ctypes.c_uint64) for name in (
            "moved_bytes", "returned_bytes", "refused_count", "reentered_count")]


class BlockStruct(ctypes.Structure):
    """emma_python_block."""

    _fields_ = [("address", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


class DomainStruct(ctypes.Structure):
    """emma_python_domain."""

    _fields_ = [("wanted", ctypes.c_bool), ("serves", ctypes.c_bool), ("older_freed", ctypes.c_uint64),
                ("older_resized", ctypes.c_uint64)]


_FUNCTIONS = {
    "py_emma_version": (ctypes.c_char_p, []),
    "py_emma_get_stats": (None, [ctypes.c_void_p, ctypes.POINTER(StatsStruct)]),
    "py_emma_owns": (ctypes.c_bool, [ctypes.c_void_p, ctypes.c_void_p]),
    "emma_python_has_one_heap": (ctypes.c_bool, []),
    "emma_python_trim": (ctypes.c_size_t, []),
    "emma_python_check": (ctypes.c_int, []),
    "py_emma_python_look": (None, [ctypes.c_uint, ctypes.POINTER(DomainStruct)]),
    "emma_python_start": (ctypes.c_int, [ctypes.c_uint]),
    "emma_python_instance": (ctypes.c_void_p, []),
    "emma_python_set_limit": (ctypes.c_int, [ctypes.c_size_t, ctypes.c_size_t]),
    "emma_python_restart_peak": (ctypes.c_size_t, [ctypes.c_size_t]),
    "emma_python_list_blocks": (ctypes.c_size_t, [ctypes.POINTER(BlockStruct), ctypes.c_size_t]),
    "emma_python_numpy_handler": (ctypes.c_void_p, []),
}


def path_of(name):
    """The file of a library of this package."""
    return Path(__file__).resolve().parent / name


def load():
    """The library that was preloaded, or else the package's own. Its functions are called with Python's lock
    held, as they change what serves Python. LibraryMissing where there is none."""
    return _load()


@functools.lru_cache(maxsize=None)
def _load():
    process = ctypes.PyDLL(None)
    library = process if hasattr(process, "emma_python_instance") else _open(path_of(NAME))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _open(path):
    try:
        return ctypes.PyDLL(str(path))
    except OSError as error:
        raise LibraryMissing(f"emma's library cannot be loaded: {error}") from None
