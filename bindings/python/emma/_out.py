"""What the commands print: all of it on stdout, or else an error on stderr and a status that says so."""

import contextlib
import errno
import os
import sys
from typing import Callable

from ._text import representable

EXIT_FAILED = 1


class Unwritten(Exception):
    """Stdout takes no more, and why; "" where whoever reads it has seen enough."""


def complain(program: str, what: object) -> int:
    """A line on stderr, if there is one; the exit status of what failed."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"{program}: {what}", file=sys.stderr, flush=True)
    return EXIT_FAILED


def encoding_of_stdout() -> str:
    """How text goes to stdout."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _throw_away() -> None:
    """What is left in the buffer would fail once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def write(text: str) -> None:
    """Prints a text and the end of its line. Unwritten where that cannot be done."""
    if sys.stdout is None:
        raise Unwritten(os.strerror(errno.EBADF))
    try:
        sys.stdout.write(representable(text, encoding_of_stdout()) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _throw_away()
        raise Unwritten("") from None
    except OSError as error:
        _throw_away()
        raise Unwritten(error.strerror or str(error)) from None


def guarded(program: str, command: Callable[[], int]) -> int:
    """Runs what prints by write(); its exit status."""
    try:
        return command()
    except Unwritten as error:
        return complain(program, f"cannot write to stdout: {error}") if str(error) else 0
