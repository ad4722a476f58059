"""``emma top``: the instances of a running process, live on a terminal, or once as a table or as JSON."""

import argparse
import json
import os
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, NamedTuple, Sequence

from ._out import EXIT_FAILED, complain, encoding_of_stdout, guarded, write
from ._text import padded, representable, width_of
from ._top_page import Ended, Instance, Key, Look, Process, TopError, exporting, program_of

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

PROGRAM = "emma top"

_INTERVAL_LEAST = 0.1
_INTERVAL_MOST = 3600.0
_UNITS = "KMGTPE"


def size_text(size: int | None) -> str:
    """A size in as few letters as will do: "96", "1.5K", "640M"; "-" for None."""
    if size is None:
        return "-"
    if size < 1024:
        return str(size)
    value = float(size)
    for unit in _UNITS:
        value /= 1024
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"


def rate_text(rate: float | None) -> str:
    """Bytes per second with their sign; nothing where nothing changes."""
    if rate is None or abs(rate) < 1:
        return ""
    return f"{'+' if rate > 0 else '-'}{size_text(int(abs(rate)))}/s"


def live_most(instance: Instance) -> int:
    """What is live at most, for instances whose owner alone could sum it up."""
    if instance.live_bytes is not None:
        return instance.live_bytes
    return max(0, instance.footprint_bytes - instance.metadata_bytes - instance.retained_bytes
               - instance.checkpoint_bytes)


def _live_text(instance: Instance) -> str:
    return ("<" if instance.live_bytes is None else "") + size_text(live_most(instance))


def used_share(instance: Instance) -> float | None:
    """The part of the limit that is in use; None without a limit."""
    if not instance.limit_bytes:
        return None
    return instance.footprint_bytes / instance.limit_bytes


def _limit_text(instance: Instance) -> str:
    share = used_share(instance)
    return "none" if share is None else f"{size_text(instance.limit_bytes)} {share:4.0%}"


class Column(NamedTuple):
    """A column: its text and what it is sorted by, of an instance and the rate at which its footprint changes. Those of
    the highest `rank` go first where the terminal is narrow."""

    name: str
    width: int
    rank: int
    is_text: bool
    text: Callable[[Instance, float | None], str]
    value: "Callable[[Instance, float | None], SupportsRichComparison]"


COLUMNS = (
    Column("#", 4, 2, False, lambda i, _: str(i.number), lambda i, _: -i.number),
    Column("NAME", 12, 0, True, lambda i, _: i.name, lambda i, _: i.name.lower()),
    Column("KIND", 8, 3, True, lambda i, _: i.kind, lambda i, _: i.kind),
    Column("LIVE", 7, 4, False, lambda i, _: _live_text(i), lambda i, _: live_most(i)),
    Column("FOOTPRINT", 9, 0, False, lambda i, _: size_text(i.footprint_bytes), lambda i, _: i.footprint_bytes),
    Column("RATE", 9, 1, False, lambda _, rate: rate_text(rate), lambda _, rate: rate or 0),
    Column("PEAK", 7, 2, False, lambda i, _: size_text(i.peak_footprint_bytes), lambda i, _: i.peak_footprint_bytes),
    Column("LIMIT", 16, 0, False, lambda i, _: _limit_text(i), lambda i, _: used_share(i) or 0),
    Column("RETAINED", 8, 5, False, lambda i, _: size_text(i.retained_bytes), lambda i, _: i.retained_bytes),
    Column("METADATA", 8, 6, False, lambda i, _: size_text(i.metadata_bytes), lambda i, _: i.metadata_bytes),
    Column("REFUSED", 7, 1, False, lambda i, _: str(i.refused_count), lambda i, _: i.refused_count),
)
BY_FOOTPRINT = next(at for at, column in enumerate(COLUMNS) if column.name == "FOOTPRINT")


def ordered(instances: Sequence[Instance], rates: Mapping[Key, float], at: int, backwards: bool = False) -> list[Instance]:
    """Instances by a column: text upwards, numbers downwards; equal ones by their numbers."""
    column = COLUMNS[at]
    return sorted(sorted(instances, key=lambda i: i.number), reverse=column.is_text == backwards,
                  key=lambda i: column.value(i, rates.get(i.key)))


def totals_of(instances: Sequence[Instance]) -> dict[str, int | None]:
    """Sums of what can be summed up."""
    live = [i.live_bytes for i in instances if i.live_bytes is not None]
    return {
        "instances": len(instances),
        "live_bytes": sum(live) if live and len(live) == len(instances) else None,
        **{name: sum(getattr(i, name) for i in instances)
           for name in ("footprint_bytes", "metadata_bytes", "retained_bytes", "checkpoint_bytes", "refused_count")},
    }


def rates_between(before: Look, now: Look) -> dict[Key, float]:
    """Bytes per second by which each footprint grew from one look to the next."""
    seconds = now.monotonic - before.monotonic
    if seconds <= 0:
        return {}
    then = {i.key: i.footprint_bytes for i in before.instances}
    return {i.key: (i.footprint_bytes - then[i.key]) / seconds for i in now.instances if i.key in then}


def seconds_text(seconds: float) -> str:
    """How long: "42 s", "3 min 20 s", "5 h 12 min", "3 d 2 h"."""
    seconds = int(seconds)
    if seconds < 60:
        return f"{seconds} s"
    for big, small, size, part in (("min", "s", 60, 1), ("h", "min", 3600, 60), ("d", "h", 86400, 3600)):
        if seconds < size * (60 if big == "min" else 24) or big == "d":
            return f"{seconds // size} {big} {seconds % size // part} {small}"
    return ""


