#!/usr/bin/env python3
"""coverage.py BUILD - what the tests of a build with --coverage ran of core/, merged over all copies of the core in it.

Prints a line for each file: lines run, branches taken, and those that an exception in the source answers for; then what is
left. Ends with 1 if something is, or if an exception is stale.

A branch is one way out of a condition, as gcov counts them in a build without optimization; the preset has no function
inlined, so that each is there once. Copies of the core with other switches may have other branches on a line: those of
copies with the same number of them are added up, and each such sum must be complete. Assertions (EMMAI_ASSERT) have a
way that nothing takes; they do not count.

An exception is a comment beside the line, or right above it; above a function it answers for one that is never called:

    /* Never in tests: REASON. */        a way of the line is not taken by any test; stale once all are
    /* By chance in tests: REASON. */    a way of the line may be taken, or not: a race that no test can force

What comes only behind a way that is never taken needs none.
"""
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys

MARK = re.compile(r"\b(Never|By chance) in tests: ")
ASSERTION = re.compile(r"\s*EMMAI_ASSERT\(")


class Line:
    """What all copies together did at a line."""

    def __init__(self):
        self.runs = 0
        self.branches = {}  # number of branches -> how often each was taken

    def add(self, count, branches):
        self.runs += count
        if branches:
            sums = self.branches.setdefault(len(branches), [0] * len(branches))
            for i, branch in enumerate(branches):
                sums[i] += branch["count"]

    def total(self):
        return sum(len(sums) for sums in self.branches.values())

    def taken(self):
        return sum(1 for sums in self.branches.values() for count in sums if count)


def read_counters(data):
    """gcov's account of one object, from its file of counters."""
    told = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", data], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=os.path.dirname(data))
    return json.loads(told.stdout)


def objects(build):
    """The files of counters of the objects that have the core in them."""
    for folder, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcda") and "CompilerId" not in folder:
                yield os.path.join(folder, name)


def collect(build, core):
    """(file -> line number -> Line, (file, line number) -> [name, runs] of each function)."""
    files = collections.defaultdict(lambda: collections.defaultdict(Line))
    functions = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for told in pool.map(read_counters, objects(build)):
            for file in told["files"]:
                path = os.path.realpath(os.path.join(told["current_working_directory"], file["file"]))
                if os.path.dirname(path) != core:
                    continue
                name = os.path.basename(path)
                for line in file["lines"]:
                    files[name][line["line_number"]].add(line["count"], line["branches"])
                for function in file["functions"]:
                    entry = functions.setdefault((name, function["start_line"]), [function["name"], 0])
                    entry[1] += function["execution_count"]
    return files, functions


def exceptions(lines):
    """Line number -> "Never" or "By chance", by the comments of a file."""
    found = {}
    inside = None  # where the open comment began, and its text
    waiting = None  # of a comment above the line that it is about
    for number, text in enumerate(lines, 1):
        rest = text
        code = False
        ended = None
        while True:
            if inside is None:
                start = rest.find("/*")
                code = code or bool(rest[:start if start >= 0 else len(rest)].strip())
                if start < 0:
                    break
                inside, rest = "", rest[start + 2:]
            end = rest.find("*/")
            if end < 0:
                inside += rest.strip(" *\n") + " "
                break
            mark = MARK.search(inside + rest[:end])
            ended = mark.group(1) if mark else None
            inside, rest = None, rest[end + 2:]
            if ended:
                waiting = ended
        if code and waiting:
            found[number] = waiting
            waiting = None
    return found


def main(build, core):
    files, functions = collect(build, core)
    left, stale = [], []
    sums = collections.Counter()
    print(f"{'':28}{'lines run':>16}{'branches taken':>20}{'never':>9}{'chance':>9}{'behind':>9}{'left':>7}")
    for name in sorted(files):
        with open(os.path.join(core, name), encoding="utf-8") as source:
            texts = source.readlines()
        marks = exceptions(texts)
        row = collections.Counter()
        for number in sorted(files[name]):
            line = files[name][number]
            row["lines"] += 1
            row["run"] += line.runs > 0
            if ASSERTION.match(texts[number - 1]):
                continue
            row["branches"] += line.total()
            row["taken"] += line.taken()
            missing = line.total() - line.taken()
            mark = marks.get(number)
            if missing and line.runs == 0:
                row["behind"] += missing
            elif missing and mark:
                row[mark] += missing
            elif missing:
                row["left"] += missing
                for shape in sorted(line.branches):
                    ways = "".join("+" if count else "-" for count in line.branches[shape])
                    if "-" in ways:
                        left.append(f"core/{name}:{number}: {ways}  {texts[number - 1].strip()}")
            elif mark == "Never" and line.total():
                stale.append(f"core/{name}:{number}: taken all ways  {texts[number - 1].strip()}")
        for (file, number), (function, runs) in sorted(functions.items()):
            if file != name:
                continue
            mark = marks.get(number)
            if runs == 0 and not mark:
                row["left"] += 1
                left.append(f"core/{name}:{number}: never called  {function}")
            elif runs and mark == "Never":
                stale.append(f"core/{name}:{number}: called  {function}")
        sums.update(row)
        show(name, row)
    show("core/", sums)
    for title, entries in (("No test takes", left), ("Stale exceptions", stale)):
        if entries:
            print(f"\n{title}:\n" + "\n".join(entries))
    return 1 if left or stale else 0


def show(name, row):
    lines = f"{row['run']}/{row['lines']}"
    branches = f"{row['taken']}/{row['branches']}"
    share = f"{100 * row['taken'] / row['branches']:.1f} %" if row["branches"] else ""
    print(f"{name:28}{lines:>16}{branches:>12}{share:>8}"
          f"{row['Never']:>9}{row['By chance']:>9}{row['behind']:>9}{row['left']:>7}")


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))
    sys.exit(main(os.path.realpath(sys.argv[1]), os.path.join(os.path.dirname(here), "core")))
