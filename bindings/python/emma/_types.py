"""What the objects of each type take, for reports. The library has this file in it, too, and runs it at the start and at
the end of a program that is to be reported."""

import gc
import sys
import time

_MOST_SECONDS = 1.0
_MOST_ROWS = 1000
_STEP = 1024
# By the id of the type, as not all have hashes: it, and the count and the bytes of its objects.
_Totals = dict[int, tuple[type, list[int]]]
_MODULE = type(sys)
_names_of = vars(_MODULE)["__dict__"].__get__


def _line(text: str) -> str:
    """On one line, and without what would end it for C."""
    return " ".join(text.split()).replace("\0", r"\0")


def _name(kind: type) -> str:
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
        return _line(name if module == "builtins" else f"{module}.{name}")
    except KeyboardInterrupt:
        raise
    except BaseException:  # a metaclass may do anything
        return "?"


def _program() -> str:
    """Nothing where the program made something else of its arguments."""
    arguments = getattr(sys, "argv", None)
    first = arguments[0] if type(arguments) is list and arguments else None
    return _line(first) if type(first) is str else ""


def _size(obj: object) -> int:
    try:
        return sys.getsizeof(obj, 0)
    except KeyboardInterrupt:
        raise
    except BaseException:  # so may __sizeof__
        return 0


def _referents(obj: object) -> list[object]:
    """What it refers to. A module is not asked but for its names: _asyncio of CPython 3.12 shows
    the collector the objects that it keeps for reuse, which a list of them would free twice."""
    # issubclass, as isinstance asks the object for its __class__.
    return [_names_of(obj)] if issubclass(type(obj), _MODULE) else gc.get_referents(obj)


def _count(objects: list[object], totals: _Totals, seen: set[int], deadline: float) -> int:
    """Adds up these objects and what they refer to that the collector does not know; how many it looked at."""
    for at, obj in enumerate(objects):
        if at % _STEP == 0 and time.perf_counter() > deadline:
            return at
        waiting = [obj]
        while waiting:
            this = waiting.pop()
            kind = type(this)
            total = totals.setdefault(id(kind), (kind, [0, 0]))[1]
            total[0] += 1
            total[1] += _size(this)
            for part in _referents(this):
                if not gc.is_tracked(part) and id(part) not in seen:
                    seen.add(id(part))
                    waiting.append(part)
    return len(objects)


def snapshot() -> bytes:
    """Text: the program, the runtime, what the figures are, then for each type a line of its objects' count, their bytes,
    and its name, most bytes first."""
    totals: _Totals = {}
    objects = gc.get_objects()
    done = _count(objects, totals, set(), time.perf_counter() + _MOST_SECONDS)
    note = "Objects that the collector knows and what they hold, with the bytes that sys.getsizeof tells"
    if done < len(objects):
        note += f"; it stopped after {_MOST_SECONDS:g} s, at {done} of {len(objects)} of them"
    rows = sorted(((size, count, _name(kind)) for kind, (count, size) in totals.values()), reverse=True)[:_MOST_ROWS]
    lines = [_program(), f"Python {sys.version.split()[0]}", f"{note}."]
    lines += [f"{count} {size} {name}" for size, count, name in rows]
    return "\n".join(lines).encode("utf-8", "backslashreplace") + b"\n"
