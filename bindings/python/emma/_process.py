"""The instance that serves this process: its library found and opened, the functions of which are in the control
module."""

import functools
from pathlib import Path
from typing import Any

NAME = "libemma-python.so"
NAME_OF_ALL = "libemma-python-all.so"


def path_of(name: str) -> Path:
    """The file of a library of this package."""
    return Path(__file__).resolve().parent / name


@functools.lru_cache(maxsize=None)
def load() -> Any:
    """The control module, with the library that was preloaded, or else the package's own. ImportError where there is
    none."""
    from . import _control

    _control.process_open(str(path_of(NAME)))
    return _control
