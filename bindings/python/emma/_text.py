"""Text of others, as a terminal may be shown it: no orders to it, in columns."""

import unicodedata
from typing import Iterator


def printable(text: str) -> str:
    """The text with escapes in the place of what is not to be seen, such as orders to a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text)


def representable(text: str, encoding: str) -> str:
    """The text with escapes in the place of what an encoding does not have."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _columns_of(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def width_of(text: str) -> int:
    """The columns that it takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _beginning(text: str, width: int) -> Iterator[str]:
    for letter in text:
        width -= _columns_of(letter)
        if width < 0:
            return
        yield letter


def cut(text: str, width: int) -> str:
    """As much of it as fits into so many columns."""
    return text[:width] if text.isascii() else "".join(_beginning(text, width))


def padded(text: str, width: int, to_the_right: bool = False) -> str:
    """With spaces behind it, or before it, in so many columns."""
    spaces = " " * (width - width_of(text))
    return spaces + text if to_the_right else text + spaces
