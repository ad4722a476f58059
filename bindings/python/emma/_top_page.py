"""What a process exports of its instances, read from the page in memory that it keeps: see bindings/emma_export.h.

The page is found by its descriptor in /proc/PID/fd and read, so nothing is asked of the process,
and nothing of the library is needed here. Whatever is in it is checked, as others wrote it; it is
not mapped, as they may shorten it meanwhile.
"""

import codecs
import itertools
import os
import stat
import struct
import time
from typing import Any, Iterator, NamedTuple

from ._text import printable

_LINK = "/memfd:emma-export"
_MAGIC = b"emma-top"
_VERSION = 1
_HEAD = struct.Struct("<8s6I2Q2I16s")
_SLOT = struct.Struct("<IIQ32s16s15Q")
_UNKNOWN = (1 << 64) - 1
_SLOTS_MOST = 1 << 20
_SLOT_BYTES_MOST = 4096
_PAGE_BYTES_MOST = 1 << 28
_PAGES_MOST = 100
_BATCH = 1024  # slots that are read at once
_DECODER = codecs.getincrementaldecoder("utf-8")

# A slot that is just being written, or a page that another is just taking the place of, is looked at again.
_TRIES = 20
_WAIT_SECONDS = 0.002
# Now and then pages are looked for that came later.
_FIND_EVERY = 10

_BROKEN = "what it exports is broken"
HOW_TO_ASK = ("ask for it when the process starts: emma-lua --export, python -m emma run --export, "
              "EMMA_OPTIONS=export=1 for libemma-malloc and libemma-python, emma_export_start() in C")


class TopError(Exception):
    """A process cannot be looked at, and why."""


class Ended(TopError):
    """There is no such process, or no more."""


class ExportsNothing(TopError):
    """The process is there, without a page."""


Key = tuple[int, int]  # of an instance: when its page came to be, and its number there


class Instance(NamedTuple):
    """The figures of one instance; None: no limit, or not known."""

    key: Key
    number: int
    name: str
    kind: str
    limit_bytes: int | None
    soft_limit_bytes: int | None
    spare_bytes: int
    reserve_bytes: int
    footprint_bytes: int
    peak_footprint_bytes: int
    metadata_bytes: int
    retained_bytes: int
    checkpoint_bytes: int
    moved_bytes: int
    returned_bytes: int
    refused_count: int
    reentered_count: int
    live_bytes: int | None
    live_blocks: int | None


_FIRST_FIGURE = Instance._fields.index("limit_bytes")
_MAYBE_NONE = ("limit_bytes", "soft_limit_bytes", "live_bytes", "live_blocks")


def _text(raw: bytes) -> str:
    """A text that ends with a null byte or with its room; there, half a letter is left out."""
    text = raw.split(b"\0", 1)[0]
    is_cut = len(text) >= len(raw) - 1
    return printable(_DECODER("backslashreplace").decode(text, final=not is_cut))


class _Page:
    """One page, which is open."""

    magic: bytes
    version: int
    process: int
    interval_ms: int
    start_ns: int
    fresh_ns: int
    closed: int
    unshown: int
    _begin: int
    _slot_bytes: int
    _slots: int
    _tries = 0

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.read_head()

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, at: int, size: int) -> bytes:
        """TopError where it ends before."""
        data = os.pread(self._descriptor, size, at)
        if len(data) < size:
            raise TopError(_BROKEN)
        return data

    def read_head(self) -> None:
        (self.magic, self.version, self._begin, self._slot_bytes, self._slots, self.process, self.interval_ms,
         self.start_ns, self.fresh_ns, self.closed, self.unshown, emma) = _HEAD.unpack(self._read(0, _HEAD.size))
        self.emma = _text(emma)

    def is_whole(self) -> bool:
        """Whether it is as this version knows it; what is no page at all counts as none."""
        size = min(os.fstat(self._descriptor).st_size, _PAGE_BYTES_MOST)
        return (self.version == _VERSION and _SLOT.size <= self._slot_bytes <= _SLOT_BYTES_MOST
                and self._slots <= _SLOTS_MOST and self._begin + self._slots * self._slot_bytes <= size)

    def _once_more(self, place: int) -> bytes | None:
        """A slot that was being written when it was looked at; None if it still is."""
        at = self._begin + place * self._slot_bytes
        while self._tries > 0:
            self._tries -= 1
            before, slot, after = self._read(at, 4), self._read(at, _SLOT.size), self._read(at, 4)
            if before == after and not before[0] & 1:
                return slot
            time.sleep(_WAIT_SECONDS)
        return None

    def _slots_of(self, first: int, count: int) -> Iterator[bytes]:
        """Those of a batch that are whole."""
        begin, size = self._begin + first * self._slot_bytes, count * self._slot_bytes
        before, data, after = (self._read(begin, size) for _ in range(3))
        for place in range(count):
            at = place * self._slot_bytes
            slot: bytes | None = data[at:at + _SLOT.size]
            if before[at:at + 4] != after[at:at + 4] or before[at] & 1:
                slot = self._once_more(first + place)
            if slot is not None:
                yield slot

    def instances(self) -> Iterator[Instance]:
        self._tries = _TRIES  # for all slots, however many of them stay in the middle
        for first in range(0, self._slots, _BATCH):
            for slot in self._slots_of(first, min(_BATCH, self._slots - first)):
                _, _, number, name, kind, *figures = _SLOT.unpack(slot)
                if number:
                    yield self._instance(number, name, kind, figures)

    def _instance(self, number: int, name: bytes, kind: bytes, figures: list[int]) -> Instance:
        named: dict[str, Any] = dict(zip(Instance._fields[_FIRST_FIGURE:], figures))
        for field in _MAYBE_NONE:
            if named[field] == _UNKNOWN:
                named[field] = None
        return Instance(key=(self.start_ns, number), number=number, name=_text(name), kind=_text(kind), **named)


