"""check.py - run by gdb, after emma_gdb.py: compares what its commands say with what the program says of
itself (facts.h). The script run gives FACTS, SCENARIO, SCRATCH and KERNEL_CORE in the environment."""
import os
import random
import re
import traceback
from collections import defaultdict

import gdb

FACTS = os.environ["FACTS"]
SCENARIO = os.environ["SCENARIO"]
CORE = os.path.join(os.environ["SCRATCH"], "core.by.gdb")
UNLIMITED = (1 << 64) - 1
FREE, SLAB, RUN, YOUNG, HEAP = range(5)  # enum emma_chunk_kind
EACH = 10  # blocks asked for of each instance and state
STATES = {
    "live": "live",
    "run": "live",
    "free": r"free \(in its slab's list\)",
    "binned": r"free \(in the bin( of heap 1)?\)",
    "put-off": r"free \(by a signal handler, put off\)",
    "under-way": r"free \((kept by heap \d+, which freed it|freed by heap \d+, not sent home yet|"
                 r"sent home to heap \d+)\)",
    "kept": r"free \(kept by heap \d+, which freed it\)",
    "delayed": r"free \(kept for a while before it is used again\)",
}
UNREAD = "a list leads to memory that cannot be read"
COPIES = 4
GUARD_BYTES = 4096
done = 0
seen = set()  # states, without their numbers


def check(condition, text):
    global done
    if not condition:
        raise AssertionError(text)
    done += 1


def expect(actual, expected, what):
    check(actual == expected, f"{what}: {actual!r}, expected {expected!r}")


def say(command):
    return gdb.execute(command, to_string=True).splitlines()


def expect_error(command, pattern):
    try:
        lines = say(command)
    except gdb.error as error:
        check(re.fullmatch(pattern, str(error), re.DOTALL), f"{command}: {error}")
    else:
        raise AssertionError(f"{command}: no error, but {lines}")


# ---- the facts ----

class Facts:
    def __init__(self):
        self.instances, self.stats = {}, defaultdict(dict)
        self.chunks, self.blocks = defaultdict(list), defaultdict(list)
        self.none, self.gone, self.steps = [], [], []
        self.asked = {}
        with open(FACTS, encoding="ascii") as file:
            for line in file:
                word, *rest = line.split()
                getattr(self, "take_" + word)(*rest)

    def take_instance(self, address, name, kind, origin, reserve):
        self.instances[int(address, 16)] = (name, kind, int(origin, 16), int(reserve))

    def take_stat(self, address, name, value):
        self.stats[int(address, 16)][name] = "unlimited" if int(value) == UNLIMITED else value

    def take_chunk(self, instance, address, *numbers):
        self.chunks[int(instance, 16)].append((int(address, 16), *map(int, numbers)))

    def take_block(self, instance, address, size, state):
        self.blocks[int(instance, 16), state].append((int(address, 16), int(size)))

    def take_asked(self, instance, address, size):
        place = int(instance, 16), int(address, 16)
        expect(self.asked.setdefault(place, int(size)), int(size), f"bytes of {address}")

    def has_map(self, instance):
        """Whether it knows which blocks are live, and what was asked for."""
        return self.instances[instance][0].startswith(("checked-", "hardened-"))

    def leave_out_guarded(self):
        """Forgets instances whose slabs end in a guard page: gdb puts nothing of such a mapping into its core files."""
        for instance in [instance for instance in self.instances if self.is_hardened(instance)]:
            slab = next((chunk for chunk in self.chunks[instance] if chunk[1] == SLAB), None)
            if slab and not is_readable(slab[0] + slab[6] - 1):
                self.forget(instance)

    def is_hardened(self, instance):
        return self.instances[instance][0].startswith("hardened-")

    def state(self, instance, address, state):
        """What is said of a block."""
        if state in ("live", "run") and self.has_map(instance):
            return f"live, {self.asked[instance, address]} bytes asked for"
        said = STATES[state]
        if state in ("free", "under-way") and self.is_hardened(instance):
            said += f"|{STATES['delayed']}"
        # The kernel's core files have nothing of an image of a checkpoint to which nothing was written.
        if SCENARIO == "kernel_core" and self.instances[instance][1] == "checkpoints":
            said += "|" + re.escape(f"free ({UNREAD})" if self.has_map(instance) else f"live, or free ({UNREAD})")
        return said

    def take_none(self, address):
        self.none.append(int(address, 16))

    def take_gone(self, address):
        self.gone.append(int(address, 16))
        self.forget(self.gone[-1])

    def forget(self, gone):
        del self.instances[gone]
        self.stats.pop(gone, None)
        self.chunks.pop(gone, None)
        for instance, state in list(self.blocks):
            if instance == gone:
                del self.blocks[instance, state]

    def take_step(self, *addresses):
        self.steps.append([int(address, 16) for address in addresses])


