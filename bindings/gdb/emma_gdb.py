"""emma_gdb.py - commands of gdb's that show instances of emma, in a process or in a core file:

    (gdb) source bindings/gdb/emma_gdb.py
    (gdb) help emma

They need gdb with Python, version 12 or later, and emma.c compiled with -g. They read memory and never
call a function of the process, so they work wherever it stopped."""
import os
import sys

import gdb

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from emma_gdb_instance import find_instances, instance_at, owner_of  # noqa: E402
from emma_gdb_layout import ADDRESS_MASK, FREE, HEAP, PAGE_BYTES, YOUNG, read_number  # noqa: E402

sys.path.pop(0)

UNLIMITED_PAGES = ADDRESS_MASK // PAGE_BYTES
NAMES_MAX = 5
REFERENCES = (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)
PLACES = (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_FUNC)
ADDRESSES = (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM)


# ---- what the user gives ----

def evaluate(expression):
    """The address that an expression is, or is at; None if neither. No function is called."""
    allowed = gdb.parameter("may-call-functions")
    gdb.execute("set may-call-functions off")
    try:
        value = gdb.parse_and_eval(expression)
        if value.type.strip_typedefs().code in REFERENCES:
            value = value.referenced_value()
        kind = value.type.strip_typedefs()
        if kind.code in PLACES and value.address is not None:
            return int(value.address)
        return int(value) if kind.code in ADDRESSES else None
    finally:
        gdb.execute(f"set may-call-functions {'on' if allowed else 'off'}")


def address_of(expression):
    """The address that the user gives."""
    try:
        address = evaluate(expression)
    except gdb.error as error:
        raise gdb.GdbError(f"{expression}: {error}")
    if address is None:
        raise gdb.GdbError(f"{expression}: neither a pointer nor a number")
    return address & ADDRESS_MASK


def some_names(instances):
    """Of the instances that there are."""
    if not instances:
        return "; there is no instance"
    names = [instance.text() for instance in instances[:NAMES_MAX]]
    more = len(instances) - len(names)
    return f"; there {'are' if len(instances) > 1 else 'is'} {', '.join(names)}" + \
        (f" and {more} more" if more else "")


def chosen_instance(text):
    """The instance that the user names: by its address or its name, or the only one there is."""
    failure = f"{text}: no instance has this name" if text else "which instance?"
    name = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if text and name == text:
        try:
            address = address_of(text)
            instance = instance_at(address)
            if instance:
                return instance
            failure = f"{text}: {address:#x} is no instance of emma"
        except gdb.GdbError as error:
            failure = str(error)
    instances = find_instances()
    named = [instance for instance in instances if not text or instance.name == name]
    if len(named) == 1:
        return named[0]
    if text and named:
        failure = f"{text}: several instances have this name"
    raise gdb.GdbError(failure + some_names(named or instances))


