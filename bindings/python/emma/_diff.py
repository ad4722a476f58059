"""``emma diff``: what grew from one report to another."""

import json
import os
import sys
from typing import Callable, Generic, Iterable, TextIO, TypeVar

from ._out import write
from ._sites import Report, Stack, frame_text, load, sites_of, whole
from ._size import format_size
from ._text import printable

_MOST_ROWS = 15

# What a heap has, in the order in which it is told; and whether it is bytes.
_FIGURES = (("live_bytes", True), ("live_blocks", False), ("footprint_bytes", True), ("peak_footprint_bytes", True),
            ("retained_bytes", True), ("large_bytes", True), ("large_blocks", False), ("metadata_bytes", True),
            ("outside_bytes", True), ("refused_count", False))

# What a row is about: the bytes of a size class, the name of a type, or a stack.
Name = TypeVar("Name")
Total = tuple[int, int]  # bytes, count


class Row(Generic[Name]):
    """Something with bytes, maybe with a count, before and now."""

    def __init__(self, name: Name, before: Total, now: Total) -> None:
        self.name, self.before, self.now = name, before, now

    @property
    def growth(self) -> int:
        return self.now[0] - self.before[0]

    @property
    def more(self) -> int:
        return self.now[1] - self.before[1]


def _rows(before: dict[Name, Total], now: dict[Name, Total]) -> list[Row[Name]]:
    """The most growth first, then the most loss; what stayed is left out."""
    rows = [Row(name, before.get(name, (0, 0)), now.get(name, (0, 0))) for name in {**before, **now}]
    return sorted((row for row in rows if row.growth or row.more), key=lambda row: (-row.growth, -row.more, str(row.name)))


def _add_up(items: Iterable[tuple[Name, int, int]]) -> dict[Name, Total]:
    totals: dict[Name, Total] = {}
    for name, size, count in items:
        total = totals.get(name, (0, 0))
        totals[name] = (total[0] + size, total[1] + count)
    return totals


def _classes(report: Report) -> dict[int, Total]:
    rows = ((whole(row["block_bytes"]), whole(row["live_blocks"])) for row in report["classes"])
    return _add_up((size, size * count, count) for size, count in rows)


def _types(report: Report) -> dict[str, Total]:
    return _add_up((str(row["name"]), whole(row["bytes"]), whole(row["count"])) for row in report["types"])


def _read(report: Report, name: str, read: Callable[[Report], dict[Name, Total]]) -> dict[Name, Total] | None:
    try:
        return read(report) if report[name] else None
    except (KeyError, TypeError):
        return None


def _sites(report: Report, path: str) -> dict[Stack, Total] | None:
    sites = sites_of(report, path)
    return None if sites is None else _add_up((site.stack, site.live_bytes, site.live_blocks) for site in sites)


class Comparison:
    """Two reports. ``notes`` tells what cannot be compared, and why."""

    def __init__(self, path_before: str, path_now: str) -> None:
        self.paths = path_before, path_now
        before, now = self.reports = load(path_before), load(path_now)
        self.notes: list[str] = []
        for name in ("emma", "runtime", "program"):
            if before.get(name) != now.get(name):
                self.notes.append(f"{name} differs: {before.get(name)} and {now.get(name)}")
        self.figures = [(name, is_size, before[name], now[name]) for name, is_size in _FIGURES
                        if self._both(name, [type(report.get(name)) is int for report in self.reports], quiet=name == "outside_bytes")]
        self.classes = self._compare("classes", [_read(report, "classes", _classes) for report in self.reports], "they are missing")
        self.types = self._compare("types", [_read(report, "types", _types) for report in self.reports], "they were not counted")
        self.sites = self._compare("sites", [_sites(report, path) for report, path in zip(self.reports, self.paths)],
                                   "made without --sample")
        if self.sites is not None:
            rates = [report["sites"].get("rate_bytes") for report in self.reports]
            if rates[0] != rates[1] and all(type(rate) is int for rate in rates):
                self.notes.append(f"sampled at different rates: {rates[0]} and {rates[1]} bytes")

    def _both(self, name: str, has: list[bool], why: str = "it is missing", quiet: bool = False) -> bool:
        """Whether both reports have it. What neither has is told only if ``quiet`` is false."""
        without = [path for path, one_has in zip(self.paths, has) if not one_has]
        if without and not (quiet and len(without) == len(self.paths)):
            self.notes.append(f"no {name} in {' and '.join(without)}: {why}")
        return not without

    def _compare(self, name: str, tables: list[dict[Name, Total] | None], why: str) -> list[Row[Name]] | None:
        self._both(name, [table is not None for table in tables], why)
        before, now = tables
        return None if before is None or now is None else _rows(before, now)

    def to_json(self) -> dict[str, object]:
        def table(rows: list[Row[Name]] | None, name: str) -> list[dict[str, object]] | None:
            return None if rows is None else [
                {name: row.name, "bytes_before": row.before[0], "bytes": row.now[0], "growth_bytes": row.growth,
                 "count_before": row.before[1], "count": row.now[1]} for row in rows]

        return {"before": self.paths[0], "now": self.paths[1], "notes": self.notes,
                "figures": {name: {"before": before, "now": now, "growth": now - before} for name, _, before, now in self.figures},
                "classes": table(self.classes, "block_bytes"), "types": table(self.types, "name"), "sites": table(self.sites, "stack")}


