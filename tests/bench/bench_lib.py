"""What every benchmark needs: options, packages, building, running children in rounds, figures, progress, facts about
the machine."""
import argparse
import json
import math
import os
import platform
import re
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_ROUNDS = 7
QUICK_ROUNDS = 2
QUICK_SECONDS = 0.05  # that a run with tiny sizes is expected to take


class BenchError(Exception):
    """Something that the user must be told; the text names the thing."""


class PackagesMissing(BenchError):
    """--no-install was given and packages are missing."""


# Options.

def choose(option, wanted, known):
    """The items of the list `known` that the comma-separated `wanted` names, in the order of `known`."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise BenchError(f"{option}: '{', '.join(unknown) or wanted}' is none of {', '.join(known)}")
    return [name for name in known if name in names]


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return int(text)


def parse_variant(text, taken, files):
    """NAME=DIR or NAME=DIR:CFLAGS: the name, the tree, which must have `files`, and the flags."""
    name, separator, rest = text.partition("=")
    folder, _, flags = rest.partition(":")
    if not separator or not folder or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise BenchError(f"--variant: '{text}' is not NAME=DIR or NAME=DIR:CFLAGS")
    if name in taken:
        raise BenchError(f"--variant: the name '{name}' is taken")
    source = Path(folder).expanduser().resolve()
    for file in files:
        if not (source / file).is_file():
            raise BenchError(f"--variant: there is no {file} in {folder}")
    return name, source, flags


def add_common_options(parser, rows):
    parser.add_argument("--rows", default="all", metavar="ROW,...", help=f"all, or some of {', '.join(rows)}")
    parser.add_argument("--rounds", type=positive, metavar="N",
                        help=f"rounds of every timed row (default {DEFAULT_ROUNDS})")
    parser.add_argument("--pin", metavar="CPU", help="CPU to pin to, or none (default: the last one)")
    parser.add_argument("--quick", action="store_true",
                        help=f"tiny sizes and {QUICK_ROUNDS} rounds: tries the tool, measures nothing")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "bench", metavar="DIR",
                        help="for executables and the report (default build/bench)")
    parser.add_argument("--no-install", action="store_true", help="fail where packages are missing")


def make_build_dir(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"--build-dir: cannot make {path}: {error.strerror}") from None


def default_rounds(options):
    return options.rounds or (QUICK_ROUNDS if options.quick else DEFAULT_ROUNDS)


def chosen_rows(options, rows):
    return list(rows) if options.rows == "all" else choose("--rows", options.rows, list(rows))


# Packages.

def package_version(name):
    found = subprocess.run(["dpkg-query", "-W", "-f", "${Status}|${Version}", name], capture_output=True, text=True)
    status, _, version = found.stdout.partition("|")
    return version if found.returncode == 0 and status.endswith("ok installed") else None


def install_packages(needs, allowed):
    """`needs` are as tests/require_packages takes them: command:NAME=PACKAGE or header:NAME=PACKAGE."""
    missing = [package for package in (need.partition("=")[2] for need in needs) if package_version(package) is None]
    if missing and not allowed:
        raise PackagesMissing(f"packages are missing and --no-install was given: {' '.join(missing)}")
    if subprocess.run(["sh", str(ROOT / "tests" / "require_packages"), *needs], stdout=sys.stderr).returncode != 0:
        raise BenchError("what is named above is needed")


# Running children.

# Nothing of the caller's environment (LD_PRELOAD, MALLOC_*, MIMALLOC_*, LUA_PATH) reaches a measured process.
CHILD_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
JSON_FD = 3


class ChildFailed(Exception):
    """A measured process failed; the text says how."""


class Run:
    """One finished child: what it printed, the figures that it wrote, and what the kernel says it used."""

    def __init__(self, output, figures, cpu_ns, end_wall_ns, peak_kib):
        self.output, self.figures, self.cpu_ns, self.end_wall_ns = output, figures, cpu_ns, end_wall_ns
        self.peak_kib = peak_kib


def scratch_file(scratch):
    fd, name = tempfile.mkstemp(dir=scratch)
    os.close(fd)
    return name


def run_child(command, scratch, environment=None, timeout_seconds=600):
    """Runs a command with stdout, stderr and the JSON descriptor in files, so that no pipe wakes this process.
    `environment` is added to the little that every child gets."""
    names = [scratch_file(scratch) for _ in range(3)]
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        actions = [(os.POSIX_SPAWN_OPEN, fd, name, writing, 0o600) for fd, name in zip((1, 2, JSON_FD), names)]
        pid = os.posix_spawnp(command[0], [str(word) for word in command],
                              {**CHILD_ENVIRONMENT, **(environment or {})}, file_actions=actions)
        status, usage = wait_for(pid, timeout_seconds)
        end_wall_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        output, errors, figures = (Path(name).read_text(errors="replace") for name in names)
    finally:
        for name in names:
            os.unlink(name)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        how = f"exit status {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        said = [line for line in errors.splitlines() if not line.startswith("==")]  # valgrind's own
        raise ChildFailed("\n".join([f"{how}: {' '.join(str(word) for word in command)}", *said]))
    cpu_ns = round((usage.ru_utime + usage.ru_stime) * 1e9)
    return Run(output, json.loads(figures) if figures else {}, cpu_ns, end_wall_ns, child_peak_kib(usage))


def child_peak_kib(usage):
    """A child's peak, of itself or one of its own children. The kernel counts what it was before it ran the command, this
    process, too: None where that hides the child's own."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss if usage.ru_maxrss > own else None


