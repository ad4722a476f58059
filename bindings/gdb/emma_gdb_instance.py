"""emma_gdb_instance.py - instances of emma as they lie in memory: chunks, slabs, heaps, lists.

The process may have stopped anywhere, inside emma too: each list ends where it leads to what is no
block, and no count is taken for more than there can be."""
import struct

import gdb

from emma_gdb_layout import (ADDRESS_MASK, BODY, CLASS_STEP_BYTES, DELAYED_WATCHED, FAMILIES, FREE, FULL,
                             LABEL_FAMILY, LABEL_SHIFT, MARK_ALIGNED, MARK_FAMILY, MARK_LATE, MARK_SHIFT, MARK_SPARE,
                             PAGE_BYTES, RUN, SLAB, UNIT_BYTES, WORD_BYTES, YOUNG, YOUNG_BYTES, Record, core_sections,
                             find_layouts, present_pages, read, read_number, require_memory, writable_ranges)

TWO_WORDS = struct.Struct("<QQ")
NO_PAGE = bytes(PAGE_BYTES)
CHUNK_NUMBER_BYTES = 4
OWNER_SHIFT = 32  # of a heap's owner: the thread's id for the kernel


def family_of(mark):
    return (mark & ~MARK_LATE) >> MARK_FAMILY


def count_marks(marks):
    """Marks in a part of the block map: one with MARK_ALIGNED has a second byte."""
    count = i = 0
    while i < len(marks):
        count += marks[i] != 0
        i += 2 if family_of(marks[i]) == MARK_ALIGNED else 1
    return count


class Heap:
    """What allocates: a local instance's own, or a thread's of a shared one."""

    def __init__(self, instance, number, address):
        layout = instance.layout
        self.instance, self.layout, self.number, self.address = instance, layout, number, address
        self.record = Record(layout.heap, address)
        self.thread = Record(layout.thread_heap, address) if instance.shared else None
        self.is_inside = self.record["gate"] == 0

    def bin(self, size_class):
        return self.record.item("bins", size_class)

    def head(self, size_class):
        return self.record.item("heads", size_class)

    def stash(self, size_class):
        at = self.layout.thread_heap.offset("stash") + size_class * self.layout.stash.bytes
        return Record(self.layout.stash, self.address + at)["blocks"]

    def outbox(self):
        at = self.address + self.layout.thread_heap.offset("outbox")
        for index in range(self.layout.thread_heap.count("outbox")):
            yield Record(self.layout.chain, at + index * self.layout.chain.bytes)["first"]

    def delayed(self):
        """Blocks that were freed and wait to be used again (EMMA_DELAYED_REUSE)."""
        count = self.layout.delayed_count
        if count == DELAYED_WATCHED:
            return list(self.instance.walk(self.record.item("delayed", 0)))
        return [block for block in (self.record.item("delayed", i) for i in range(count)) if block]

    def text(self):
        thread = self.thread["owner"] >> OWNER_SHIFT
        return f"heap {self.number} at {self.address:#x}: " \
               f"{f'thread {thread}' if thread else 'no thread'}, " \
               f"{'inside a call' if self.is_inside else 'idle'}"


class Slab:
    """A slab; its number is its chunk's, or negative for a young one."""

    def __init__(self, instance, number):
        self.instance, self.number = instance, number
        self.entry = instance.entry(number)
        self.size_class = self.entry["size_class"]
        self.block_bytes = instance.layout.class_bytes(self.size_class)
        self.carved, self.blocks = self.entry["carved"], self.entry["blocks"]
        if self.is_young():
            self.address = instance.origin + self.entry["first_unit"] * UNIT_BYTES
        else:
            self.address = instance.chunk_start(number)

    def is_young(self):
        return self.number < 0

    def owner(self):
        """Number of the heap that it belongs to."""
        return 0 if self.is_young() else self.instance.owner(self.number)

    def has(self, block):
        """Whether a block, if it is one, is one of its carved ones."""
        return 0 <= block - self.address < self.carved * self.block_bytes

    def live(self):
        """As emmai_walk_live: those that are out without those that a heap keeps though they were freed. Where a list
        cannot be read, those that have a mark."""
        out = self.out() - sum(self.has(block) for block in self.instance.delayed())
        marked = self.marked() if self.instance.is_partial and self.instance.has_marks else None
        return max(out, 0) if marked is None else marked

    def marked(self):
        """Its blocks that the map of blocks says are live; None: that cannot be read."""
        first = (self.address - self.instance.origin) >> MARK_SHIFT
        end = (self.address + self.carved * self.block_bytes - 1 - self.instance.origin) >> MARK_SHIFT
        try:
            marks = read(self.instance.page["block_map"] + first, end + 1 - first)
        except gdb.MemoryError:
            self.instance.is_doubtful = True
            return None
        return count_marks(bytes(marks))

    def out(self):
        """As emmai_walk_out: blocks that are neither in its list nor in the bin that it serves."""
        if self.entry["kind"] == FULL:
            return self.carved
        heap = self.instance.heap_of_head(self.entry.address)
        binned = 0
        for block in self.instance.walk(heap.bin(self.size_class) if heap else 0):
            if not self.has(block):
                break
            binned += 1
        return min(max(self.entry["plain_frees"] + 1 - binned, 0), self.carved)