# ---- what every scenario with all instances at rest looks at ----

def columns(line):
    return re.split("  +", line)


def check_instances(facts, state="idle"):
    head, *rows = map(columns, say("emma instances"))
    expect(head, ["instance", "name", "kind", "region", "footprint", "limit", "state"], "head")
    expect([int(row[0], 16) for row in rows], sorted(facts.instances), "instances")
    for row in rows:
        address = int(row[0], 16)
        name, kind, origin, reserve = facts.instances[address]
        expect(row[1:4], [f'"{name}"', kind, f"{origin:#x}-{origin + reserve:#x}"], name)
        if address in facts.stats:
            stats = facts.stats[address]
            expect(row[4:], [stats["footprint_bytes"], stats["limit_bytes"], "idle"], name)
        else:
            expect(row[6], state, name)


def check_stats(facts):
    for address, stats in facts.stats.items():
        name, kind = facts.instances[address][:2]
        expected = [f'instance {address:#x} "{name}", {kind}, idle'] + [
            f"{field} {value}" for field, value in stats.items()]
        for argument in (f"{address:#x}", name, f'"{name}"'):
            lines = say(f"emma stats {argument}")
            expect([lines[0]] + [" ".join(line.split()) for line in lines[1:]], expected, argument)


def tables(lines):
    """The rows of each table of "emma slabs", by its first column's name; the rest are heaps."""
    found, heaps, rows = defaultdict(list), [], None
    for line in lines:
        cells = columns(line)
        if not line.startswith(("0x", "heap ")):
            rows = found[cells[0]]
        elif line.startswith("heap "):
            heaps.append(line)
        else:
            rows.append([int(cells[0], 16)] + cells[1:])
    return found, heaps


