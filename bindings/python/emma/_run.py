"""The command line: starts Python anew with the library preloaded, and steps aside.

What the new Python runs, it runs by itself: exit status, signals, tracebacks, ``sys.argv``, ``__main__``, the
terminal are as without emma.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Iterator

from ._out import EXIT_FAILED, complain, guarded, write
from ._process import NAME, NAME_OF_ALL, path_of
from ._report import why_not
from ._size import format_size, parse_size

PROGRAM = "python -m emma"
EXIT_USAGE = 2

# Options that take a value, in front of the program.
_SAMPLE_BYTES = 512 << 10
_VALUED = ("--limit", "--soft-limit", "--report", "--domains")

# As the library's own.
_LEAST_SOFT_BYTES = 64 << 10

# Below this it is tried out whether Python starts with so little.
_SMALL_LIMIT_BYTES = 64 << 20
# As the library's own: what a limit holds back for error paths.
_SPARE_SHARE = 4
_SPARE_MOST_BYTES = 4 << 20
_LEAST_STEP_BYTES = 64 << 10
_PROBE_SECONDS = 60

# Of this package's libraries only one can be preloaded.
_LIBRARY_PREFIX = "libemma-python"

# What the list in EMMA_OPTIONS cannot carry as it is.
_ESCAPED = str.maketrans({"%": "%25", ",": "%2C"})


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rate(text: str) -> int:
    size = _size(text)
    if size == 0:
        raise argparse.ArgumentTypeError("a sample each 0 bytes cannot be")
    return size


def _domains(text: str) -> str:
    names = text.replace("+", ",").split(",")
    for name in names:
        if name not in ("raw", "mem", "obj"):
            raise argparse.ArgumentTypeError(f"{name!r} is no domain: use raw, mem and obj, with commas")
    return "+".join(names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Python with its memory in emma.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("run", help="run a program", add_help=False)
    commands.add_parser("top", help="show the instances of a running process", add_help=False)
    doctor = commands.add_parser("doctor", allow_abbrev=False, help="tell whether a program would be served, and how")
    doctor.set_defaults(parser=doctor)
    diff = commands.add_parser("diff", allow_abbrev=False, help="tell what grew from one report to another")
    diff.add_argument("before", metavar="A.json", help="the report of before")
    diff.add_argument("now", metavar="B.json", help="the report of now")
    diff.add_argument("--json", action="store_true", help="for programs")
    flame = commands.add_parser("flame", allow_abbrev=False, help="make a flame graph of a report's allocation sites")
    flame.add_argument("report", metavar="REPORT.json", help="made with --sample")
    flame.add_argument("out", metavar="OUT", help=".collapsed, .folded or .txt: collapsed stacks of live bytes; .json: speedscope, "
                                                  "live and allocated")
    return parser


def _run_parser() -> argparse.ArgumentParser:
    run = argparse.ArgumentParser(
        prog=f"{PROGRAM} run", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [options] (script | - | -m module | -c code) [argument ...]",
        description="Runs a program as python does, with its memory in emma.",
        epilog="Sizes are bytes, or a number of K, M or G. What is over the limit is a MemoryError in the program.\n"
               "Options of python itself go before -m emma.")
    run.add_argument("--limit", type=_size, metavar="SIZE", help="hard cap on Python's memory")
    run.add_argument("--soft-limit", type=_size, metavar="SIZE", help="warn on stderr when it takes more, once")
    run.add_argument("--stats", action="store_true", help="print figures on stderr at exit")
    run.add_argument("--report", metavar="FILE", help="write a report at exit: .html to look at, .json or .svg; - is stdout")
    run.add_argument("--sample", type=_rate, nargs="?", const=_SAMPLE_BYTES, metavar="SIZE",
                     help="tell in the report which lines allocate, from a sample each SIZE (512K); --sample=SIZE")
    run.add_argument("--export", action="store_true", help="show figures to `emma top` while the program runs")
    run.add_argument("--children", action=argparse.BooleanOptionalAction, default=True,
                     help="serve the Python programs that this one starts, too, each with a limit of its own")
    run.add_argument("--all", action="store_true",
                     help="serve the process's malloc, too: what extensions in C take then counts in the limit")
    run.add_argument("--domains", type=_domains, metavar="LIST", help="serve only some of raw, mem, obj")
    run.set_defaults(parser=run)
    return run


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Where emma's own arguments end and the program begins."""
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        if argument == "--":
            return arguments[:at], arguments[at + 1:]
        if not argument.startswith("--") and argument != "-h":
            break
        at += 2 if argument in _VALUED else 1
    return arguments[:at], arguments[at:]


