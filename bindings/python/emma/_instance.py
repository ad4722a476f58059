"""Instances of emma's own, for hosts and for trying things out."""

from itertools import count
from typing import Any, List, NamedTuple, Optional

from . import _control
from ._figures import Stats, stats_of
from ._heap import Heap
from ._size import format_size
from ._sandbox import Size, bytes_of, microseconds_of, size_of, text_of


# Of emma.h.
_LEAST_BYTES = 16 << 10
_LEAST_RESERVE_BYTES = 512 << 10
# EMMA_DECAY_NEVER.
_NEVER = 2**64 - 1


class ClassStats(NamedTuple):
    """Figures of a size class; bytes and counts. `free_blocks` are in its slabs, ready."""

    block_bytes: int
    live_blocks: int
    free_blocks: int
    slabs: int
    footprint: int


def classes_of(handle: Any) -> List[ClassStats]:
    """Those that a handle of the control module tells."""
    found: List[ClassStats] = []
    for index in count():
        raw = handle.class_stats(index)
        if not raw.block_bytes:
            return found
        if raw.slabs:
            found.append(ClassStats(raw.block_bytes, raw.live_blocks, raw.free_blocks, raw.slabs, raw.footprint_bytes))
    return found


class Instance(Heap):
    """An instance of the allocator. Addresses are ints; what is at them is not Python's business.

    `limit`: a hard cap; `soft_limit`; `spare`: a part of the limit that is held back until :meth:`use_spare`;
    `reserve`: address space; None: as emma chooses. `shared`: any thread may be inside at any time; `checkpoints`: they can be
    taken; `align8`: blocks are 8-aligned. `decay`: seconds after which free memory goes back; None: never by itself.
    ValueError and TypeError name the parameter; MemoryError where the limit or the system refuses.
    """

    def __init__(self, limit: Optional[Size] = None, *, soft_limit: Optional[Size] = None, spare: Size = 0,
                 reserve: Size = 0, shared: bool = False, checkpoints: bool = False, align8: bool = False,
                 decay: Optional[float] = 0.5, name: str = "python") -> None:
        if limit is not None and bytes_of("limit", limit) < _LEAST_BYTES:
            raise ValueError(f"limit: less than {format_size(_LEAST_BYTES)}")
        if bytes_of("spare", spare) and limit is not None and bytes_of("spare", spare) + _LEAST_BYTES > bytes_of("limit", limit):
            raise ValueError(f"spare: it leaves less than {format_size(_LEAST_BYTES)} of the limit")
        if 0 < bytes_of("reserve", reserve) < _LEAST_RESERVE_BYTES:
            raise ValueError(f"reserve: less than {format_size(_LEAST_RESERVE_BYTES)}")
        if shared and checkpoints:
            raise ValueError("checkpoints: not of a shared instance")
        options = _control.Options()
        options.limit_bytes = size_of("limit", limit)
        options.soft_limit_bytes = size_of("soft_limit", soft_limit)
        options.spare_bytes = bytes_of("spare", spare)
        options.reserve_bytes = bytes_of("reserve", reserve)
        options.flags = (_control.EMMA_SHARED * bool(shared) + _control.EMMA_CHECKPOINTS * bool(checkpoints)
                         + _control.EMMA_ALIGN8 * bool(align8))
        if decay is None:
            options.decay_ms = _NEVER
        else:
            options.decay_ms = microseconds_of("decay", decay) // 1000
        self._handle = _control.Instance(options, text_of("name", name))

    def malloc(self, size: Size) -> int:
        """Allocates; returns the address. MemoryError."""
        return int(self._handle.malloc(bytes_of("size", size)))

    def free(self, address: int) -> None:
        """Frees a block. ValueError where none begins: all blocks are looked at."""
        self._handle.release(address)

    def usable_size(self, address: int) -> int:
        """The bytes of a block. ValueError where none begins."""
        return int(self._handle.usable_size(address))

    def owns(self, address: int) -> bool:
        """Whether an address lies in the instance's region."""
        return bool(self._handle.owns(address))

    def reset(self) -> None:
        """Frees all blocks at once, and drops all checkpoints."""
        self._handle.reset()

    def set_limit(self, limit: Optional[Size]) -> None:
        """MemoryError where more is in use."""
        self._handle.set_limit(size_of("limit", limit))

    def set_soft_limit(self, limit: Optional[Size]) -> None:
        self._handle.set_soft_limit(size_of("limit", limit))

    def use_spare(self, use: bool) -> None:
        """Opens the part of the limit that is held back, or closes it."""
        self._handle.use_spare(bool(use))

    def stats(self) -> Stats:
        """The figures as they are now."""
        return stats_of(self._handle.stats())

    def classes(self) -> List[ClassStats]:
        """Figures of the size classes that have slabs, the smallest first."""
        return classes_of(self._handle)

    def __enter__(self) -> "Instance":
        return self