def head_of(look: Look) -> str:
    """The line above the table."""
    return f"process {look.pid} ({look.program}), emma {look.emma}: up {seconds_text(look.up_seconds)}"


def totals_text(look: Look) -> str:
    """The line of sums."""
    totals = totals_of(look.instances)
    text = (f"{totals['instances']} instance{'' if totals['instances'] == 1 else 's'}: "
            f"footprint {size_text(totals['footprint_bytes'])} of {size_text(look.resident_bytes)} resident, "
            f"refused {totals['refused_count']}")
    if look.unshown:
        text += f", {look.unshown} more without room"
    if totals["live_bytes"] is not None:
        text += f", live {size_text(totals['live_bytes'])}"
    return text + f", retained {size_text(totals['retained_bytes'])}, metadata {size_text(totals['metadata_bytes'])}"


def _lines(rows: Sequence[Sequence[str]], is_text: Sequence[bool]) -> Iterator[str]:
    """Rows of words in columns, as stdout has them."""
    rows = [[representable(word, encoding_of_stdout()) for word in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(padded(word, width, not text) for word, width, text in zip(row, widths, is_text)).rstrip()


def table(look: Look) -> str:
    """All of it once; the rate takes two looks, so it is not there."""
    columns = [column for column in COLUMNS if column.name != "RATE"]
    rows = [[column.name for column in columns]]
    rows += [[column.text(i, None) for column in columns] for i in ordered(look.instances, {}, BY_FOOTPRINT)]
    return "\n".join([head_of(look), totals_text(look), "", *_lines(rows, [c.is_text for c in columns])])


def as_json(look: Look) -> dict[str, object]:
    """The same for programs: bytes, but for the counts; null: no limit, or not known."""
    instances = [{name: value for name, value in i._asdict().items() if name != "key"}
                 for i in ordered(look.instances, {}, BY_FOOTPRINT)]
    return {"process": look.pid, "program": look.program, "emma": look.emma, "up_seconds": round(look.up_seconds, 1),
            "resident_bytes": look.resident_bytes, "age_seconds": round(look.age_seconds, 3),
            "unshown_count": look.unshown, "totals": totals_of(look.instances), "instances": instances}


def _list(asks_json: bool) -> int:
    looks = list(exporting())
    if asks_json:
        write(json.dumps([as_json(look) for look in looks], indent=2))
    elif not looks:
        write("no process exports here that this user may look at")
    else:
        rows = [["PID", "PROGRAM", "INSTANCES", "FOOTPRINT"]]
        rows += [[str(look.pid), look.program, str(len(look.instances)),
                  size_text(totals_of(look.instances)["footprint_bytes"])] for look in looks]
        write("\n".join(_lines(rows, [False, True, False, False])))
    return 0


def _pid(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a process")
    return int(text)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _INTERVAL_LEAST <= seconds <= _INTERVAL_MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {_INTERVAL_LEAST:g} to "
                                         f"{_INTERVAL_MOST:g}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, allow_abbrev=False,
        description="Shows the instances of a process that exports them, live; without PID, which processes do.",
        epilog="A process exports when it is asked to at its start: emma-lua --export, python -m emma run --export, "
               "EMMA_OPTIONS=export=1 for libemma-malloc and libemma-python. The same user may look, and root.")
    parser.add_argument("pid", nargs="?", type=_pid, metavar="PID", help="the process")
    parser.add_argument("--interval", type=_interval, default=1.0, metavar="SECONDS", help="between two looks (1)")
    parser.add_argument("--once", action="store_true", help="print a table and exit, as where stdout is no terminal")
    parser.add_argument("--json", action="store_true", help="print JSON and exit")
    return parser


def _watch(process: Process, interval: float) -> str | None:
    """The screen; why it cannot be shown, or None."""
    try:
        import curses
    except ImportError:
        return "this Python has no module curses: use --once"
    from ._top_screen import show
    try:
        show(process, interval)
    except curses.error as error:
        return f"this terminal cannot be used ({error}): use --once"
    return None


def _fail(what: str) -> int:
    return complain(PROGRAM, what)


def _show(process: Process, options: argparse.Namespace) -> int:
    look = process.look()
    if options.json:
        write(json.dumps(as_json(look), indent=2))
    elif options.once or not os.isatty(1):
        write(table(look))
    else:
        why = _watch(process, options.interval)
        if why:
            return _fail(why)
    return 0


def _top(options: argparse.Namespace) -> int:
    if options.pid is None:
        return _list(options.json)
    try:
        process = Process(options.pid)
    except TopError as error:
        name = "" if isinstance(error, Ended) else f" ({program_of(options.pid)})"
        return _fail(f"process {options.pid}{name}: {error}")
    try:
        return _show(process, options)
    except MemoryError:
        return _fail(f"process {process.pid} ({process.program}): no memory for what it exports")
    except TopError as error:  # it was there
        write(f"{PROGRAM}: process {process.pid} ({process.program}): {error}")
        return 0 if isinstance(error, Ended) else EXIT_FAILED
    finally:
        process.close()


def main(arguments: list[str]) -> int:
    """Runs ``emma top ARGUMENTS``; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return guarded(PROGRAM, lambda: _top(options))
    except KeyboardInterrupt:
        return 0
