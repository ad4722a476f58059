"""Reports of the heap."""

import os
from typing import Optional, Union

from . import _process
from ._figures import require_served, stats
from ._types import snapshot

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_BAD_NAME = -1


def report(path: Path) -> None:
    """Writes a report of Python's memory as it is now: a page to look at (``.html``), figures for programs (``.json``), or a
    picture (``.svg``), by the end of the name. Never over a file that is no report. OSError where it cannot be written,
    and nothing is left then; ValueError for another end; RuntimeError where emma does not serve Python. To look at all
    objects takes memory for a moment, which is given back with what else is free, and does not count in the peak."""
    process, peak = require_served(), stats().peak_footprint
    name = os.fsencode(path)
    types = snapshot()
    process.process_trim()
    process.process_restart_peak(peak)
    error, why = process.process_report(name, types)
    if error == 0:
        return
    message = os.fsdecode(why)
    if error == _BAD_NAME:
        raise ValueError(f"{os.fsdecode(path)}: {message}")
    raise OSError(error, message, os.fspath(path))


def why_not(path: Path) -> Optional[str]:
    """Why no report can be written there, or None. Nothing is made or waited for."""
    error, why = _process.load().process_report(os.fsencode(path), None)
    return os.fsdecode(why) if error else None
