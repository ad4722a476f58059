"""What sandboxes and instances have in common."""

from types import TracebackType
from typing import Any, Callable, Optional, Type


def callable_of(name: str, function: Any) -> Any:
    """The function. Errors name the parameter."""
    if not callable(function):
        raise TypeError(f"{name}: {type(function).__name__} is not callable")
    return function


class Heap:
    """A handle of the control module's for memory that can be looked at, and brought back."""

    _handle: Any

    def checkpoint(self) -> int:
        """Takes a checkpoint; returns its level. NotImplementedError where none were asked for."""
        return int(self._handle.checkpoint())

    def rollback(self, level: int) -> None:
        """Brings all that is in it back to a checkpoint, whatever happened since; later ones are dropped. ValueError where
        there is none of this level."""
        self._handle.rollback(level)

    def drop(self, level: int) -> None:
        """Drops a checkpoint and all later ones; what is in it stays as it is."""
        self._handle.drop(level)

    def walk(self, visit: Callable[[int, int], Any]) -> bool:
        """Calls `visit` with each live block's address and size, until it returns False. Whether all were visited."""
        return bool(self._handle.walk(callable_of("visit", visit)))

    def check(self) -> None:
        """Verifies the heap; :exc:`HeapCorrupt`."""
        self._handle.check()

    def trim(self) -> int:
        """Gives memory that is free back to the system; returns how many bytes that were."""
        return int(self._handle.trim())

    def close(self) -> None:
        """Throws it away, with all that is in it; again: nothing happens."""
        self._handle.close()

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()