def interpreter_flags(original: list[str]) -> list[str]:
    """The options that python itself was given: of ``sys.orig_argv``, what stands before ``-m emma``."""
    flags: list[str] = []
    rest = iter(original[1:])
    for argument in rest:
        if not argument.startswith("-") or argument in ("-", "--"):
            break
        if argument == "--check-hash-based-pycs":
            flags += [argument, next(rest, "")]
        elif argument.startswith("--"):
            flags.append(argument)
        elif _split_cluster(argument[1:], rest, flags):
            break
    return flags


def _split_cluster(letters: str, rest: Iterator[str], flags: list[str]) -> bool:
    """Adds the options that a word such as ``-bX`` has; True at the one that names the module."""
    for at, letter in enumerate(letters):
        if letter == "m":
            return True
        if letter in "XW":
            flags += [f"-{letter}", letters[at + 1:] or next(rest, "")]
            return False
        flags.append(f"-{letter}")
    return False


def _fail(message: object, status: int) -> int:
    complain(f"{PROGRAM} run", message)
    return status


def _library_for(options: argparse.Namespace) -> Path:
    """The library to preload, which the loader must be able to take."""
    path = path_of(NAME_OF_ALL if options.all else NAME)
    if not path.is_file():
        raise OSError(f"the library {path} is missing: install the package again")
    if any(letter in str(path) for letter in " :\n"):
        raise OSError(f"the library {path} cannot be preloaded: its path has a space or a colon in it")
    import ctypes

    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        raise OSError(f"the library cannot be preloaded: {error}") from None
    return path


def _options_of_environment() -> list[str]:
    """What EMMA_OPTIONS asks for; without what a program around this one was asked to tell about itself."""
    items = [item for item in os.environ.get("EMMA_OPTIONS", "").split(",") if item]
    if any(item.startswith("process=") for item in items):
        items = [item for item in items if item.partition("=")[0] not in ("process", "report", "sample", "stats")]
    return items


def _environment(library: Path, options: argparse.Namespace, report: str | None) -> dict[str, str]:
    """The variables of the program."""
    asked = _options_of_environment()
    asked += [f"limit={options.limit}"] if options.limit is not None else []
    asked += [f"soft-limit={options.soft_limit}"] if options.soft_limit is not None else []
    asked += ["stats=1"] if options.stats else []
    asked += ["export=1"] if options.export else []
    asked += [f"children={int(options.children)}"]
    asked += [f"domains={options.domains}"] if options.domains else []
    asked += [f"report={report.translate(_ESCAPED)}"] if report else []
    asked += [f"sample={options.sample}"] if options.sample else []
    asked += [f"process={os.getpid()}"]
    preloaded = " ".join(entry for entry in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
                         if not os.path.basename(entry).startswith(_LIBRARY_PREFIX))
    return {**os.environ, "EMMA_OPTIONS": ",".join(filter(None, asked)),
            "LD_PRELOAD": f"{library} {preloaded}".strip()}


