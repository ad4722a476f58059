"""The screen of ``emma top``, by curses."""

import curses
import time

from ._text import cut, padded, representable
from ._top import (BY_FOOTPRINT, COLUMNS, Column, head_of, ordered, rates_between, seconds_text, size_text, totals_text,
                   used_share)
from ._top_page import Instance, Key, Process

_GAP = 1
_SIZE_WIDTH = len("1023M")
_NAME_MOST = 31
_LIMIT_MOST = 36
_FULL, _NEARLY = 0.9, 0.7
# Older figures than this are told to be so.
_AGE_SECONDS = 3.0

_KEYS = "q quit  < > column  s next column  r reverse  p pause  ? help"
_HELP = """\
Each row is an instance of emma in the process.

LIVE       bytes in blocks handed out; <: less, where only the owner could tell
FOOTPRINT  memory taken from the system, all included
RATE       by how much that changes
PEAK       the most it ever was
LIMIT      the part of the limit that is in use, and the limit
RETAINED   free memory, kept for reuse
METADATA   emma's own
REFUSED    requests refused for want of memory

K, M, G: 1024, 1024 K, 1024 M bytes.

< >        sort by the column to the left, to the right
s          sort by the next column; behind the last comes the first
r          the other way round
up, down   scroll; page up, page down, home, end
p          pause, and go on
q          quit

Any key goes back."""


def _room_for(columns: list[Column]) -> int:
    return sum(column.width + _GAP for column in columns) - _GAP


def _fit(room: int) -> tuple[list[Column], int]:
    """The columns that fit, and what room they leave."""
    columns = sorted(COLUMNS, key=lambda column: column.rank)
    while len(columns) > 1 and _room_for(columns) > room:
        columns.pop()
    return [column for column in COLUMNS if column in columns], max(0, room - _room_for(columns))