def table(rows):
    """Lines of rows of texts, in columns."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows]


# ---- what is shown ----

def pages_text(pages):
    return "unlimited" if pages >= UNLIMITED_PAGES else str(pages * PAGE_BYTES)


def live_figures(instance):
    """As emma_get_stats sums them up."""
    blocks = total = 0
    for slab in instance.slabs():
        live = slab.live()
        blocks += live
        total += live * slab.block_bytes
    if instance.shared:
        under_way, its_bytes = instance.count_under_way()
        blocks = max(blocks - under_way, 0)
        total = max(total - its_bytes, 0)
    runs = [entry["run_bytes"] for _, entry in instance.runs()]
    return [("live_bytes", total + sum(runs)), ("live_blocks", blocks + len(runs)),
            ("large_bytes", sum(runs)), ("large_blocks", len(runs))]


def checkpoint_pages(instance):
    address = instance.control["checkpoints"]
    return read_number(address + instance.layout.checkpoints.offset("pages")) if address else 0


def figures(instance):
    control = instance.control
    spare = 0 if control["spare_open"] else control["spare_pages"]
    return [
        ("limit_bytes", pages_text(control["limit_pages"])),
        ("soft_limit_bytes", pages_text(control["soft_pages"])),
        ("spare_bytes", pages_text(spare)),
        ("reserve_bytes", instance.region_bytes),
        ("footprint_bytes", pages_text(control["footprint_pages"])),
        ("peak_footprint_bytes", pages_text(control["peak_pages"])),
        ("metadata_bytes", pages_text(control["metadata_pages"])),
        ("retained_bytes", pages_text(control["retained_pages"])),
        ("checkpoint_bytes", pages_text(checkpoint_pages(instance))),
        ("moved_bytes", control["moved_bytes"]),
        ("returned_bytes", control["returned_bytes"]),
        ("refused_count", control["refused_count"]),
        ("reentered_count", control["reentered_count"]),
    ] + live_figures(instance)


def heap_lines(instance):
    return [heap.text() for heap in instance.heaps()] if instance.shared else []


def doubt_lines(instance):
    """What to think of the figures before."""
    return ["more blocks may be free: a list leads to memory that cannot be read"] * (
        instance.is_partial and instance.is_doubtful)


def slab_rows(instance):
    yield ["slab", "class", "out", "carved", "blocks"] + (["heap"] if instance.shared else [""])
    for slab in sorted(instance.slabs(), key=lambda slab: slab.address):
        last = slab.owner() if instance.shared else "young" if slab.is_young() else ""
        yield [f"{slab.address:#x}", slab.block_bytes, slab.live(), slab.carved, slab.blocks, last]


def run_rows(instance):
    yield ["run", "bytes", "chunks"]
    for chunk, entry in instance.runs():
        run_bytes = entry["run_bytes"]
        yield [f"{instance.chunk_start(chunk):#x}", run_bytes, instance.chunks_of(run_bytes)]


def free_rows(instance):
    yield ["free", "bytes kept", "chunks"]
    for chunk, count, pages in instance.free_chunks():
        yield [f"{instance.chunk_start(chunk):#x}", pages * PAGE_BYTES, count]


def slab_block(slab, address):
    """The block of a slab that an address lies in."""
    index, offset = divmod(address - slab.address, slab.block_bytes)
    block = slab.address + index * slab.block_bytes
    if index >= slab.blocks:
        return "no block: behind the last one of the slab"
    state = slab.instance.state_of(block, slab.block_bytes, slab) if index < slab.carved else "free (never handed out)"
    return f"block {block:#x} of {slab.block_bytes} bytes, offset {offset}: {state}"


def slab_lines(slab, address):
    where = f"young slab {-1 - slab.number}" if slab.is_young() else f"chunk {slab.number}, slab"
    of = f" of heap {slab.owner()}" if slab.instance.shared else ""
    yield f"{where}{of} at {slab.address:#x}, {slab.block_bytes}-byte class: " \
          f"{slab.live()} out, {slab.carved} carved of {slab.blocks} blocks"
    yield slab_block(slab, address)


def run_lines(instance, chunk, address):
    start = instance.chunk_start(chunk)
    run_bytes = instance.entry(chunk)["run_bytes"]
    last = chunk + instance.chunks_of(run_bytes) - 1
    yield f"chunk {chunk}, run" if last == chunk else f"chunks {chunk} to {last}, run"
    if address - start >= run_bytes:
        yield f"no block: behind the {run_bytes} bytes of the run at {start:#x}"
        return
    yield f"block {start:#x} of {run_bytes} bytes, offset {address - start}: " \
          f"{instance.state_of(start, run_bytes)}"


def other_line(instance, chunk):
    """What a chunk is that has no block."""
    entry = instance.entry(chunk)
    heap = next((heap for heap in instance.heaps() if instance.shared and
                 heap.address == instance.chunk_start(chunk)), None)
    if heap:
        return "the state of " + heap.text()
    if entry["kind"] == HEAP:
        return f"chunk {chunk}, empty and held by a heap"
    if entry["kind"] == YOUNG:
        return "young area, not in use"
    if entry["kind"] == FREE:
        kept = entry["resident"] * PAGE_BYTES
        return f"chunk {chunk}, free, {kept} bytes of memory kept"
    return f"chunk {chunk}, about to be used"


def block_lines(instance, address):
    chunk = instance.chunk_of(address)
    yield f"{address:#x} is in instance {instance.text()}"
    slab = instance.slab_of(address)
    run = None if slab else instance.run_of(chunk)
    if slab and slab.size_class and address >= slab.address:
        yield from slab_lines(slab, address)
    elif run is not None:
        yield from run_lines(instance, run, address)
    elif address - instance.origin < PAGE_BYTES:
        yield "page 0: the state of the instance"
    else:
        yield other_line(instance, chunk)


# ---- the commands ----

class Command(gdb.Command):
    """A command that prints lines, or says what is wrong."""

    def __init__(self, name, completer=gdb.COMPLETE_NONE):
        super().__init__("emma " + name, gdb.COMMAND_DATA, completer)
        self.name = "emma " + name

    def invoke(self, argument, from_tty):
        try:
            for line in self.lines(argument.strip()):
                gdb.write(line + "\n")
        except gdb.MemoryError as error:
            raise gdb.GdbError(f"{self.name}: {error}; a core file may leave memory out")
        except (gdb.GdbError, gdb.error) as error:
            raise gdb.GdbError(f"{self.name}: {error}")

    def lines(self, argument):
        raise NotImplementedError


class Emma(gdb.Command):
    """Instances of the memory allocator emma, and what is in them.

