"""Has a running interpreter take its memory from emma."""

import sys
from typing import Any, Iterable, List, Union

from . import _process

_DOMAINS = {"raw": 1, "mem": 2, "obj": 4}

# Python puts the C library's functions in RAW's place for moments, up to 3.12 whenever an interpreter begins or ends, and
# at its own end: threads without the lock may free a block just then. Where the library is preloaded it mends that.
_USUAL_DOMAINS = ("mem", "obj")


def install(domains: Union[str, Iterable[str]] = _USUAL_DOMAINS) -> bool:
    """Serves Python's memory from emma from now on, for the rest of the process; the domains left out stay as
    they are. "raw" can be named, too: that is safe where no thread uses it without Python's lock while an
    interpreter begins or ends. True if it is so now, False if it was before (then nothing changes). Blocks handed
    out before go back to the allocator that they are from. Where NumPy is loaded, the data of its arrays comes from
    emma, too: see :func:`serve_numpy`. ValueError: no domain, or an unknown one; MemoryError where the system
    refuses memory; TypeError for domains that are no names; RuntimeError while tracemalloc traces,
    and where emma was installed before without one of them; ImportError where the library is missing."""
    bits = _bits_of(domains)
    process = _process.load()
    if _is_traced() and not process.process_is_served():
        raise RuntimeError("tracemalloc is tracing: when it stops, it puts the allocator of before back. "
                           "Call emma.install() before tracemalloc.start()")
    status = process.process_start(bits)
    if status == process.EMMA_NO_MEMORY:
        raise MemoryError("the system refuses emma an instance")
    if status == process.EMMA_INVALID:
        raise ValueError("the domains in EMMA_OPTIONS leave none of these")
    if status not in (process.EMMA_OK, process.EMMA_BUSY):
        raise RuntimeError("this process has no Python that emma could serve")
    left_out = _left_out(bits) if status == process.EMMA_BUSY else []
    if left_out:
        raise RuntimeError(f"emma was installed without {' and '.join(left_out)}: that is for good")
    if status == process.EMMA_OK and "numpy" in sys.modules:
        try:
            serve_numpy()
        except RuntimeError:
            pass  # before 1.22 it cannot be told
    return bool(status == process.EMMA_OK)


def _left_out(bits: int) -> List[str]:
    """Those of the domains that emma was not asked to serve. (In a free-threaded build it cannot serve obj.)"""
    names = []
    for name, bit in _DOMAINS.items():
        look = _process.load().process_look(bit)
        if bits & bit and not look.wanted and not (name == "obj" and "free-threading" in sys.version):
            names.append(name)
    return names


def _is_traced() -> bool:
    try:
        import _tracemalloc  # -X tracemalloc leaves no module behind
    except ImportError:
        return False
    return _tracemalloc.is_tracing()


def _bits_of(domains: Any) -> int:
    if isinstance(domains, (bytes, bytearray)) or not hasattr(domains, "__iter__"):
        raise TypeError(f"domains are a str or several, not {type(domains).__name__}")
    names = [domains] if isinstance(domains, str) else list(domains)
    unknown = [name for name in names if name not in _DOMAINS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no domain: use raw, mem and obj")
    if not names:
        raise ValueError("no domain was named: use raw, mem and obj")
    return sum(_DOMAINS[name] for name in set(names))


def is_installed() -> bool:
    """Whether emma serves Python in this process."""
    return bool(_process.load().process_is_served())


def serve_numpy() -> None:
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
    _process.load().process_serve_numpy(table)