class _Screen:
    """What is shown, and how it was asked to be."""

    def __init__(self, window: curses.window, process: Process, interval: float) -> None:
        self._window = window
        self._process = process
        self._interval = interval
        self._look = process.look()
        self._rates: dict[Key, float] = {}
        self._sort = BY_FOOTPRINT
        self._backwards = self._paused = self._helps = False
        self._first = 0
        self._colors = self._make_colors()
        # Without wide characters curses takes a letter of several bytes for several.
        self._encoding = window.encoding if hasattr(window, "get_wch") else "ascii"

    @staticmethod
    def _make_colors() -> dict[str, int]:
        colors = {"plain": 0, "head": curses.A_REVERSE, "sorted": curses.A_REVERSE | curses.A_BOLD, "low": 0,
                  "high": curses.A_BOLD, "full": curses.A_BOLD, "dim": curses.A_DIM, "title": curses.A_BOLD}
        if curses.has_colors():
            curses.use_default_colors()
            for number, (name, color) in enumerate((("low", curses.COLOR_GREEN), ("high", curses.COLOR_YELLOW),
                                                    ("full", curses.COLOR_RED)), start=1):
                curses.init_pair(number, color, -1)
                colors[name] |= curses.color_pair(number)
        return colors

    def _shown(self, text: str) -> str:
        """As the terminal has it."""
        return representable(text, self._encoding)

    def _put(self, line: int, at: int, text: str, color: str = "plain") -> None:
        height, width = self._window.getmaxyx()
        if line >= height or at >= width:
            return
        try:
            self._window.addstr(line, at, cut(text, width - at), self._colors[color])
        except curses.error:
            pass  # the last cell of the screen cannot be written without an error

    # ---- drawing ----

    def _bar(self, line: int, at: int, instance: Instance, width: int) -> None:
        """[|||||     52%] and the limit."""
        share = used_share(instance)
        limit = size_text(instance.limit_bytes) if share is not None else "none"
        self._put(line, at + width - _SIZE_WIDTH, limit.rjust(_SIZE_WIDTH), "plain" if share is not None else "dim")
        if share is None:
            return
        inner = width - _SIZE_WIDTH - len("[] ")
        color = "full" if share >= _FULL else "high" if share >= _NEARLY else "low"
        percent = f"{min(share, 9.99):.0%}"
        bar = ("|" * round(min(share, 1.0) * inner)).ljust(inner)
        self._put(line, at, "[" + " " * inner + "]", "dim")
        self._put(line, at + 1, bar[:inner - len(percent)], color)
        self._put(line, at + 1 + inner - len(percent), percent)

    def _widths(self, columns: list[Column], spare: int) -> dict[str, int]:
        """Room that is left goes to the name, and to the bar."""
        widths = {column.name: column.width for column in columns}
        name = min(spare // 2, _NAME_MOST - widths["NAME"])
        widths["NAME"] += name
        if "LIMIT" in widths:
            widths["LIMIT"] = min(_LIMIT_MOST, widths["LIMIT"] + spare - name)
        return widths

    def _row(self, line: int, columns: list[Column], widths: dict[str, int], instance: Instance) -> None:
        at = 0
        for column in columns:
            width = widths[column.name]
            if column.name == "LIMIT":
                self._bar(line, at, instance, width)
            else:
                text = cut(self._shown(column.text(instance, self._rates.get(instance.key))), width)
                self._put(line, at, padded(text, width, not column.is_text))
            at += width + _GAP

    def _heading(self, line: int, columns: list[Column], widths: dict[str, int]) -> None:
        self._put(line, 0, " " * self._window.getmaxyx()[1], "head")
        at = 0
        for column in columns:
            width = widths[column.name]
            text = cut(column.name, width)
            sorts = column is COLUMNS[self._sort]
            self._put(line, at, padded(text, width, not column.is_text), "sorted" if sorts else "head")
            at += width + _GAP
        self._mark_sorted(line, columns, widths)

    def _mark_sorted(self, line: int, columns: list[Column], widths: dict[str, int]) -> None:
        """Underlines the column that rows are sorted by, also where there is no bold."""
        at = 0
        height, width = self._window.getmaxyx()
        for column in columns:
            if column is COLUMNS[self._sort] and line < height and at < width:
                self._window.chgat(line, at, min(widths[column.name], width - at),
                                   self._colors["sorted"] | curses.A_UNDERLINE)
            at += widths[column.name] + _GAP

    def _table(self, height: int, width: int) -> tuple[int, int]:
        columns, spare = _fit(width)
        widths = self._widths(columns, spare)
        rows = ordered(self._look.instances, self._rates, self._sort, self._backwards)
        room = max(0, height - 5)
        self._first = max(0, min(self._first, len(rows) - room))
        self._heading(3, columns, widths)
        for line, instance in enumerate(rows[self._first:self._first + room]):
            self._row(4 + line, columns, widths, instance)
        return len(rows), room

    def _foot(self, line: int, count: int, room: int) -> None:
        text = _KEYS
        if count > room:
            text = f"{self._first + 1}-{min(count, self._first + room)} of {count}  " + text
        self._put(line, 0, text, "dim")

    def _notes(self) -> list[str]:
        notes = ["paused"] if self._paused else []
        if self._look.is_stopped:
            notes.append("the process is stopped")
        if self._look.age_seconds > _AGE_SECONDS:
            notes.append(f"figures of {seconds_text(self._look.age_seconds)} ago")
        return notes

    def draw(self) -> None:
        self._window.erase()
        height, width = self._window.getmaxyx()
        self._put(0, 0, "emma top: " + self._shown(head_of(self._look)), "title")
        notes = ", ".join(self._notes())
        if notes:
            self._put(0, max(0, width - len(notes)), notes, "full")
        if self._helps:
            for line, text in enumerate(_HELP.splitlines(), start=2):
                self._put(line, 2, text)
        else:
            self._put(1, 0, totals_text(self._look))
            count, room = self._table(height, width)
            self._foot(height - 1, count, room)
        self._window.refresh()

    # ---- keys ----

    def _scroll(self, key: int) -> None:
        page = max(1, self._window.getmaxyx()[0] - 5)
        steps = {curses.KEY_UP: -1, curses.KEY_DOWN: 1, curses.KEY_PPAGE: -page, curses.KEY_NPAGE: page,
                 curses.KEY_HOME: -len(self._look.instances), curses.KEY_END: len(self._look.instances)}
        self._first = max(0, self._first + steps.get(key, 0))

    def _press(self, key: int) -> bool:
        """False: quit."""
        if key == curses.KEY_RESIZE:
            curses.update_lines_cols()
        elif self._helps:
            self._helps = False
        elif key in (ord("q"), ord("Q")):
            return False
        elif key in (ord("?"), ord("h")):
            self._helps = True
        elif key in (ord("p"), ord(" ")):
            self._paused = not self._paused
        elif key == ord("r"):
            self._backwards = not self._backwards
        elif key == ord("s"):
            self._sort = (self._sort + 1) % len(COLUMNS)
        elif key in (ord("<"), curses.KEY_LEFT):
            self._sort = max(0, self._sort - 1)
        elif key in (ord(">"), curses.KEY_RIGHT):
            self._sort = min(len(COLUMNS) - 1, self._sort + 1)
        else:
            self._scroll(key)
        return True

    def _refresh(self) -> None:
        before = self._look
        self._look = self._process.look()
        self._rates = rates_between(before, self._look)

    def run(self) -> None:
        due = time.monotonic() + self._interval
        while True:
            self.draw()
            self._window.timeout(max(0, round((due - time.monotonic()) * 1000)))
            key = self._window.getch()
            if key != -1 and not self._press(key):
                return
            if time.monotonic() >= due:
                due = time.monotonic() + self._interval
                if not self._paused:
                    self._refresh()


def _start(window: curses.window, process: Process, interval: float) -> None:
    try:
        curses.curs_set(0)
    except curses.error:
        pass  # a terminal that cannot hide it
    window.keypad(True)
    _Screen(window, process, interval).run()


def show(process: Process, interval: float) -> None:
    """Shows the process until q is pressed; Ended when it ends. The terminal is left as it was."""
    curses.wrapper(_start, process, interval)