def wait_for(pid, timeout_seconds):
    timer = threading.Timer(timeout_seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        _, status, usage = os.wait4(pid, 0)
        return status, usage
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        timer.cancel()


def choose_cpu(wanted):
    """The CPU to pin to, or None. `wanted`: None for the last one allowed, "none", or a number as text."""
    allowed = sorted(os.sched_getaffinity(0))
    if wanted == "none":
        return None
    if wanted is None:
        return allowed[-1]
    if not wanted.isdigit() or int(wanted) not in allowed:
        raise BenchError(f"--pin: '{wanted}' is not a CPU of this machine (one of {allowed}, or none)")
    return int(wanted)


class Pinned:
    """Pins this process, and so its children, while it is entered."""

    def __init__(self, cpu):
        self.cpu = cpu

    def __enter__(self):
        self.before = os.sched_getaffinity(0)
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})

    def __exit__(self, *_):
        os.sched_setaffinity(0, self.before)


# Building.

def compile_command(sources, output, flags, libraries):
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    return [*compiler, *flags, *[str(source) for source in sources], "-o", str(output), *libraries]


def build(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"cannot build: {' '.join(map(str, command))}\n{done.stderr.strip()}")


def cmake_library(tree, folder, target, file, flags=""):
    """Builds one library of a tree of emma as users get it, in `folder`; its path."""
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_FLAGS={flags}", "-DEMMA_BUILD_TESTS=OFF",
               "-DEMMA_BUILD_EXAMPLES=OFF", "-DEMMA_BUILD_LUA=OFF", "-DEMMA_INSTALL=OFF"]
    build(["cmake", "-S", str(tree), "-B", str(folder), "-G", "Unix Makefiles", *options])
    build(["cmake", "--build", str(folder), "--target", target])
    return folder / file


def described_commit(tree):
    """The commit of a source tree as git tells it, "" where it does not."""
    described = subprocess.run(["git", "-C", str(tree), "describe", "--always", "--dirty"],
                               capture_output=True, text=True)
    return described.stdout.strip() if described.returncode == 0 else ""


# Measuring.

class Rounds:
    """Runs the rows of a plan; keeps results and failures. A subclass has a method row_NAME for each row, and SECONDS
    for the expected time of each kind of run."""

    SECONDS = {}

    def __init__(self, plan, scratch, progress=None):
        self.plan, self.scratch = plan, scratch
        self.results, self.failures = {}, []
        self.progress = progress or Progress(self.expected_seconds())

    def seconds(self, kind):
        return QUICK_SECONDS if self.plan.quick and kind != "callgrind" else self.SECONDS[kind]

    def expected_seconds(self):
        raise NotImplementedError

    def pin(self, row):
        """The CPU that all of a row is pinned to, or None."""
        raise NotImplementedError

    def fail(self, text):
        if text not in self.failures:  # the same in each round
            self.failures.append(text)

    def child(self, what, command, environment=None):
        """Runs a command; None, and a failure on the list, when that fails."""
        try:
            return run_child(command, self.scratch, environment)
        except ChildFailed as failure:
            self.fail(f"{what}: {failure}")
            return None

    def rounds(self, row, kind, cases, measure):
        """Measures each case once per round, the order rotated. `cases` is a list of (key, allocator, arguments).
        Returns for each key the list of its figures, one per round, None where it failed."""
        results = {key: [] for key, _, _ in cases}
        for round_index in range(self.plan.rounds):
            shift = round_index % len(cases) if cases else 0
            for key, allocator, arguments in cases[shift:] + cases[:shift]:
                self.progress.step(f"{row}: {key}, round {round_index + 1} of {self.plan.rounds}", self.seconds(kind))
                results[key].append(measure(key, allocator, arguments))
        return results

    def compare_outputs(self, what, outputs):
        """`outputs` is {output: names of the allocators that gave it}; there should be one."""
        if len(outputs) <= 1:
            return
        told = "; ".join(f"{', '.join(sorted(set(names)))}: {text.strip()!r}" for text, names in outputs.items())
        self.fail(f"{what}: the output differs between runs: {told}")

    def callgrind(self, what, command, environment=None):
        """The finished run of a command under callgrind and the profile's text; (None, "") when it fails."""
        profile = Path(scratch_file(self.scratch))
        valgrind = ["valgrind", "--tool=callgrind", "--dump-line=no", f"--callgrind-out-file={profile}"]
        run = self.child(what, [*valgrind, *command], environment)
        text = profile.read_text() if run else ""
        profile.unlink()
        return run, text

    def run(self):
        for row in self.plan.rows:
            with Pinned(self.pin(row)):
                self.results[row] = getattr(self, f"row_{row.replace('-', '_')}")()
        self.progress.end()


