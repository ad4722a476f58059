"""emma_gdb_layout.py - what emma's structures are, and the memory that instances can be in.

Where a field lies is taken from the debug information of each copy of emma.c, so that copies with
other build options are read right; what the numbers in them mean is said here once more, and
compared where that can be: see core/emma_layout.h. Memory is only ever read."""
import array
import re

import gdb

PAGE_BYTES = 4096
LINE_BYTES = 64
WORD_BYTES = 8
ADDRESS_MASK = (1 << 64) - 1
UNIT_BYTES = 128
YOUNG_BYTES = 64 << 10
CLASS_STEP_BYTES, LINEAR_CLASSES, LINEAR_BYTES, STEPS = 8, 16, 128, 4
MARK_SHIFT = 4  # a mark of the block map is for so many bytes
MARK_LATE, MARK_SPARE, MARK_FAMILY, MARK_ALIGNED = 0x80, 0x1f, 5, 3
LABEL_FAMILY, LABEL_SHIFT = 3, 2  # emma_label.h
FAMILIES = "malloc", "new", "new[]"
# A heap with so many words for blocks that it keeps has a list of them, for a tool that watches.
DELAYED_WATCHED = 3
FREE, SLAB, FULL, RUN, BODY, YOUNG, HEAP = range(7)  # enum emmai_kind
NO_DEBUG_INFORMATION = (
    "no debug information of emma was found (struct emma, from core/emma.c): compile emma.c with -g, "
    "or give gdb the file that has it (symbol-file, add-symbol-file, set debug-file-directory)")
UNKNOWN_STRUCT = (
    "the struct emma of this program is not the one that this emma_gdb.py knows: take the one that came "
    "with its version of emma")
# Of a mapping's pages so many at a time are looked up.
BATCH_PAGES = 1 << 16
# Of an entry of /proc/PID/pagemap: in memory, or swapped out; and a guard (Linux 6.15), which counts as swapped out.
PRESENT_SHIFT, GUARD_BIT = 62, 1 << 58


# ---- memory and structures ----

def require_memory():
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("there is no process and no core file")


def read(address, count):
    address &= ADDRESS_MASK
    if any(start <= address < end for start, end in left_out()):
        raise gdb.MemoryError(f"Cannot access memory at address {address:#x}")
    return bytes(gdb.selected_inferior().read_memory(address, count))


def read_number(address, count=WORD_BYTES):
    return int.from_bytes(read(address, count), "little")


class Struct:
    """What a struct has where, by the debug information."""

    def __init__(self, kind):
        self.bytes = kind.sizeof
        self.fields = {}
        self._add(kind, 0)

    def _add(self, kind, base):
        for field in kind.fields():
            inner = field.type.strip_typedefs()
            at = base + field.bitpos // 8
            if field.name:
                self.fields[field.name] = (at, inner)
            else:  # an unnamed union
                self._add(inner, at)

    def offset(self, name):
        return self.fields[name][0]

    def count(self, name):
        return self.fields[name][1].range()[1] + 1

    def inner(self, name):
        """The struct that a field is, points to, or has an array of."""
        kind = self.fields[name][1]
        while kind.code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ARRAY):
            kind = kind.target().strip_typedefs()
        return Struct(kind)


class Record:
    """A struct in memory, as it was when it was read."""

    def __init__(self, struct, address, data=None):
        self.struct = struct
        self.address = address
        self.data = read(address, struct.bytes) if data is None else data

    def __getitem__(self, name):
        at, kind = self.struct.fields[name]
        signed = kind.name == "int"
        return int.from_bytes(self.data[at:at + kind.sizeof], "little", signed=signed)

    def item(self, name, index):
        at, kind = self.struct.fields[name]
        size = kind.target().sizeof
        return int.from_bytes(self.data[at + index * size:at + (index + 1) * size], "little")

    def text(self, name):
        at, kind = self.struct.fields[name]
        return self.data[at:at + kind.sizeof].split(b"\0")[0].decode("utf-8", "backslashreplace")


class Layout:
    """The structures of one copy of emma; KeyError or TypeError when they are not as expected."""

    def __init__(self, kind, thread_heaps):
        self.emma = Struct(kind)
        self.slab = self.emma.inner("young")
        self.heap = self.emma.inner("heap")
        self.control = self.emma.inner("control")
        self.checkpoints = self.control.inner("checkpoints")
        self.tag = self.emma.inner("tags_end")
        self.thread_heap = next(found for found in map(Struct, thread_heaps)
                                if found.inner("heap").bytes == self.heap.bytes)
        self.stash = self.thread_heap.inner("stash")
        self.chain = self.thread_heap.inner("outbox")
        self.head_bytes = (PAGE_BYTES - self.emma.bytes) // LINE_BYTES * LINE_BYTES
        self.class_count = self.heap.count("bins")
        # The largest class is of half a chunk; with EMMA_GUARD_PAGES an eighth, as an instance tells.
        self.least_chunk_bytes = 2 * self.class_bytes(self.class_count - 1)
        self.delayed_count = self.heap.count("delayed")
        self.key = (self.emma.bytes, self.class_count, self.delayed_count)
        # A number and its complement, one after the other, tell an instance.
        self.mark = self.emma.offset("region_bytes")
        if (self.emma.count("unit_slab") * UNIT_BYTES != YOUNG_BYTES
                or self.emma.offset("foreign_max") != self.mark + WORD_BYTES):
            raise KeyError("struct emma")

    @staticmethod
    def class_bytes(size_class):
        """As emmai_class_bytes."""
        if size_class <= LINEAR_CLASSES:
            return size_class * CLASS_STEP_BYTES
        doubling, quarter = divmod(size_class - LINEAR_CLASSES - 1, STEPS)
        return (LINEAR_BYTES << doubling) // STEPS * (STEPS + 1 + quarter)


