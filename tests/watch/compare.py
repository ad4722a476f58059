#!/usr/bin/env python3
"""compare.py TOOL PROGRAM [ALLOCATOR:BYTES...] - what a tool says of mistakes with emma's blocks, and of malloc's.

PROGRAM is faults.c, linked with a core that was built for TOOL: valgrind or asan. Of a report these count: the kind,
the size of the access, how far it is from the block and on which side, the block's size and state, and the lines of
faults.c in every stack. Frames of the allocators, addresses and numbers of processes do not.
"""

import os
import re
import subprocess
import sys

FAULT = re.compile(r"^fault (\w+) block (0x[0-9a-f]+) bytes \d+$")
ADDRESS = re.compile(r"0x[0-9A-Fa-f]+")
FRAME = re.compile(r"\b(\w+) \((faults\.c:\d+)\)|in (\w+) \S*/(faults\.c:\d+)")

# Small blocks, with a last word that is whole and one that is not, larger ones, and runs.
RUNS = [("local", "29"), ("local", "100000"), ("shared", "24"), ("checkpoints", "3000")]

# What AddressSanitizer calls malloc's, which it knows itself, and what it calls all that is told to it.
ASAN_KINDS = {"heap-use-after-free": "use-after-poison", "heap-buffer-overflow": "use-after-poison"}


def run(command, **environment):
    done = subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120)
    return done.stdout.splitlines()


def distance(address, block):
    return f"block{int(address, 16) - int(block, 16):+d}"


# ---- Valgrind ----

LOST = re.compile(r"^([\d,]+ bytes in \d+ blocks are definitely lost)")
# Everything else that begins a report, or a stack in one.
KNOWN = re.compile(r"^(Invalid (read|write) of size \d+|Conditional jump or move depends on uninitialised value\(s\)"
                   r"|Invalid free\(\) / delete / delete\[\] / realloc\(\)|Block was alloc'd at"
                   r"|Address 0x\w+ is [\d,]+ bytes (inside|after|before) a block of size [\d,]+ (alloc'd|free'd))$")


def valgrind_reports(program, allocator, size):
    """Each mistake's name, with the lines of what is said of it."""
    command = ["valgrind", "-q", "--num-callers=40", "--leak-check=full", "--show-leak-kinds=definite", program, allocator, size]
    reports = {}
    block = name = None
    for line in run(command):
        begun = FAULT.match(line)
        if begun:
            name, block = begun.groups()
            reports.setdefault(name, [])
            continue
        line = re.sub(r"^(==\d+==|\*\*\d+\*\*)\s*", "", line)
        frame = FRAME.search(line)
        lost = LOST.match(line)
        if frame:
            reports[name].append(f"    {frame.group(1)} {frame.group(2)}")
        elif lost:
            reports[name].append(lost.group(1))
        elif KNOWN.match(line):
            reports[name].append(ADDRESS.sub(lambda found: distance(found.group(), block), line))
        elif line and not re.match(r"(at|by) 0x|emma: ", line):
            reports.setdefault(name, []).append(f"unexpected: {line}")
    return reports


def compare(title, of_malloc, of_emma, left_out):
    """Prints what differs; returns how many do."""
    differing = 0
    for name, said in of_malloc.items():
        if name in left_out or of_emma.get(name) == said:
            continue
        differing += 1
        print(f"{title}: {name}: of malloc's block:", *said, sep="\n  ")
        print("  and of emma's:", *of_emma.get(name, []), sep="\n  ")
    if set(of_emma) - set(of_malloc) or set(of_malloc) - set(of_emma) - left_out:
        print(f"{title}: not the same mistakes: {sorted(of_malloc)} and {sorted(of_emma)}")
        differing += 1
    return differing


