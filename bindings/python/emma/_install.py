"""Has a running interpreter take its memory from emma."""

import ctypes
import sys

from . import _library

_DOMAINS = {"raw": 1, "mem": 2, "obj": 4}

# Of NumPy's table of functions for C: NEP 49, NumPy 1.22 and later.
_SET_HANDLER = 304
_HANDLER_NAME = b"mem_handler"

# Python puts the C library's functions in RAW's place for moments, up to 3.12 whenever an interpreter begins or ends, and
# at its own end: threads without the lock may free a block just then. Where the library is preloaded it mends that.
_USUAL_DOMAINS = ("mem", "obj")


def install(domains=_USUAL_DOMAINS):
    """Serves Python's memory from emma from now on, for the rest of the process; the domains left out stay as
    they are. "raw" can be named, too: that is safe where no thread uses it without Python's lock while an
    interpreter begins or ends. True if it is so now, False if it was before (then nothing changes). Blocks handed
    out before go back to the allocator that they are from. Where NumPy is loaded, the data of its arrays comes from
    emma, too: see :func:`serve_numpy`. ValueError: no domain, or an unknown one; MemoryError where the system
    refuses memory; TypeError for domains that are no names; RuntimeError while tracemalloc traces,
    and where emma was installed before without one of them; ImportError where the library is missing."""
    bits = _bits_of(domains)
    library = _library.load()
    if _is_traced() and not library.emma_python_instance():
        raise RuntimeError("tracemalloc is tracing: when it stops, it puts the allocator of before back. "
                           "Call emma.install() before tracemalloc.start()")
    status = library.emma_python_start(bits)
    if status == _library.NO_MEMORY:
        raise MemoryError("the system refuses emma an instance")
    if status == _library.INVALID:
        raise ValueError("the domains in EMMA_OPTIONS leave none of these")
    if status not in (_library.OK, _library.BUSY):
        raise RuntimeError("this process has no Python that emma could serve")
    left_out = _left_out(bits) if status == _library.BUSY else []
    if left_out:
        raise RuntimeError(f"emma was installed without {' and '.join(left_out)}: that is for good")
    if status == _library.OK and "numpy" in sys.modules:
        try:
            serve_numpy()
        except RuntimeError:
            pass  # before 1.22 it cannot be told
    return status == _library.OK


def _left_out(bits):
    """Those of the domains that emma was not asked to serve. (In a free-threaded build it cannot serve obj.)"""
    names = []
    for name, bit in _DOMAINS.items():
        look = _library.DomainStruct()
        _library.load().py_emma_python_look(bit, ctypes.byref(look))
        if bits & bit and not look.wanted and not (name == "obj" and "free-threading" in sys.version):
            names.append(name)
    return names


def _is_traced():
    try:
        import _tracemalloc  # -X tracemalloc leaves no module behind
    except ImportError:
        return False
    return _tracemalloc.is_tracing()


def _bits_of(domains):
    if isinstance(domains, (bytes, bytearray)) or not hasattr(domains, "__iter__"):
        raise TypeError(f"domains are a str or several, not {type(domains).__name__}")
    names = [domains] if isinstance(domains, str) else list(domains)
    unknown = [name for name in names if name not in _DOMAINS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no domain: use raw, mem and obj")
    if not names:
        raise ValueError("no domain was named: use raw, mem and obj")
    return sum(_DOMAINS[name] for name in set(names))


def is_installed():
    """Whether emma serves Python in this process."""
    return bool(_library.load().emma_python_instance())


def serve_numpy():
    """Serves the data of NumPy's arrays, as far as the calling thread, or rather its context, makes them: NumPy
    keeps its handler in a context variable. RuntimeError before :func:`install`, or with a NumPy before 1.22;
    ImportError where there is none."""
    if not is_installed():
        raise RuntimeError("emma does not serve this process: call emma.install() first")
    import numpy

    try:
        from numpy._core._multiarray_umath import _ARRAY_API as table
    except ImportError:
        from numpy.core._multiarray_umath import _ARRAY_API as table
    if tuple(int(part) for part in numpy.__version__.split(".")[:2]) < (1, 22):
        raise RuntimeError(f"NumPy {numpy.__version__} cannot be told where its data comes from: 1.22 can")
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    functions = ctypes.cast(api.PyCapsule_GetPointer(table, None), ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(functions[_SET_HANDLER])
    handler = _library.load().emma_python_numpy_handler()
    set_handler(api.PyCapsule_New(handler, _HANDLER_NAME, None))