class Instance:
    """An instance, as it was when it was looked for."""

    @staticmethod
    def is_mark(memory, offset=0):
        """Whether the words by which an instance is known are there."""
        region_bytes, foreign_max = TWO_WORDS.unpack_from(memory, offset)
        return region_bytes and foreign_max == region_bytes ^ ADDRESS_MASK

    @classmethod
    def at(cls, layout, address):
        """The instance at an address; None where there is none."""
        try:
            if not cls.is_mark(read(address + layout.mark, TWO_WORDS.size)):
                return None
            instance = cls(layout, address)
        except gdb.MemoryError:
            return None
        return instance if instance.is_sound() else None

    def __init__(self, layout, address):
        self.layout, self.address = layout, address
        self.page = Record(layout.emma, address)
        self.control = Record(layout.control, self.page["control"])
        self.origin = address - layout.head_bytes
        self.region_bytes = self.page["region_bytes"]
        self.chunk_bytes = self.region_bytes // max(self.page["chunk_count"], 1)
        self.chunk_shift = self.chunk_bytes.bit_length() - 1
        self.guard_bytes = PAGE_BYTES if self.chunk_bytes > layout.least_chunk_bytes else 0
        self.has_marks = self.page["block_map"] != self.page["chunk_map"]  # EMMA_CHECKS
        self.shared = bool(self.page["shared"])
        self.name = self.control.text("name")
        self.is_partial = False  # a list led to memory that cannot be read: a core file may leave some out
        self.is_doubtful = not self.has_marks  # nor does the map of blocks tell
        self._heaps = self._heads = self._delayed = None

    def is_sound(self):
        """Whether it is one, and not a copy of page 0, such as checkpoints have."""
        mapping = self.control["mapping"]
        return (self.chunk_bytes in (self.layout.least_chunk_bytes, 4 * self.layout.least_chunk_bytes)
                and self.page["chunk_count"] * self.chunk_bytes == self.region_bytes
                and self.origin % self.chunk_bytes == 0
                and mapping <= self.page["page_map"] < self.origin
                and self.origin + self.region_bytes <= mapping + self.control["mapping_bytes"])

    def text(self):
        return f'{self.address:#x} "{self.name}"'

    def kind(self):
        return "shared" if self.shared else "checkpoints" if self.control["checkpoints"] else "local"

    def state(self):
        """Whether a call is inside."""
        try:
            inside = sum(heap.is_inside for heap in self.heaps())
        except gdb.MemoryError:
            return "heaps cannot be read"
        if not inside:
            return "idle"
        return f"{inside} of {len(self.heaps())} heaps inside a call" if self.shared else "inside a call"

    def owns(self, address):
        return 0 <= address - self.origin < self.region_bytes

    # ---- chunks ----

    def chunk_of(self, address):
        return (address - self.origin) >> self.chunk_shift

    def chunk_start(self, chunk):
        return self.origin + (chunk << self.chunk_shift)

    def chunks_of(self, run_bytes):
        return max(-(-(run_bytes + self.guard_bytes) >> self.chunk_shift), 1)

    def is_accessible(self, chunk):
        return (chunk < self.control["low_committed"]
                or self.page["run_zone"] <= chunk < self.control["run_committed"])

    def entry_address(self, number):
        return self.address - ((number + 1) << self.page["entry_shift"])

    def entry(self, number):
        return Record(self.layout.slab, self.entry_address(number))

    def entries(self):
        """The chunks behind the young area that were ever used, with their entries."""
        first_slab = YOUNG_BYTES >> self.chunk_shift
        for first, end in ((first_slab, self.page["low_end"]),
                           (self.page["run_zone"], self.page["run_end"])):
            if first >= end:
                continue
            low = self.entry_address(end - 1)
            size = self.layout.slab.bytes
            data = read(low, self.entry_address(first) + size - low)
            for chunk in range(first, end):
                at = self.entry_address(chunk) - low
                yield chunk, Record(self.layout.slab, low + at, data[at:at + size])

    def run_of(self, chunk):
        """The first chunk of the run that a chunk belongs to; None: of none."""
        while self.entry(chunk)["kind"] == BODY:
            chunk -= 1
        return chunk if self.entry(chunk)["kind"] == RUN else None

    def slabs(self):
        for index in range(self.page["young_count"]):
            yield Slab(self, -1 - index)
        for chunk, entry in self.entries():
            if entry["size_class"] and entry["kind"] in (SLAB, FULL):
                yield Slab(self, chunk)

    def runs(self):
        return ((chunk, entry) for chunk, entry in self.entries() if entry["kind"] == RUN)

    def free_chunks(self):
        """Free chunks that keep memory, in rows: the first, how many, their pages."""
        row = None
        for chunk, entry in self.entries():
            if entry["kind"] != FREE or not entry["resident"]:
                continue
            if row and row[0] + row[1] == chunk:
                row = (row[0], row[1] + 1, row[2] + entry["resident"])
                continue
            if row:
                yield row
            row = (chunk, 1, entry["resident"])
        if row:
            yield row

    def slab_of(self, address):
        """The slab that an address lies in; None: in none."""
        chunk = self.chunk_of(address)
        entry = self.entry(chunk)
        if entry["kind"] == YOUNG:
            number = self.page.item("unit_slab", (address - self.origin) // UNIT_BYTES)
            return Slab(self, -number) if number else None
        return Slab(self, chunk) if entry["size_class"] else None

    # ---- heaps ----

    def heaps(self):
        if self._heaps is None:
            self._heaps = list(self._find_heaps())
        return self._heaps

    def _find_heaps(self):
        if not self.shared:
            yield Heap(self, 0, self.address + self.layout.emma.offset("heap"))
            return
        for number in range(1, self.control["heap_count"] + 1):
            chunk = read_number(self.page["heap_chunks"] + CHUNK_NUMBER_BYTES * number,
                                CHUNK_NUMBER_BYTES)
            if chunk:
                yield Heap(self, number, self.chunk_start(chunk))

    def heap_of_head(self, entry_address):
        """The heap in which a slab is the head of its ring; None: in none."""
        if self._heads is None:
            classes = range(self.layout.class_count)
            self._heads = {heap.head(i): heap for heap in self.heaps() for i in classes}
        return self._heads.get(entry_address)

    def owner(self, chunk):
        """Number of the heap that a chunk belongs to."""
        if not self.shared:
            return 0
        at = self.page["tags_end"] - (chunk + 1) * self.layout.tag.bytes
        return Record(self.layout.tag, at)["owner"]

    # ---- lists of free blocks ----

    def link(self, block):
        """As emmai_link_peek: the next block of its list."""
        link = read_number(block)
        if not self.page["link_factor"]:
            return link
        return (link * self.page["link_inverse"] & ADDRESS_MASK) ^ self.page["link_salt"] ^ block

    def walk(self, block):
        """The blocks of a list."""
        seen = set()
        while (self.owns(block) and block not in seen and block % CLASS_STEP_BYTES == 0
               and self.is_accessible(self.chunk_of(block))):
            yield block
            seen.add(block)
            try:
                block = self.link(block)
            except gdb.MemoryError:
                self.is_partial = True
                return

    def lists_under_way(self, size_class):
        """Lists of a shared instance with blocks that others than their slab's owner freed."""
        for heap in self.heaps():
            yield f"kept by heap {heap.number}, which freed it", heap.stash(size_class)
            for first in heap.outbox():
                yield f"freed by heap {heap.number}, not sent home yet", first
            yield f"sent home to heap {heap.number}", heap.thread["returned"]

    def delayed(self):
        """The blocks that heaps keep though they were freed."""
        if self._delayed is None:
            self._delayed = [block for heap in self.heaps() for block in heap.delayed()]
        return self._delayed

    def lists_of(self, slab):
        """What a free block of a slab, or None: a run, can be in, with its first block."""
        yield "by a signal handler, put off", self.page["deferred"]
        if not slab:
            return
        yield "in its slab's list", slab.entry["free"]
        for heap in self.heaps():
            yield "in the bin" + (f" of heap {heap.number}" if self.shared else ""), heap.bin(slab.size_class)
        if self.shared:
            yield from self.lists_under_way(slab.size_class)

    def place_of(self, block, slab):
        """Where a block is, if it is free; None: in none of the lists, as far as they can be read."""
        for where, first in self.lists_of(slab):
            if block in self.walk(first):
                return where
        return "kept for a while before it is used again" if block in self.delayed() else None

    def state_of(self, block, usable, slab=None):
        """Whether a block of a slab, or a run, is live; where it is if it is free."""
        mark = self.mark_of(block)
        if mark:
            return "live" + self.asked_text(block, usable, mark)
        where = self.place_of(block, slab)
        unread = "a list leads to memory that cannot be read" if self.is_partial else None
        if where or mark == 0:
            return f"free ({where or unread or 'in no list'})"
        return f"live, or free ({unread})" if unread else "live"

    # ---- the map of blocks (EMMA_CHECKS) ----

    def mark_address(self, block):
        return self.page["block_map"] + ((block - self.origin) >> MARK_SHIFT)

    def mark_of(self, block):
        """The mark of a block; 0: it is free; None: nobody knows."""
        if not self.has_marks:
            return None
        try:
            mark = read_number(self.mark_address(block), 1)
        except gdb.MemoryError:
            return None
        late = block & CLASS_STEP_BYTES != 0  # it starts in the second half of what the mark is for
        return mark if bool(mark & MARK_LATE) == late else 0

    def asked_text(self, block, usable, mark):
        """How many bytes were asked for of a block that has so many, and of which family if not of malloc's."""
        spare, label = (mark & MARK_SPARE) - 1, family_of(mark)
        try:
            asked = usable - spare if mark & MARK_SPARE != MARK_SPARE else read_number(block + usable - WORD_BYTES)
            if label == MARK_ALIGNED:
                label = read_number(self.mark_address(block) + 1, 1)
        except gdb.MemoryError:
            return ""
        return f", {asked} bytes asked for{self.label_text(label)}"

    @staticmethod
    def label_text(label):
        family, log2 = label & LABEL_FAMILY, (label >> LABEL_SHIFT) - 1
        if family >= len(FAMILIES):
            return ""  # was written to
        aligned = f" aligned to {1 << log2}" if 0 <= log2 < 64 else ""
        return f" of {FAMILIES[family]}{aligned}" if family or aligned else ""

    # ---- blocks under way ----

    def count_under_way(self):
        """Blocks and bytes of a shared instance that are free, but out for their slabs."""
        blocks = total = 0
        for first in self._firsts_under_way():
            for block in self.walk(first):
                entry = self.entry(self.chunk_of(block))
                if entry["size_class"]:
                    blocks += 1
                    total += self.layout.class_bytes(entry["size_class"])
        return blocks, total

    def _firsts_under_way(self):
        for heap in self.heaps():
            yield heap.thread["returned"]
            yield from heap.outbox()
            for size_class in range(1, self.layout.class_count):
                yield heap.stash(size_class)
                first = heap.bin(size_class)  # of the head, or it was a stash
                if self.owns(first) and \
                        heap.head(size_class) != self.entry_address(self.chunk_of(first)):
                    yield first


def page_at(address):
    """What is on a page; NO_PAGE where it cannot be read."""
    try:
        return read(address, PAGE_BYTES)
    except gdb.MemoryError:
        return NO_PAGE


def search(layouts, core):
    """Where instances are, each with its layout: page 0 is at a multiple of a chunk."""
    step = min(layout.least_chunk_bytes for layout in layouts)
    for start, end in writable_ranges(core):
        for origin in present_pages(-(-start // step) * step, end, step):
            page = page_at(origin)
            for layout in layouts:
                address = origin + layout.head_bytes
                if Instance.is_mark(page, layout.head_bytes + layout.mark) and Instance.at(layout, address):
                    yield address, layout


# Which process or core file was searched last, and what was found in it. A core file does not change; in a process what
# was found may be gone.
last_search = (None, {})


def target():
    """What tells the process or core file from others; whether it is a core file."""
    inferior = gdb.selected_inferior()
    connection = inferior.connection
    return (inferior.num, inferior.pid, connection.num), connection.type == "core"


def still_there(found):
    """Those of the instances that were found."""
    return filter(None, (Instance.at(layout, address) for address, layout in found.items()))


def find_instances():
    """All instances, by address."""
    global last_search
    require_memory()
    searched, is_core = target()
    if not is_core or last_search[0] != searched or not last_search[1]:
        last_search = (searched, dict(search(find_layouts(), core_sections())))
    return sorted(still_there(last_search[1]), key=lambda instance: instance.address)


def owner_of(address):
    """The instance whose region an address lies in; None: none's. As regions do not overlap, nothing is searched where
    an instance that was found before has the address."""
    require_memory()
    found = last_search[1] if target()[0] == last_search[0] else {}
    owner = next((known for known in still_there(found) if known.owns(address)), None)
    return owner or next((found for found in find_instances() if found.owns(address)), None)


def instance_at(address):
    """The instance at an address; None where there is none."""
    require_memory()
    for layout in find_layouts():
        instance = Instance.at(layout, address)
        if instance:
            return instance
    return None
