"""Sizes as users write them: bytes, or a number of K, M or G (KB, KiB and so on, in either case)."""

import re
from typing import Dict, Optional, Union

_SIZE = re.compile(r"\s*([0-9]+)\s*(?:([kmg])(?:i?b)?)?\s*", re.IGNORECASE | re.ASCII)
_SHIFTS: Dict[Optional[str], int] = {None: 0, "k": 10, "m": 20, "g": 30}
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MOST_BYTES = (1 << 63) - 1


def parse_size(size: Union[int, str]) -> int:
    """Bytes of a size: an int, or text such as ``"512M"``. ValueError where it is none, or above 2**63 - 1."""
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f"a size is an int or a str, not {type(size).__name__}")
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if not match:
            raise ValueError(f"{size!r} is not a size (use bytes or K, M, G)")
        number, unit = match.groups()
        size = int(number) << _SHIFTS[unit and unit.lower()]
    if size < 0:
        raise ValueError(f"a size cannot be negative: {size}")
    if size > _MOST_BYTES:
        raise ValueError(f"the size {size} is too large")
    return size


def format_size(size: Optional[int]) -> str:
    """A size for people: "96 bytes", "1.5 MiB"; "none" for None."""
    if size is None:
        return "none"
    if size < 1024:
        return f"{size} byte{'' if size == 1 else 's'}"
    value = float(size)
    for unit in _UNITS:
        value /= 1024
        if value < 1024:
            break
    return f"{int(value * 10) / 10} {unit}"