def _peak_of_start(command: list[str], library: Path, domains: str | None) -> int | None:
    """Bytes of emma's memory that Python takes to do nothing; None where that cannot be found out."""
    import json
    import subprocess
    import tempfile

    served = f"domains={domains}," if domains else ""
    try:
        with tempfile.TemporaryDirectory(prefix="emma-") as folder:
            report = os.path.join(folder, "start.json")
            environment = {**os.environ, "LD_PRELOAD": str(library),
                           "EMMA_OPTIONS": f"{served}report={report.translate(_ESCAPED)}"}
            subprocess.run([*command, "-c", "pass"], env=environment, stdin=subprocess.DEVNULL, check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_PROBE_SECONDS)
            with open(report, encoding="utf-8") as file:
                return int(json.load(file)["peak_footprint_bytes"])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _least_limit(command: list[str], library: Path, domains: str | None) -> int:
    peak = _peak_of_start(command, library, domains)
    if peak is None:
        return 0
    least = min(peak * _SPARE_SHARE // (_SPARE_SHARE - 1), peak + _SPARE_MOST_BYTES)
    return -(-least // _LEAST_STEP_BYTES) * _LEAST_STEP_BYTES


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str | None:
    """Ends with argparse's error what cannot be meant."""
    if options.limit is not None and options.soft_limit is not None and options.soft_limit > options.limit:
        parser.error("argument --soft-limit: it is above --limit")
    if options.soft_limit is not None and options.soft_limit < _LEAST_SOFT_BYTES:
        parser.error(f"argument --soft-limit: {format_size(options.soft_limit)} is below the least, "
                     f"{format_size(_LEAST_SOFT_BYTES)}")
    if options.sample and options.report is None:
        parser.error("argument --sample: it needs --report, which tells what was sampled")
    if options.report is None:
        return None
    if options.report == "-":
        return "/dev/stdout"
    if not options.report:
        parser.error("argument --report: the name of a file is missing")
    report: str = os.path.abspath(options.report)
    return report


def _empty_report(path: str) -> None:
    """Takes the figures of a run before out, so that none are there if this one is killed."""
    if os.path.isfile(path) and not _is_standard_stream(path):
        os.truncate(path, 0)


def _limit_in_environment() -> int | None:
    """The limit that EMMA_OPTIONS has, as the library reads it; None if there is none."""
    limit = None
    for item in os.environ.get("EMMA_OPTIONS", "").split(","):
        key, _, value = item.partition("=")
        if key == "limit":
            try:
                limit = parse_size(value)
            except ValueError:
                pass  # the library says so
    return limit


def _is_standard_stream(path: str) -> bool:
    for descriptor in (1, 2):
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return True
        except OSError:
            pass
    return False


def _run(options: argparse.Namespace, program: list[str]) -> int:
    if not program:
        options.parser.error("a script, -m module or -c code is missing")
    report = _check(options, options.parser)
    try:
        library = _library_for(options)
    except OSError as error:
        return _fail(error, EXIT_FAILED)
    problem = report and why_not(report)
    if problem:
        return _fail(f"--report: cannot write {options.report!r}: {problem}", EXIT_FAILED)
    command = [sys.executable, *interpreter_flags(sys.orig_argv)]
    asked = options.limit is not None
    limit = options.limit if asked else _limit_in_environment()
    if limit is not None and limit < _SMALL_LIMIT_BYTES:
        least = _least_limit(command, library, options.domains)
        if limit < least:
            return _fail(f"{'--limit' if asked else 'the limit in EMMA_OPTIONS,'} {limit >> 10}K is too small to start "
                         f"Python: the least is {least >> 10}K", EXIT_USAGE)
    if report:
        _empty_report(report)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execve(sys.executable, command + program, _environment(library, options, report))
    except OSError as error:
        return _fail(f"{sys.executable}: {error.strerror}", EXIT_FAILED)


def _tell(asked: argparse.Namespace) -> int:
    """The commands that read reports."""
    from . import _diff, _sites

    try:
        if asked.command == "diff":
            _diff.diff(asked.before, asked.now, asked.json)
        else:
            _sites.flame(asked.report, asked.out)
        return 0
    except BrokenPipeError:
        return 0
    except (_sites.BadReport, ValueError) as error:
        why = str(error)
    except OSError as error:
        why = f"{asked.out}: {error.strerror}" if asked.command == "flame" else str(error)
    return complain(f"{PROGRAM} {asked.command}", why)


def tell_doctor() -> int:
    """What ``emma doctor`` has the Python do that it starts."""
    import emma

    def tell() -> int:
        write(emma.doctor())
        return 0

    return guarded(f"{PROGRAM} doctor", tell)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns an exit status where it did not become another program."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["run"]:
        own, program = split(arguments[1:])
        return _run(_run_parser().parse_args(own), program)
    if arguments[:1] == ["top"]:
        from ._top import main as top
        return top(arguments[1:])
    asked = _parser().parse_args(arguments)
    if asked.command in ("diff", "flame"):
        return guarded(f"{PROGRAM} {asked.command}", lambda: _tell(asked))
    return _run(_run_parser().parse_args([]), ["-c", "import sys, emma._run; sys.exit(emma._run.tell_doctor())"])