def structs(name):
    """All structs of a name: each copy of emma has its own."""
    symbols = gdb.lookup_static_symbols(name, gdb.SYMBOL_STRUCT_DOMAIN)
    return [symbol.type.strip_typedefs() for symbol in symbols]


def find_layouts():
    """A layout for all copies of emma that have the same."""
    found, unknown = {}, False
    thread_heaps = structs("emmai_thread_heap")
    for kind in structs("emma"):
        try:
            layout = Layout(kind, thread_heaps)
            found[layout.key] = layout
        except (KeyError, TypeError, StopIteration, gdb.error):
            unknown = True
    if unknown and not found:
        raise gdb.GdbError(UNKNOWN_STRUCT)
    if not found:
        raise gdb.GdbError(NO_DEBUG_INFORMATION)
    return list(found.values())


# ---- where instances can be ----

CORE_SECTION = re.compile(r"0x([0-9a-f]+)->0x([0-9a-f]+) at 0x[0-9a-f]+: load\S* (.*)")
MAPPING = re.compile(r"\s*0x([0-9a-f]+)\s+0x([0-9a-f]+)(?:\s+0x[0-9a-f]+){2}(?:\s+([r-]\S{3,4})\b)?\s*(.*)")
# What the kernel calls mappings that can be emma's: files in memory are images of checkpoints.
OWN_NAMES = ("[anon", "/memfd:")


# Of the core file that was asked for last: the number of its connection, and what it leaves out.
last_left_out = (None, [])


def left_out():
    """Writable memory that a core file has nothing of, where gdb reads zeros: mappings of a file in memory to which
    nothing was written."""
    global last_left_out
    connection = gdb.selected_inferior().connection
    if not connection or connection.type != "core":
        return []
    if last_left_out[0] != connection.num:
        last_left_out = (connection.num, [
            (int(start, 16), int(end, 16)) for start, end, flags in CORE_SECTION.findall(core_sections())
            if "HAS_CONTENTS" not in flags and "READONLY" not in flags])
    return last_left_out[1]


def core_ranges(sections):
    for start, end, flags in CORE_SECTION.findall(sections):
        if "HAS_CONTENTS" in flags and "READONLY" not in flags:
            yield int(start, 16), int(end, 16)


def process_ranges(mappings):
    for match in filter(None, map(MAPPING.fullmatch, mappings.splitlines())):
        start, end, access, name = match.groups()
        if (access or "rw").startswith("rw") and (not name or name.startswith(OWN_NAMES)):
            yield int(start, 16), int(end, 16)


def core_sections():
    """What gdb says of the core file that it looks at; empty when that is no core file."""
    sections = gdb.execute("maintenance info sections", to_string=True)
    start = sections.find("Core file")
    return sections[start:] if start >= 0 else ""


def writable_ranges(core):
    """Memory that is writable, and of no file but one in memory: page 0 of each instance is in it."""
    if core:
        return list(core_ranges(core))
    try:
        return list(process_ranges(gdb.execute("info proc mappings", to_string=True)))
    except gdb.error as error:
        raise gdb.GdbError(f"the mappings of this target cannot be listed: {error}")


def open_pagemap():
    """What tells of a process of this machine which pages it has; None for what else gdb looks at."""
    inferior = gdb.selected_inferior()
    connection = getattr(inferior, "connection", None)
    if not connection or connection.type != "native":
        return None
    try:
        return open(f"/proc/{inferior.pid}/pagemap", "rb", buffering=0)
    except OSError:
        return None


def present_pages(start, end, step):
    """The addresses at every step whose page is there, as far as that is known: to read the others would
    make page tables for them in the process."""
    pagemap = open_pagemap()
    if not pagemap:
        yield from range(start, end, step)
        return
    with pagemap:
        for base in range(start, end, BATCH_PAGES * PAGE_BYTES):
            pages = min((end - base) // PAGE_BYTES, BATCH_PAGES)
            pagemap.seek(base // PAGE_BYTES * WORD_BYTES)
            states = array.array("Q", pagemap.read(pages * WORD_BYTES))[::step // PAGE_BYTES]
            if any(states):
                yield from (base + index * step for index, state in enumerate(states)
                            if state >> PRESENT_SHIFT and not state & GUARD_BIT)
