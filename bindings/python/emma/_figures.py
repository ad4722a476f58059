"""What can be seen of the instance that serves Python."""

import os
from typing import Any, Dict, List, NamedTuple, Optional

from . import _process
from ._size import format_size


class Stats(NamedTuple):
    """Figures of the instance; bytes, but for the counts. The footprint is the memory taken into use: live blocks,
    free ones, and emma's own state."""

    limit: Optional[int]
    soft_limit: Optional[int]
    spare: int
    reserve: int
    footprint: int
    peak_footprint: int
    metadata: int
    retained: int
    live_bytes: int
    live_blocks: int
    large_bytes: int
    large_blocks: int
    moved_bytes: int
    returned_bytes: int
    refused_count: int
    reentered_count: int
    abandoned: int


class Block(NamedTuple):
    """A live block: its address, and the bytes that may be used in it."""

    address: int
    bytes: int


class Domain(NamedTuple):
    """How a domain is served: whether emma was asked to and does, and how many blocks of the allocator before went
    back to it, freed and resized."""

    wanted: bool
    serves: bool
    older_freed: int
    older_resized: int


def require_served() -> Any:
    """The process's functions; RuntimeError where emma does not serve Python."""
    process = _process.load()
    if not process.process_is_served():
        raise RuntimeError("emma does not serve this process: start it by `python -m emma run`, or call emma.install()")
    return process


def stats_of(raw: Any) -> Stats:
    """The figures that the control module tells."""
    return Stats(raw.limit_bytes, raw.soft_limit_bytes, raw.spare_bytes, raw.reserve_bytes,
                 raw.footprint_bytes, raw.peak_footprint_bytes, raw.metadata_bytes, raw.retained_bytes,
                 raw.live_bytes, raw.live_blocks, raw.large_bytes, raw.large_blocks, raw.moved_bytes,
                 raw.returned_bytes, raw.refused_count, raw.reentered_count, raw.abandoned_bytes)


def stats() -> Stats:
    """The figures as they are now. Takes time with the memory in use: some microseconds for each MiB."""
    return stats_of(require_served().process_stats())


def trim() -> int:
    """Gives memory that is free back to the system; returns how many bytes that were."""
    return int(require_served().process_trim())


def owns(obj: object) -> bool:
    """Whether an object lies in emma's memory. Small integers, None, types written in C and what was made before
    :func:`install` do not."""
    return bool(require_served().process_owns(obj))


def walk() -> List[Block]:
    """The live blocks, as a list of :class:`Block` in the order of their addresses. RuntimeError while other threads
    have heaps of their own: they may allocate without Python's lock."""
    blocks = require_served().process_walk()
    if blocks is None:
        raise RuntimeError("other threads have heaps in emma's memory: it can be walked when they have ended")
    return [Block(*block) for block in blocks]


class Measurement:
    """What a ``with`` block allocated and kept (`bytes`, `blocks`; less than 0: freed more), and the most by which
    the memory taken from the system rose (`peak`). What fitted into gaps between blocks of before did not make it rise;
    but it is never below `bytes`. None before its end."""

    bytes: Optional[int] = None
    blocks: Optional[int] = None
    peak: Optional[int] = None
    _before: Optional[Stats] = None

    def __enter__(self) -> "Measurement":
        process = require_served()
        process.process_trim()
        self._before = stats()
        self._peak_before: int = process.process_restart_peak(0)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._before is None:
            raise RuntimeError("this measurement was not begun: use it in a with statement")
        process = _process.load()
        peak = int(process.process_restart_peak(self._peak_before))
        after = stats()
        self.bytes = after.live_bytes - self._before.live_bytes
        self.blocks = after.live_blocks - self._before.live_blocks
        self.peak = max(0, peak - self._before.footprint, self.bytes)
        process.process_restart_peak(max(peak, self._peak_before))


def measure() -> Measurement:
    """Measures a block of code: ``with emma.measure() as m: ...``, then ``m.bytes``, ``m.blocks``, ``m.peak``. All
    threads count. Measurements may be nested."""
    require_served()
    return Measurement()


def domains() -> Dict[str, Domain]:
    """How each domain is served: a dict of :class:`Domain` by "raw", "mem" and "obj"."""
    found = {}
    for bit, name in ((1, "raw"), (2, "mem"), (4, "obj")):
        out = _process.load().process_look(bit)
        found[name] = Domain(out.wanted, out.serves, out.older_freed, out.older_resized)
    return found


def _why_displaced() -> str:
    if os.environ.get("PYTHONMALLOC"):
        return f"PYTHONMALLOC={os.environ['PYTHONMALLOC']} chose another allocator: unset it"
    import sys
    if sys.flags.dev_mode:
        return "Python's development mode (-X dev, PYTHONDEVMODE) chose another allocator"
    return "another library set its own allocator later"


def diagnose() -> str:
    """The text of :func:`emma.doctor`."""
    process = _process.load()
    if not process.process_is_served():
        return "emma does not serve this process"
    now = stats()
    lines = [f"emma {process.process_version()}: footprint {format_size(now.footprint)}, "
             f"limit {format_size(now.limit)}"]
    displaced = False
    for name, domain in domains().items():
        state = "emma" if domain.serves else "displaced" if domain.wanted else "Python's own"
        displaced = displaced or (domain.wanted and not domain.serves)
        lines.append(f"  {name}: {state}; of the allocator before, {domain.older_freed} blocks came back and "
                     f"{domain.older_resized} were resized")
    if displaced:
        lines.append(f"  {_why_displaced()}")
    lines.append("  threads: " + ("one heap for all, under Python's lock" if process.process_has_one_heap()
                                  else "a heap each"))
    state = {process.EMMA_OK: "sound", process.EMMA_CORRUPT: "CORRUPT"}.get(process.process_check(),
                                                                            "not checked: other threads use it")
    lines.append(f"  heap: {state}")
    return "\n".join(lines)