class Look(NamedTuple):
    """A process as it is at a moment."""

    pid: int
    program: str
    emma: str
    monotonic: float
    up_seconds: float
    resident_bytes: int
    age_seconds: float
    is_stopped: bool
    unshown: int
    instances: tuple[Instance, ...]


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _state(pid: int) -> tuple[str, int]:
    """The letter of its state, and when it started, in ticks since the machine did."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[19])


def program_of(pid: int) -> str:
    """The name that the kernel has for it."""
    try:
        return _text(_read(pid, "comm").rstrip(b"\n"))
    except OSError:
        return "?"


def _status(pid: int) -> dict[bytes, list[bytes]]:
    """What the kernel tells of it, by name."""
    lines = (line.partition(b":") for line in _read(pid, "status").splitlines())
    return {name: values.split() for name, _, values in lines}


def _names_of(pid: int) -> set[int]:
    """The numbers that the process has: another one in each container around it."""
    return {int(number) for number in _status(pid).get(b"NSpid", [])} or {pid}


def _why_denied(pid: int) -> str:
    """What the kernel has against this process's looking at another: see PTRACE_MODE_READ in ptrace(2)."""
    try:
        its, own, its_files = _status(pid), _status(os.getpid()), os.stat(f"/proc/{pid}/fd").st_uid
        its_user, its_rights, own_rights = its[b"Uid"], int(its[b"CapPrm"][0], 16), int(own[b"CapEff"][0], 16)
        user = own[b"Uid"][1]
    except (OSError, KeyError, ValueError, IndexError):
        return "no permission"
    if its_user[:3] != [user] * 3:
        return "no permission: it is another user's"
    if its_files != int(user):
        return "no permission: it lets nobody look at it, as programs that changed their user do (PR_SET_DUMPABLE)"
    more = "has more capabilities than this one, or " if its_rights & ~own_rights else ""
    return f"no permission: it {more}is in another user namespace, or a security module forbids it"


def _open_page(path: str) -> _Page | None:
    """None if it is no page, or is gone. Nothing is waited for, whatever else has such a name."""
    try:
        if not os.readlink(path).startswith(_LINK):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except PermissionError:
        raise
    except OSError:
        return None
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _Page(descriptor)
    except (TopError, OSError):
        pass  # too short for one
    os.close(descriptor)
    return None


def _open_pages(pid: int) -> Iterator[_Page]:
    """All that may be pages of the process."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        page = _open_page(f"{folder}/{name}")
        if page is not None:
            yield page


def _find_pages(pid: int) -> tuple[list[_Page], bool]:
    """The pages that are the process's own: a child has descriptors of its parent's, too, until it closes them."""
    numbers = _names_of(pid)
    found: list[_Page] = []
    other: int | None = None
    changing = False
    try:
        for page in itertools.islice(_open_pages(pid), _PAGES_MOST):
            if page.magic == _MAGIC and page.process in numbers and not page.closed:
                if page.is_whole():
                    found.append(page)
                    continue
                other = page.version
            changing = changing or page.closed != 0 or page.magic != _MAGIC
            page.close()
    except BaseException:
        for page in found:
            page.close()
        raise
    if not found and other is not None:
        raise TopError(f"it exports in another form ({other}; this emma reads {_VERSION}): use the emma that it has")
    return found, changing


class Process:
    """A process that exports. TopError where it cannot be looked at."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.program = program_of(pid)
        self._pages: list[_Page] = []
        self._looks = 0
        try:
            self._state, self._start = _state(pid)
        except (OSError, IndexError):
            raise Ended("there is no such process") from None
        self._find()

    def close(self) -> None:
        for page in self._pages:
            page.close()
        self._pages = []

    def _lives(self) -> bool:
        try:
            self._state, start = _state(self.pid)
        except (OSError, IndexError):
            return False
        return start == self._start and self._state not in "ZX"

    def _find(self) -> None:
        self.close()
        for _ in range(_TRIES):
            try:
                self._pages, changing = _find_pages(self.pid)
            except PermissionError:
                raise TopError(_why_denied(self.pid)) from None
            except OSError:
                raise Ended("it has ended") from None
            if self._pages or not changing:
                break
            time.sleep(_WAIT_SECONDS)
        if not self._pages and not self._lives():
            raise Ended("it has ended")
        if not self._pages:
            raise ExportsNothing(f"it exports nothing; {HOW_TO_ASK}")

    def look(self) -> Look:
        """The figures as they are now."""
        if not self._lives():
            raise Ended("it has ended")
        for page in self._pages:
            page.read_head()
            if not page.is_whole():
                raise TopError(_BROKEN)
        self._looks += 1
        if self._looks % _FIND_EVERY == 0 or any(page.closed for page in self._pages):
            self._find()
        try:
            resident = int(_read(self.pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            raise Ended("it has ended") from None
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        started = self._start / os.sysconf("SC_CLK_TCK")
        instances = tuple(instance for page in self._pages for instance in page.instances())
        return Look(pid=self.pid, program=self.program, emma=self._pages[0].emma, monotonic=now,
                    up_seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - started, resident_bytes=resident,
                    age_seconds=max(0.0, now - max(page.fresh_ns for page in self._pages) / 1e9),
                    is_stopped=self._state in "Tt", unshown=sum(page.unshown for page in self._pages), instances=instances)


def exporting() -> Iterator[Look]:
    """A look at each process that exports and may be looked at."""
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            process = Process(int(name))
        except TopError:
            continue
        try:
            yield process.look()
        except (TopError, OSError, MemoryError):
            continue
        finally:
            process.close()