def finish(bench):
    """Names the failures; the exit status."""
    for failure in bench.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


def inclusive_costs(profile, functions):
    """Calls of and instructions inside each function, its callees included, from a callgrind profile's text."""
    totals = {name: (0, 0) for name in functions}
    names, target, calls = {}, None, None
    for line in profile.splitlines():
        if calls is not None:
            if target in totals:
                count, cost = totals[target]
                totals[target] = (count + calls, cost + int(line.split()[1]))
            calls = None
        elif line.startswith("cfn="):
            target = resolve_name(line[4:], names)
        elif line.startswith("fn="):
            resolve_name(line[3:], names)
        elif line.startswith("calls="):
            calls = int(line[6:].split()[0])
    for name, (count, _) in totals.items():
        if count == 0:
            raise BenchError(f"the callgrind profile has no calls of {name}")
    return totals


def resolve_name(text, names):
    """callgrind writes a name once, as "(id) name", and "(id)" from then on."""
    number, _, name = text.partition(" ")
    if name:
        names[number] = name
    return names.get(number, number)


# Figures.

def median(values):
    return statistics.median(values)


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def paired_ratios(values, reference):
    """Round by round; a round that either of them lacks does not count."""
    return [a / b for a, b in zip(values, reference) if a is not None and b]


# Progress.

class Progress:
    """A line on stderr with what runs, what share is done, and the time that is left.

    Each step is announced with the seconds it is expected to take; how the expectation held so far scales the rest."""

    LINE_SECONDS = 10  # between lines where stderr is no terminal

    def __init__(self, expected_seconds):
        self.expected, self.done, self.begun = expected_seconds, 0.0, time.monotonic()
        self.shown, self.terminal = 0.0, sys.stderr.isatty()

    def step(self, text, expected_seconds):
        now = time.monotonic()
        if self.terminal or now - self.shown >= self.LINE_SECONDS:
            self.shown = now
            print(f"\r\033[K{self._line(text, now)}" if self.terminal else self._line(text, now),
                  end="" if self.terminal else "\n", file=sys.stderr, flush=True)
        self.done += expected_seconds

    def _line(self, text, now):
        share = self.done / self.expected if self.expected else 1
        pace = (now - self.begun) / self.done if self.done else 1
        left = round(max(0, self.expected - self.done) * pace)
        return f"[{share:4.0%}] {left // 60}:{left % 60:02d} left  {text}"

    def end(self):
        took = round(time.monotonic() - self.begun)
        print(f"{chr(13) + chr(27) + '[K' if self.terminal else ''}measured in {took // 60}:{took % 60:02d}",
              file=sys.stderr)


# The machine.

def first_line(path, prefix=""):
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(prefix):
                return line
    except OSError:
        pass
    return ""


def describe_machine():
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout.splitlines()
    huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": first_line("/proc/cpuinfo", "model name").partition(":")[2].strip() or platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(int(first_line("/proc/meminfo", "MemTotal").split()[1]) / (1 << 20), 1),
        "kernel": platform.release().partition("-")[0],
        "system": first_line("/etc/os-release", "PRETTY_NAME").partition("=")[2].strip('"'),
        "compiler": version[0] if version else "",
        "huge_pages": huge_pages[huge_pages.find("[") + 1:huge_pages.find("]")] if "[" in huge_pages else "",
        "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