def check_slabs(facts):
    for address, chunks in facts.chunks.items():
        name, kind = facts.instances[address][:2]
        head, *lines = say(f"emma slabs {address:#x}")
        expect(head, f'instance {address:#x} "{name}"', "head of emma slabs")
        found, heaps = tables(lines)
        young, slabs = [], []
        for row in found["slab"]:
            (young if row[-1] == "young" else slabs).append(row)
        # out is what is live, carved what is live or free
        expect([(row[0], int(row[1]), int(row[2]), int(row[3]) - int(row[2])) for row in slabs],
               [chunk[:1] + chunk[2:5] for chunk in chunks if chunk[1] == SLAB], f"slabs of {name}")
        expect([(sum(int(row[2]) for row in young), sum(int(row[3]) - int(row[2]) for row in young))],
               [chunk[3:5] for chunk in chunks if chunk[1] == YOUNG], f"young slabs of {name}")
        expect([(row[0], int(row[1]), int(row[2])) for row in found["run"]],
               [(chunk[0], chunk[2], chunk[6] // chunk_bytes(chunks)) for chunk in chunks
                if chunk[1] == RUN], f"runs of {name}")
        expect(sum(int(row[1]) for row in found["free"]),
               sum(chunk[5] for chunk in chunks if chunk[1] == FREE), f"free chunks of {name}")
        expect(sum(int(row[2]) for row in found["free"]),
               sum(chunk[1] == FREE for chunk in chunks), f"number of free chunks of {name}")
        expect(len(heaps), 2 if kind == "shared" else 0, f"heaps of {name}")
        threads = [str(thread.ptid[1]) for thread in gdb.selected_inferior().threads()]
        for line in heaps:
            match = re.fullmatch(r"heap \d+ at 0x[0-9a-f]+: thread (\d+), idle", line)
            check(match and match[1] in threads, line)


def chunk_bytes(chunks):
    return min(chunk[6] for chunk in chunks)


def check_block(facts, instance, address, size, state, offset):
    name = facts.instances[instance][0]
    lines = say(f"emma block {address + offset:#x}")
    expect(lines[0], f'{address + offset:#x} is in instance {instance:#x} "{name}"', "emma block")
    match = re.fullmatch(rf"block {address:#x} of (\d+) bytes, offset {offset}: (.*)", lines[-1])
    check(match and size in (0, int(match[1])), f"{address:#x}, {size} bytes, {state}: {lines}")
    check(re.fullmatch(facts.state(instance, address, state), match[2]), f"{address:#x}, {state}: {lines}")
    seen.add(re.sub(r"\d+", "N", match[2]))
    if not re.match("chunk.*run$", lines[1]):
        check(re.fullmatch(r".*slab( \d+)?( of heap \d+)? at 0x[0-9a-f]+, "
                           rf"{match[1]}-byte class: \d+ out, \d+ carved of \d+ blocks", lines[1]),
              str(lines))


def check_blocks(facts, instances=None):
    rng = random.Random(1)
    for (instance, state), blocks in facts.blocks.items():
        if instances and instance not in instances:
            continue
        for address, size in rng.sample(blocks, min(EACH, len(blocks))):
            offset = rng.randrange(size) if size else 0
            check_block(facts, instance, address, size, state, offset)
        if state == "live" and facts.has_map(instance):
            for address, size in unusual(facts, instance, blocks):
                check_block(facts, instance, address, size, state, 0)


def unusual(facts, instance, blocks):
    """Blocks whose marks are not like others: of many bytes that were not asked for, or not at a multiple of 16."""
    wide = [block for block in blocks if block[1] - facts.asked[instance, block[0]] >= 30]
    late = [block for block in blocks if block[0] % 16 == 8]
    check(wide, "no block has 30 bytes more than were asked for")
    expect(bool(late), facts.instances[instance][0].endswith("-aligned"), "blocks at no multiple of 16")
    return wide[:1] + late[:1]


def check_places(facts):
    for instance, (name, kind, origin, reserve) in facts.instances.items():
        text = f'instance {instance:#x} "{name}"'
        end = origin + reserve
        for address in (origin, end - 1, instance):
            expect(say(f"emma owns {address:#x}"),
                   [f"{address:#x} is in {text}, offset {address - origin}"], "emma owns")
        expect(say(f"emma block {instance:#x}")[1:], ["page 0: the state of the instance"], "page 0")
        last = say(f"emma block {end - 1:#x}")
        check(re.fullmatch(r"chunk \d+, free, 0 bytes of memory kept", last[1]), f"the last chunk: {last}")
        for address in (origin - 1, end):
            facts.none.append(address)
        each = chunk_bytes(facts.chunks[instance]) - facts.is_hardened(instance) * GUARD_BYTES
        for chunk in facts.chunks[instance]:
            check_ends(each, *chunk)
            line = say(f"emma block {chunk[0]:#x}")[1]
            if chunk[1] == FREE:
                check(re.fullmatch(rf"chunk \d+, free, {chunk[5]} bytes of memory kept", line), line)
            elif chunk[1] == HEAP:
                check(re.fullmatch(r"the state of heap \d at .*: thread \d+, idle|"
                                   r"chunk \d+, empty and held by a heap", line), line)
    others = [origin for _, _, origin, _ in facts.instances.values()]
    for address in facts.none:
        if address in others:  # one instance begins where another one ends
            continue
        for command in ("owns", "block"):
            expect(say(f"emma {command} {address:#x}"),
                   [f"{address:#x} is in no instance of emma"], f"emma {command}")


def check_ends(each, address, kind, block_bytes, live, free, _, total):
    """What lies behind the blocks of a slab, or behind a run."""
    if kind == RUN and block_bytes < total:
        expect(last_line(address + block_bytes),
               f"no block: behind the {block_bytes} bytes of the run at {address:#x}", "end of a run")
    if kind != SLAB:
        return
    carved, blocks = live + free, each // block_bytes
    if carved < blocks:
        block = address + carved * block_bytes
        expect(last_line(block + 1), f"block {block:#x} of {block_bytes} bytes, offset 1: "
                                     "free (never handed out)", "fresh block")
    if blocks * block_bytes < total:
        expect(last_line(address + total - 1), "no block: behind the last one of the slab", "end of a slab")


def check_all(facts):
    check_instances(facts)
    check_stats(facts)
    check_slabs(facts)
    check_blocks(facts)
    check_places(facts)


# ---- bad input ----

def check_errors(facts):
    there = r"; there are 0x[0-9a-f]+ \".*\" and \d+ more"
    expect_error("emma instances 5", "emma instances: takes no argument: 5")
    expect_error("emma slabs", r"emma slabs: which instance\?" + there)
    expect_error("emma stats nobody", 'emma stats: nobody: No symbol "nobody" in current context.' + there)
    expect_error('emma stats "nobody"', 'emma stats: "nobody": no instance has this name' + there)
    expect_error("emma slabs -1", "emma slabs: -1: 0xffffffffffffffff is no instance of emma" + there)
    expect(last_line(-1), "0xffffffffffffffff is in no instance of emma", "emma block -1")
    expect_error("emma block *(long *) 8", r"emma block: .* Cannot access memory at address 0x8")
    expect_error("emma slabs 0x44", "emma slabs: 0x44: 0x44 is no instance of emma" + there)
    address, name = next((address, fact[0]) for address, fact in facts.instances.items())
    expect_error(f"emma slabs {address + 8:#x}", rf"emma slabs: .*: {address + 8:#x} is no instance.*")
    for command in ("owns", "block"):
        expect_error(f"emma {command}", f"emma {command}: an address is missing")
        expect_error(f"emma {command} 1 +", f"emma {command}: 1 .: .*syntax error.*")
        expect_error(f"emma {command} 1.5", f"emma {command}: 1.5: neither a pointer nor a number")
        expect_error(f"emma {command} stop_idle()", f"emma {command}: .*may-call-functions is off.*")
    expect_error("emma nothing", 'Undefined emma command: "nothing".*')
    expect(gdb.parameter("may-call-functions"), True, "may-call-functions")
    # What an expression may be.
    block, size = facts.blocks[address, "live"][0]
    gdb.execute(f"set $block = (char *) {block:#x}")
    for expression in ("$block + 1", f"{block + 1}", "&$block[1]", "(long) $block + 1"):
        expect(last_line(expression), f"block {block:#x} of {size} bytes, offset 1: live", expression)
    gdb.execute(f"set $instance = (struct emma *) {address:#x}")
    for expression in ("$instance", "*$instance", name):
        expect(say(f"emma stats {expression}")[0], f'instance {address:#x} "{name}", local, idle',
               expression)
    for command in ("instances", "slabs", "owns", "block", "stats"):
        text = "\n".join(say(f"help emma {command}"))
        check(f"Usage: emma {command}" in text, text)
        check(f"emma {command} -- " in "\n".join(say("help emma")), f"help emma: {command}")


# ---- the scenarios ----

def run_to(function):
    gdb.execute("handle SIGUSR1 nostop noprint pass", to_string=True)
    for place in (function, "stop_idle"):
        gdb.execute(f"break {place}", to_string=True)
    gdb.execute("run", to_string=True)
    expect(gdb.newest_frame().name(), function, "stopped in")


def scenario_process():
    expect_error("emma instances", "emma instances: there is no process and no core file")
    expect_error("emma block 1", "emma block: there is no process and no core file")
    run_to("stop_idle")
    facts = Facts()
    check_all(facts)
    check_errors(facts)
    expect(sorted(seen), ["free (freed by heap N, not sent home yet)", "free (in its slab's list)",
                          "free (in the bin of heap N)", "free (in the bin)",
                          "free (kept by heap N, which freed it)", "free (kept for a while before it is used again)",
                          "free (sent home to heap N)", "live", "live, N bytes asked for"],
           "states that were seen")


def scenario_bare():
    """A program whose debug information was taken away."""
    run_to("stop_idle")
    for command in ("instances", "slabs", "stats 1", "owns 1", "block $sp"):
        expect_error(f"emma {command}", r"emma \w+: no debug information of emma was found \(struct emma, "
                     r"from core/emma\.c\): compile emma\.c with -g, or give gdb the file .*")


def scenario_labels():
    """A program with blocks of several families of functions."""
    run_to("stop_idle")
    for i, said in enumerate(("100 bytes asked for", "100 bytes asked for of malloc aligned to 64",
                              "100 bytes asked for of new", r"100 bytes asked for of new\[\]",
                              "100 bytes asked for of new aligned to 4096",
                              r"100 bytes asked for of new\[\] aligned to 64",
                              r"100000 bytes asked for of new\[\]")):
        check(re.search(rf": live, {said}$", last_line(f"blocks[{i}]")), last_line(f"blocks[{i}]"))


def scenario_other():
    """A program with a struct emma of its own."""
    run_to("stop_idle")
    for command in ("instances", "slabs other", "stats &other", "owns 1", "block $sp"):
        expect_error(f"emma {command}", r"emma \w+: the struct emma of this program is not the one that this "
                     r"emma_gdb\.py knows: .*")


def is_readable(address):
    try:
        return bool(gdb.selected_inferior().read_memory(address, 1))
    except gdb.MemoryError:
        return False


def take_core(facts):
    """Goes on with a core file in the place of the process."""
    facts.leave_out_guarded()
    gdb.execute(f"generate-core-file {CORE}", to_string=True)
    gdb.execute("kill", to_string=True)
    gdb.execute(f"core-file {CORE}", to_string=True)


def scenario_core():
    run_to("stop_inside")
    earlier = Facts()
    check_instances(earlier, "inside a call")
    for address in earlier.instances:
        expect(last_line(address), "page 0: the state of the instance", "emma block")
    earlier.leave_out_guarded()
    gdb.execute(f"generate-core-file {CORE}.earlier", to_string=True)
    for _ in range(COPIES):
        gdb.execute("continue", to_string=True)
    expect(gdb.newest_frame().name(), "stop_idle", "stopped in")
    facts = Facts()
    check(facts.gone, "no instance is gone")
    for address in facts.gone:
        expect(last_line(address), f"{address:#x} is in no instance of emma", "emma block")
    take_core(facts)
    check_all(facts)
    gdb.execute(f"core-file {CORE}.earlier", to_string=True)
    check_instances(earlier, "inside a call")


def scenario_hidden():
    """Where the core file lacks a page of blocks, nothing wrong is said of any."""
    run_to("stop_idle")
    facts = Facts()
    take_core(facts)
    check_instances(facts)
    names = {fact[0]: address for address, fact in facts.instances.items()}
    maybe = f"live, or free ({UNREAD})"
    told = told_hidden(facts, names["plain-local"], {"live": maybe, "free": maybe})
    check(told["free", True] and told["free", False] and told["live", False], f"told: {told}")
    told = told_hidden(facts, names["checked-local"], {"free": f"free ({UNREAD})"})  # its map knows
    check(told["free", True] and told["free", False] and told["live", False], f"told: {told}")


def told_hidden(facts, instance, less):
    """How many blocks of each state are told with less than what is known."""
    told = defaultdict(int)
    for state in ("live", "free"):
        for block in {block for block, _ in facts.blocks[instance, state]}:
            said = last_line(block).partition(": ")[2]
            is_less = said == less.get(state)
            check(is_less or re.fullmatch(facts.state(instance, block, state), said), f"{state} {block:#x}: {said}")
            told[state, is_less] += 1
    check(say(f"emma slabs {instance:#x}"), "emma slabs")
    return told


def scenario_kernel_core():
    gdb.execute(f"core-file {os.environ['KERNEL_CORE']}", to_string=True)
    check_all(Facts())


def scenario_inside():
    """In a signal handler that interrupted a callback in a call, in each copy of emma."""
    run_to("stop_inside")
    for _ in range(COPIES):
        facts = Facts()
        check_instances(facts, "inside a call")
        entered = [address for address, fact in facts.instances.items() if fact[0].endswith("-entered")]
        expect(len(entered), 1, "instances that are entered")
        check((entered[0], "put-off") in facts.blocks, "nothing was put off")
        check_blocks(facts, entered)
        for address, fact in facts.instances.items():
            expect(say(f"emma slabs {address:#x}")[0], f'instance {address:#x} "{fact[0]}"', fact[0])
        say("continue")
    check("free (by a signal handler, put off)" in seen, f"seen: {seen}")


def scenario_steps():
    """At every instruction of calls that free and allocate."""
    run_to("stop_stepping")
    say("set scheduler-locking on")
    gdb.execute("break stop_stepped", to_string=True)
    for _ in range(2):
        facts = Facts()
        instance, small, run = facts.steps[-1]
        name = facts.instances[instance][0]
        live = next(block for block, size in facts.blocks[instance, "live"] if size)
        free = next(block for block, _ in facts.blocks[instance, "free"] if is_free(block))
        say("finish")
        count = step_through(instance, name, live, free, (small, run))
        print(f"{name}: {count} instructions")
        say("continue")


def last_line(address):
    """What is said of the block; the address may be an expression."""
    return say(f"emma block {address}")[-1]


def is_free(address):
    return bool(re.search(r": free \(.*\)$", last_line(address)))


def is_live(address):
    return bool(re.search(r": live(, \d+ bytes asked for)?$", last_line(address)))


def step_through(instance, name, live, free, freed):
    """Blocks that nobody touches stay what they are; those that are freed are live, and then no more."""
    were_live = {address: True for address in freed}
    count = inside = 0
    while gdb.newest_frame().name() != "stop_stepped":
        turn = count % 4
        if turn == 0:
            check(is_live(live), f"{live:#x} is not live, after {count} instructions")
        elif turn == 1:
            check(is_free(free), f"{free:#x} is not free, after {count} instructions")
        elif turn == 2:
            inside += "inside" in say(f"emma stats {instance:#x}")[0]
            say(f"emma slabs {instance:#x}")
        else:
            for address, was_live in were_live.items():
                were_live[address] = is_live(address)
                check(was_live or not were_live[address], f"{address:#x} is live again")
        say("stepi")
        count += 1
    check(not any(were_live.values()), f"not freed: {were_live}")
    check(inside, f"{name} was never entered")
    return count


def main():
    for setting in ("confirm off", "style enabled off", "pagination off", "width 0", "debuginfod enabled off"):
        try:
            gdb.execute("set " + setting)
        except gdb.error:  # an older gdb
            pass
    try:
        globals()["scenario_" + SCENARIO]()
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        gdb.execute("quit 1")
    print(f"{SCENARIO}: {done} checks passed")
    gdb.execute("quit 0")


main()
