"""What a report tells of allocation sites, and flame graphs of them."""

import json
import math
import os
import tempfile
from typing import Any, Callable

_SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_COLLAPSED = (".collapsed", ".folded", ".txt")

_DIGITS_MOST = 40

Report = dict[str, Any]
Frame = tuple[str, str, int]  # function, file, line
Stack = tuple[Frame, ...]  # outermost frame first


class BadReport(Exception):
    """Why a file is no report, or not one for what it is asked."""


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MOST or not -1 << 63 <= int(text) < 1 << 64:
        raise BadReport(f"a number is out of range: {text[:_DIGITS_MOST]}")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise BadReport(f"a number is out of range: {text[:_DIGITS_MOST]}")
    return float(text)


def _read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise BadReport(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadReport(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise BadReport(f"{path}: not a report of emma's: too much is in one another") from None
    except BadReport as error:
        raise BadReport(f"{path}: {error}") from None


def load(path: str) -> Report:
    """A report of emma's, as JSON has it."""
    report = _read(path)
    if (not isinstance(report, dict) or not isinstance(report.get("emma"), str) or "live_bytes" not in report
            or any(not isinstance(report.get(name), (str, type(None))) for name in ("program", "runtime"))):
        raise BadReport(f"{path}: not a report of emma's (--report FILE.json writes one)")
    return report


def whole(value: Any) -> int:
    """The value, if it is a whole number from 0 on; TypeError."""
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.40} is not a whole number from 0 on")
    return value


class Site:
    """A stack, and what was allocated there."""

    def __init__(self, stack: Stack, figures: list[int]) -> None:
        self.stack = stack
        self.live_bytes, self.live_blocks, self.allocated_bytes, self.allocated_blocks = figures


_FIGURES = ("live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks")


def sites_of(report: Report, path: str) -> list[Site] | None:
    """The sites of a report; None if nothing was sampled."""
    sites = report.get("sites")
    if sites is None:
        return None
    try:
        frames = [(str(function), str(file), whole(line)) for function, file, line in sites["frames"]]
        rows = [dict(zip(sites["columns"], row)) for row in sites["rows"]]
        return [Site(tuple(frames[whole(number)] for number in row["stack"]), [whole(row[name]) for name in _FIGURES])
                for row in rows]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadReport(f"{path}: its sites cannot be read: {type(error).__name__}: {error}") from None


def frame_text(frame: Frame) -> str:
    """``function (file:line)``; what has no line, without it."""
    function, file, line = frame
    place = f"{file}:{line}" if line else file
    return f"{function} ({place})" if place else function


def _collapsed(sites: list[Site]) -> str:
    """Brendan Gregg's format: a line for each stack, frames by semicolons, a space, and live bytes."""
    lines: dict[str, int] = {}
    for site in sites:
        text = ";".join(" ".join(frame_text(frame).replace(";", ":").split()) for frame in site.stack)
        lines[text] = lines.get(text, 0) + site.live_bytes
    return "".join(f"{text} {count}\n" for text, count in sorted(lines.items()) if count)


def _profile(name: str, sites: list[Site], weight: Callable[[Site], int]) -> dict[str, object]:
    weights = [weight(site) for site in sites]
    return {"type": "sampled", "name": name, "unit": "bytes", "startValue": 0, "endValue": sum(weights), "weights": weights}


def _speedscope(report: Report, sites: list[Site]) -> str:
    """Live and allocated bytes, as the viewer at speedscope.app opens them."""
    numbers: dict[Frame, int] = {}
    samples = [[numbers.setdefault(frame, len(numbers)) for frame in site.stack] for site in sites]
    frames = [{"name": function, **({"file": file} if file else {}), **({"line": line} if line else {})}
              for function, file, line in numbers]
    profiles = [_profile("live bytes", sites, lambda site: site.live_bytes),
                _profile("allocated bytes", sites, lambda site: site.allocated_bytes)]
    for profile in profiles:
        profile["samples"] = samples
    return json.dumps({"$schema": _SPEEDSCOPE_SCHEMA, "shared": {"frames": frames}, "profiles": profiles,
                       "name": report.get("program") or "emma", "activeProfileIndex": 0, "exporter": f"emma {report['emma']}"})


def _write(path: str, text: str) -> None:
    """Whole or not at all; into what is no file, as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return
    path = os.path.realpath(path)
    descriptor, beside = tempfile.mkstemp(prefix=".emma-flame.", dir=os.path.dirname(path))
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def flame(report_path: str, out_path: str) -> None:
    """Writes a flame graph of the sites in a report; the end of the name tells the format. BadReport, OSError, ValueError."""
    is_speedscope = out_path.endswith(".json")
    if not is_speedscope and not out_path.endswith(_COLLAPSED):
        raise ValueError(f"{out_path}: the name ends in none of {', '.join(_COLLAPSED)} and .json (speedscope)")
    if os.path.exists(report_path) and os.path.exists(out_path) and os.path.samefile(report_path, out_path):
        raise ValueError(f"{out_path}: it is the report that is read")
    report = load(report_path)
    sites = sites_of(report, report_path)
    if sites is None:
        raise BadReport(f"{report_path}: has no sites: it was made without --sample")
    _write(out_path, _speedscope(report, sites) if is_speedscope else _collapsed(sites))