def _signed_size(size: int) -> str:
    return "0" if size == 0 else ("+" if size > 0 else "-") + format_size(abs(size))


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "0"


class _Printer:
    """Lines of text; what grew is red and what shrank is green, where there are colours."""

    def __init__(self, colour: bool) -> None:
        self.lines: list[str] = []
        self._colour = colour

    def line(self, text: str = "") -> None:
        self.lines.append(printable(text))

    def row(self, growth: int, size: str, count: str, rest: str) -> None:
        text = f"{size:>14} {count:>12}"
        if self._colour and growth:
            text = f"\033[{31 if growth > 0 else 32}m{text}\033[0m"
        self.lines.append(f"{text}  {printable(rest)}")


def _print_table(out: _Printer, title: str, rows: list[Row[Name]] | None, name: Callable[[Row[Name]], str]) -> None:
    if rows is None:
        return
    out.line()
    out.line(f"{title}:" if rows else f"{title}: no difference")
    for row in rows[:_MOST_ROWS]:
        out.row(row.growth, _signed_size(row.growth), _signed(row.more),
                f"{name(row)}  ({format_size(row.before[0])} -> {format_size(row.now[0])})")
    if len(rows) > _MOST_ROWS:
        rest = rows[_MOST_ROWS:]
        total = sum(row.growth for row in rest)
        out.row(total, _signed_size(total), _signed(sum(row.more for row in rest)), f"{len(rest)} more")


def _site_name(row: Row[Stack]) -> str:
    return " <- ".join(frame_text(frame) for frame in reversed(row.name[-3:]))


def _text_of(comparison: Comparison, colour: bool) -> str:
    out = _Printer(colour)
    out.line(f"From {comparison.paths[0]} to {comparison.paths[1]}")
    for note in comparison.notes:
        out.line(f"note: {note}")
    out.line()
    for name, is_size, before, now in comparison.figures:
        text: Callable[[int], str] = format_size if is_size else "{:,}".format
        growth = now - before
        out.row(growth, _signed_size(growth) if is_size else "", "" if is_size else _signed(growth),
                f"{name}  ({text(before)} -> {text(now)})")
    _print_table(out, "Live bytes by allocation site, estimated", comparison.sites, _site_name)
    _print_table(out, "Bytes by type", comparison.types, lambda row: row.name)
    _print_table(out, "Live bytes by size class", comparison.classes, lambda row: f"blocks of {row.name} bytes")
    return "\n".join(out.lines)


def _has_colours(stream: TextIO | None) -> bool:
    return (stream is not None and stream.isatty() and "NO_COLOR" not in os.environ
            and os.environ.get("TERM") != "dumb")


def diff(path_before: str, path_now: str, as_json: bool) -> None:
    """Prints what grew."""
    comparison = Comparison(path_before, path_now)
    write(json.dumps(comparison.to_json(), indent=1) if as_json else _text_of(comparison, _has_colours(sys.stdout)))