An INSTANCE is an expression that has its address, as in "emma slabs state->heap", or its name, or
nothing where there is only one. Numbers of bytes are those of emma.h; a block's are those of its class
or run, of which a build with EMMA_CHECKS needs some."""

    def __init__(self):
        super().__init__("emma", gdb.COMMAND_DATA, prefix=True)


class Instances(Command):
    """List all instances: address, name, kind, region, footprint and limit in bytes.

Usage: emma instances

"inside a call": the process stopped while a thread was in emma, or a thread ended there."""

    def lines(self, argument):
        if argument:
            raise gdb.GdbError(f"takes no argument: {argument}")
        rows = [["instance", "name", "kind", "region", "footprint", "limit", "state"]]
        for found in find_instances():
            region = f"{found.origin:#x}-{found.origin + found.region_bytes:#x}"
            rows.append([f"{found.address:#x}", f'"{found.name}"', found.kind(), region,
                         pages_text(found.control["footprint_pages"]),
                         pages_text(found.control["limit_pages"]), found.state()])
        return table(rows) if len(rows) > 1 else ["no instance of emma"]


class Slabs(Command):
    """List an instance's slabs, runs, free chunks that keep memory, and heaps of threads.

Usage: emma slabs [INSTANCE]

Of a slab's blocks those "carved" were handed out before, or are free; those "out" are handed out, or
were freed by a thread that the slab does not belong to and are not back yet."""

    def lines(self, argument):
        instance = chosen_instance(argument)
        yield f"instance {instance.text()}"
        for rows in (slab_rows, run_rows, free_rows):
            lines = table(list(rows(instance)))
            yield from lines if len(lines) > 1 else []
        yield from heap_lines(instance)
        yield from doubt_lines(instance)


class Owns(Command):
    """Tell which instance's region an address lies in.

Usage: emma owns ADDRESS"""

    def lines(self, argument):
        address = required_address(argument)
        owner = owner_of(address)
        yield f"{address:#x} is in instance {owner.text()}, offset {address - owner.origin}" \
            if owner else f"{address:#x} is in no instance of emma"


class Block(Command):
    """Tell which block an address lies in: instance, chunk, slab, class, and whether it is live.

Usage: emma block ADDRESS

The address may be inside of the block. A free block is told with the list that it is in. Where emma.c was
compiled with EMMA_CHECKS, its map of blocks tells which are live, and how many bytes were asked for."""

    def lines(self, argument):
        address = required_address(argument)
        owner = owner_of(address)
        if owner:
            return block_lines(owner, address)
        return [f"{address:#x} is in no instance of emma"]


class Stats(Command):
    """Show the figures of an instance, as emma_get_stats gives them.

Usage: emma stats [INSTANCE]"""

    def lines(self, argument):
        instance = chosen_instance(argument)
        yield f"instance {instance.text()}, {instance.kind()}, {instance.state()}"
        yield from table(figures(instance))
        yield from doubt_lines(instance)


def required_address(argument):
    if not argument:
        raise gdb.GdbError("an address is missing")
    return address_of(argument)


Emma()
Instances("instances")
Slabs("slabs", gdb.COMPLETE_EXPRESSION)
Owns("owns", gdb.COMPLETE_EXPRESSION)
Block("block", gdb.COMPLETE_EXPRESSION)
Stats("stats", gdb.COMPLETE_EXPRESSION)