# What is not to be compared: mistakes that a kind of instance cannot make, and what is lost after a rollback, as
# the stack may still lead to an older block in the same place.
LEFT_OUT = {
    "local": {"read_freed_elsewhere", "read_past_kept", "read_rolled_back"},
    "shared": {"read_past_kept", "read_rolled_back"},
    "checkpoints": {"read_freed_elsewhere", "read_reset", "lose"},
}


def check_valgrind(program, runs):
    of_malloc = {}
    differing = 0
    for allocator, size in runs:
        if size not in of_malloc:
            of_malloc[size] = valgrind_reports(program, "malloc", size)
        silent = sorted(name for name, said in of_malloc[size].items() if not said)
        if silent != ["hold", "nothing", "use_zeroed"]:
            sys.exit(f"nothing is said of malloc's blocks in {silent}")
        of_emma = valgrind_reports(program, allocator, size)
        differing += compare(f"{allocator} {size}", of_malloc[size], of_emma, LEFT_OUT[allocator])
    return differing


# ---- AddressSanitizer: it ends the program at the first mistake ----

# What it does not know: that a block is not initialised, and of emma's that nothing leads to it.
ASAN_SILENT = {"hold", "nothing", "use_zeroed", "use_unset", "use_moved_unset", "use_grown_unset"}
ASAN_NOT_KNOWN = {"lose"}
# For what it should look for leaks: that takes most of a program's time.
ASAN_LEAKS = {"hold", "lose", "nothing"}
# Of these emma tells by itself, and where it ends the program has the tool print the stack.
ASAN_MISUSES = {"free_twice": ["double free of"], "resize_inside": ["interior pointer"]}


ASAN_ERROR = re.compile(r"ERROR: AddressSanitizer: (?:attempting )?([a-z-]+) on (?:address )?"
                        r"(?:which was not malloc\(\)-ed: )?(0x\w+)")


def asan_report(program, allocator, size, fault):
    """What is said of a mistake, and the lines of faults.c in the first stack."""
    leaks = fault in ASAN_LEAKS
    lines = run([program, allocator, size, fault], ASAN_OPTIONS=f"detect_leaks={int(leaks)}:exitcode=1")
    block = None
    said = []
    stack = []
    for line in lines:
        begun = FAULT.match(line)
        frame = FRAME.search(line)
        error = ASAN_ERROR.search(line)
        access = re.match(r"(READ|WRITE) of size (\d+) at", line)
        misuse = re.match(r"emma: \w+: ([a-z ]+) 0x", line)
        if begun:
            block = begun.group(2)
        elif error:
            said += [ASAN_KINDS.get(error.group(1), error.group(1)), distance(error.group(2), block)]
        elif access:
            said.append(access.group(1) + access.group(2))
        elif misuse:
            said.append(misuse.group(1))
        elif "ERROR: LeakSanitizer" in line:
            said.append("leak")
        elif frame and said:
            stack.append(f"{frame.group(3)} {frame.group(4)}")
        elif not line and stack:
            break
    return said, stack


def check_asan(program, runs):
    differing = 0
    faults = run([program])
    for allocator, size in runs:
        for fault in faults:
            if fault in LEFT_OUT[allocator]:
                continue
            of_malloc, stack = asan_report(program, "malloc", size, fault)
            if (not of_malloc) != (fault in ASAN_SILENT):
                sys.exit(f"of malloc's block in {fault} is said: {of_malloc}")
            expected = ASAN_MISUSES.get(fault, of_malloc), stack
            if fault in ASAN_NOT_KNOWN:
                expected = [], []
            of_emma = asan_report(program, allocator, size, fault)
            if of_emma != expected:
                differing += 1
                print(f"{allocator} {size}: {fault}: expected {expected}, was told {of_emma}")
    return differing


if __name__ == "__main__":
    wanted = [tuple(text.split(":")) for text in sys.argv[3:]] or RUNS
    found = {"valgrind": check_valgrind, "asan": check_asan}[sys.argv[1]](sys.argv[2], wanted)
    print(f"{found} differ")
    sys.exit(found != 0)
