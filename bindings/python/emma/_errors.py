"""What sandboxes, pools and instances raise."""

from typing import Dict, Type


class SandboxError(Exception):
    """A sandbox could not do what it was told. `message` tells why; `traceback` is Lua's, "" where there is none."""

    def __init__(self, message: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback

    def __reduce__(self) -> "tuple[Type[SandboxError], tuple[str, str]]":
        return type(self), (self.message, self.traceback)


class ScriptError(SandboxError):
    """The script's own error, in its syntax or as it ran, or a result that cannot be handed over."""


class MemoryLimit(SandboxError):
    """The script used up its memory."""


class InstructionLimit(SandboxError):
    """The script used up its instructions."""


class Deadline(SandboxError):
    """The script used up its time."""


class Killed(SandboxError):
    """Another thread killed the script."""


class SandboxBroken(SandboxError):
    """A call before was left in the middle, where nothing else stopped it: roll the sandbox back, or close it."""


class SandboxBusy(SandboxError):
    """The sandbox or instance is in use, by another thread or by the call that this one is inside of; or a pool has
    sandboxes that are leased."""


class SandboxClosed(SandboxError, ValueError):
    """The sandbox, pool or instance was closed."""


class HeapCorrupt(SandboxError):
    """A check found the heap damaged."""


_KINDS: Dict[str, Type[BaseException]] = {
    "error": ScriptError,
    "memory": MemoryLimit,
    "instructions": InstructionLimit,
    "deadline": Deadline,
    "killed": Killed,
    "broken": SandboxBroken,
    "busy": SandboxBusy,
    "closed": SandboxClosed,
    "corrupt": HeapCorrupt,
    "invalid": ValueError,
    "unsupported": NotImplementedError,
    "refused": MemoryError,
}


def make(kind: str, message: str, traceback: str) -> BaseException:
    """The exception for a kind of failure, as the control module names it."""
    found = _KINDS[kind]
    return found(message, traceback) if issubclass(found, SandboxError) else found(message)
