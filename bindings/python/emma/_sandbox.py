"""Lua 5.4 for scripts that are not trusted."""

import asyncio
import contextlib
import functools
import sys
import threading
from types import BuiltinMethodType, MethodType, MethodWrapperType, TracebackType
from typing import Any, Callable, Dict, Iterable, NamedTuple, Optional, Tuple, Type, TypeVar, Union

from . import _control
from ._errors import SandboxClosed
from ._heap import Heap, callable_of
from ._size import parse_size

Size = Union[int, str]
Function = TypeVar("Function", bound=Callable[..., Any])

_LIBRARIES: Dict[str, int] = {
    name: getattr(_control, f"EMMA_SANDBOX_{name.upper()}")
    for name in ("base", "coroutine", "table", "string", "math", "utf8", "io", "os", "package", "debug")
}
_STATUSES = ("done", "error", "memory", "instructions", "deadline", "killed")
_MICROSECONDS = 1_000_000


class SandboxStats(NamedTuple):
    """Figures of a sandbox: bytes, seconds, counts. `calls` counts by how they ended; `instructions` and `seconds` are the
    last call's (instructions are counted where there is a budget of them)."""

    limit: Optional[int]
    live: int
    footprint: int
    peak_footprint: int
    checkpoints: int
    instructions: int
    total_instructions: int
    seconds: float
    total_seconds: float
    calls: Dict[str, int]
    broken_count: int
    rollback_count: int


class SandboxTypes(NamedTuple):
    """Bytes of what a script can reach, by type; `rest` is tables' contents, stacks, code and garbage."""

    strings: int
    tables: int
    functions: int
    userdata: int
    threads: int
    rest: int


def bytes_of(name: str, size: Size) -> int:
    """Bytes. Errors name the parameter."""
    try:
        return parse_size(size)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def size_of(name: str, size: Optional[Size]) -> Optional[int]:
    """Bytes; None for None."""
    return None if size is None else bytes_of(name, size)


def _count_of(name: str, count: Optional[Union[int, float]]) -> int:
    """A whole number from 1 on, which may be written as 1e7; 0 for None."""
    if count is None:
        return 0
    if isinstance(count, bool) or not isinstance(count, (int, float)):
        raise TypeError(f"{name}: a number, not {type(count).__name__}")
    if count != count or count < 1 or count >= 1 << 64:
        raise ValueError(f"{name}: {count} is not from 1 to 2**64 - 1")
    if int(count) != count:
        raise ValueError(f"{name}: {count} is not a whole number")
    return int(count)


def microseconds_of(name: str, seconds: Optional[float]) -> int:
    """0 for None."""
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}: seconds, not {type(seconds).__name__}")
    if not 1 / _MICROSECONDS <= seconds < 1e12:
        raise ValueError(f"{name}: {seconds} is not from 1e-6 to 1e12 seconds")
    return round(seconds * _MICROSECONDS)


def _libraries_of(libraries: Optional[Iterable[str]]) -> int:
    if libraries is None:
        return int(_control.EMMA_SANDBOX_LIBRARIES_DEFAULT)
    if isinstance(libraries, (str, bytes)) or not hasattr(libraries, "__iter__"):
        raise TypeError(f"libraries: several names, not {type(libraries).__name__}")
    bits = 0
    for name in libraries:
        if not isinstance(name, str) or name not in _LIBRARIES:
            raise ValueError(f"libraries: {name!r} is none: use {', '.join(_LIBRARIES)}")
        bits |= _LIBRARIES[name]
    return bits


def text_of(name: str, text: Any, optional: bool = False) -> Any:
    """The text, which may be None where it is optional."""
    if not isinstance(text, str) and not (optional and text is None):
        raise TypeError(f"{name}: a str, not {type(text).__name__}")
    if text is not None and "\0" in text:
        raise ValueError(f"{name}: it has a null character")
    return text


# What the kit calls the parameters, and its constants.
_IN_PYTHON = {
    "soft_limit_bytes": "soft_limit", "limit_bytes": "memory", "spare_bytes": "spare", "reserve_bytes": "reserve",
    "deadline_us": "deadline", "EMMA_LIMIT_MIN_BYTES": "16 KiB", "EMMA_RESERVE_MIN_BYTES": "512 KiB",
    "EMMA_SANDBOX_FINALIZERS": "finalizers",
}


def in_python(error: ValueError) -> ValueError:
    """The same with parameters' names as they are here."""
    text = str(error)
    for theirs, ours in _IN_PYTHON.items():
        text = text.replace(theirs, ours)
    return ValueError(text)


class SandboxSettings(NamedTuple):
    """What sandboxes and the pools of them take; see :class:`Sandbox`."""

    memory: Optional[Size] = None
    instructions: Optional[Union[int, float]] = None
    deadline: Optional[float] = None
    libraries: Optional[Iterable[str]] = None
    spare: Optional[Size] = None
    reserve: Optional[Size] = None
    collect_after: Optional[Size] = None
    checkpoints: bool = True
    bytecode: bool = False
    finalizers: bool = False
    catch_memory: bool = False
    limit_all: bool = False
    incremental: bool = False
    value_depth: Optional[int] = None
    value_bytes: Optional[Size] = None

    def fill(self, options: Any) -> None:
        """Writes them into options of the control module."""
        options.limit_bytes = size_of("memory", self.memory)
        options.instructions = _count_of("instructions", self.instructions)
        options.deadline_us = microseconds_of("deadline", self.deadline)
        options.libraries = _libraries_of(self.libraries)
        options.flags = sum(
            getattr(_control, f"EMMA_SANDBOX_{name.upper()}")
            for name in ("checkpoints", "bytecode", "finalizers", "catch_memory", "limit_all", "incremental")
            if getattr(self, name))
        for field, name in (("spare_bytes", "spare"), ("reserve_bytes", "reserve"),
                            ("collect_after_bytes", "collect_after"), ("value_bytes", "value_bytes")):
            if getattr(self, name) is not None:
                setattr(options, field, size_of(name, getattr(self, name)))
        if self.value_depth is not None:
            if isinstance(self.value_depth, bool) or not isinstance(self.value_depth, int):
                raise TypeError(f"value_depth: an int, not {type(self.value_depth).__name__}")
            if not 0 <= self.value_depth <= _control.EMMA_SANDBOX_VALUE_DEPTH_MAX:
                raise ValueError(f"value_depth: {self.value_depth} is not from 0 to "
                                 f"{_control.EMMA_SANDBOX_VALUE_DEPTH_MAX}")
            options.value_depth = self.value_depth


def _identity_of(function: Callable[..., Any]) -> Any:
    """What is the same for the same function. Of a method each look makes a new object."""
    if type(function) is MethodType:
        return id(function.__self__), id(function.__func__)
    if type(function) in (BuiltinMethodType, MethodWrapperType):
        return function  # they are equal where what they belong to is the same object
    return id(function)


class Functions:
    """Keeps the functions that scripts may call. The control module refers to them weakly, so that Python's collector
    sees what holds what."""

    def __init__(self) -> None:
        # By what each is known by, which it keeps alive.
        self._held: Dict[Any, Callable[..., Any]] = {}

    def hold(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self._held.setdefault(_identity_of(function), functools.partial(function))


class Sandbox(Heap):
    """An interpreter of its own for scripts that are not trusted.

    ::

        with emma.Sandbox(memory="8M", instructions=10_000_000, deadline=0.5) as box:
            box.load("function f(n, t) return n + t.a end")
            box.call("f", 1, {"a": 2})      # 3

    `memory`: a size, what scripts may take beside what the interpreter itself takes; `instructions`: that a call may
    execute; `deadline`: seconds that a call may take; None: no bound. `libraries`: names of those of Lua's that scripts
    see; None: base, coroutine, table, string, math and utf8. `print` gets each line that they print, without its end;
    None: it goes to ``sys.stdout``. `spare`, `reserve`, `collect_after`, `value_bytes`: sizes; `value_depth`; and the flags
    are those of ``emma_sandbox.h``.

    What goes in and comes out: None, bool, int (64 bits), float, str, bytes, list, tuple, dict. A table whose keys are 1, 2,
    3 and so on comes out as a list, any other as a dict, the empty one, too; a string as a str, or as bytes where it is
    no UTF-8. An entry that is None is not there for Lua. ValueError for a dict with keys that are the same there, as "a"
    and b"a" are.

    It is thrown away by :meth:`close`; one of a pool's goes back then.

    Any thread may use it, one at a time (:exc:`SandboxBusy`); other threads run meanwhile. TypeError and ValueError name the
    parameter that is wrong; MemoryError: the system refuses memory.
    """

    def __init__(self, memory: Optional[Size] = None, instructions: Optional[Union[int, float]] = None,
                 deadline: Optional[float] = None, *, libraries: Optional[Iterable[str]] = None,
                 print: Optional[Callable[[str], Any]] = None, name: str = "sandbox", **settings: Any) -> None:
        asked = SandboxSettings(memory, instructions, deadline, libraries, **settings)
        options = _control.SandboxOptions()
        asked.fill(options)
        functions = Functions()
        printer = functions.hold(print_line if print is None else callable_of("print", print))
        text_of("name", name)
        try:
            self._adopt(_control.Sandbox(options, name, printer), functions, options)
        except ValueError as error:
            raise in_python(error) from None

    def _adopt(self, handle: Any, functions: Functions, options: Any) -> None:
        self._handle = handle
        self._call = handle.call
        self._functions = functions
        self._of_pool: Optional[Functions] = None
        self._memory: Optional[int] = options.limit_bytes
        self._budget: Tuple[int, int] = (options.instructions, options.deadline_us)

    @classmethod
    def _leased(cls, handle: Any, functions: Functions, options: Any) -> "Sandbox":
        """One of a pool's, whose functions it keeps; what is registered in it goes with it."""
        box = cls.__new__(cls)
        box._adopt(handle, Functions(), options)
        box._of_pool = functions
        return box

    def __repr__(self) -> str:
        return f"<emma.Sandbox {'closed' if self.closed else 'open'}>"

    # ---- calls ----

    def load(self, source: Union[str, bytes], name: str = "script") -> Any:
        """Compiles a text and runs it; returns what it returns: None, a value, or a tuple of several. `name` is what
        messages call it."""
        if not isinstance(source, (str, bytes)):
            raise TypeError(f"source: str or bytes, not {type(source).__name__}")
        return self._handle.run(source, text_of("name", name))

    def call(self, function: str, /, *arguments: Any) -> Any:
        """Calls a global function, or one in a table (``"game.on_join"``); returns what it returns. Raises
        :exc:`ScriptError`, :exc:`MemoryLimit`, :exc:`InstructionLimit`, :exc:`Deadline`, :exc:`Killed`, or the exception
        that a function given to the script raised. Ctrl-C (SIGINT) takes effect when the script
        ends or calls a function of Python's: set a `deadline`, or have another thread call
        :meth:`kill`."""
        return self._call(function, arguments)

    async def load_async(self, source: Union[str, bytes], name: str = "script") -> Any:
        """:meth:`load` in another thread. Where the task is cancelled, the script is killed; one that
        waits for a thread does not begin."""
        return await self._in_thread(functools.partial(self.load, source, name))

    async def call_async(self, function: str, /, *arguments: Any) -> Any:
        """:meth:`call` in another thread. Where the task is cancelled, the script is killed; one that
        waits for a thread does not begin."""
        return await self._in_thread(functools.partial(self.call, function, *arguments))

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        taken = threading.Lock()  # once, by who does the work or who gives it up

        def take() -> Any:
            return work() if taken.acquire(blocking=False) else None

        done = asyncio.get_running_loop().run_in_executor(None, take)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if taken.acquire(blocking=False):
                raise  # it has not begun: what the sandbox does is another's
            while not done.done():  # and whoever cancels again waits for the end of it, too
                with contextlib.suppress(SandboxClosed):
                    self.kill()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([done])
            if not done.cancelled():
                done.exception()  # it is looked at, so that nobody complains
            raise

    def kill(self) -> None:
        """Stops the call that goes on, from any thread; or the next one if none does. A rollback forgets it."""
        self._handle.kill()

    # ---- what scripts see ----

    def set(self, name: str, value: Any) -> None:
        """Sets a global, or a field (``"game.config"``; tables on the way are made)."""
        text_of("name", name)
        try:
            self._handle.set(name, value)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"value: {error}") from None

    def register(self, name: str, function: Callable[..., Any]) -> None:
        """Has scripts see a function under a name, as :meth:`set`. It gets and returns values; an exception that it
        raises is an error to the script, which may catch it, and comes out of :meth:`call` as it is. The sandbox keeps
        it until it is closed, also where another one takes its name: scripts may have it, and a rollback brings it
        back."""
        held = self._functions.hold(callable_of("function", function))
        self._handle.provide(text_of("name", name), held)

    def function(self, function: Function) -> Function:
        """Registers a function under its own name: ``@box.function``."""
        self.register(function.__name__, function)
        return function

    # ---- bounds ----

    @property
    def memory(self) -> Optional[int]:
        """Bytes that scripts may take; None: any. When it is set, it counts from now on: MemoryError where
        the system has no more, :exc:`MemoryLimit` where more is in use."""
        return self._memory

    @memory.setter
    def memory(self, size: Optional[Size]) -> None:
        limit = size_of("memory", size)
        self._handle.set_limit(limit)
        self._memory = limit

    @property
    def instructions(self) -> Optional[int]:
        """That each call may execute; None: any number."""
        return self._budget[0] or None

    @instructions.setter
    def instructions(self, count: Optional[Union[int, float]]) -> None:
        self._set_budget(_count_of("instructions", count), self._budget[1])

    @property
    def deadline(self) -> Optional[float]:
        """Seconds that each call may take; None: any time."""
        return self._budget[1] / _MICROSECONDS or None

    @deadline.setter
    def deadline(self, seconds: Optional[float]) -> None:
        self._set_budget(self._budget[0], microseconds_of("deadline", seconds))

    def _set_budget(self, instructions: int, deadline_us: int) -> None:
        self._handle.set_budget(instructions, deadline_us)
        self._budget = (instructions, deadline_us)

    # ---- figures ----

    def stats(self) -> SandboxStats:
        """The figures as they are now."""
        raw = self._handle.stats()
        return SandboxStats(
            raw.limit_bytes, raw.live_bytes, raw.footprint_bytes, raw.peak_footprint_bytes, raw.checkpoint_bytes,
            raw.instructions, raw.total_instructions, raw.microseconds / _MICROSECONDS,
            raw.total_microseconds / _MICROSECONDS, dict(zip(_STATUSES, raw.calls)), raw.broken_count,
            raw.rollback_count)

    def types(self) -> SandboxTypes:
        """Bytes by type; looks at every object."""
        raw = self._handle.types()
        return SandboxTypes(*(getattr(raw, name) for name in SandboxTypes._fields))

    # ---- the end ----

    @property
    def closed(self) -> bool:
        return bool(self._handle.is_closed())

    def __enter__(self) -> "Sandbox":
        return self

    async def __aenter__(self) -> "Sandbox":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        self.close()


def print_line(line: Union[str, bytes]) -> None:
    """What scripts print where nobody else takes it."""
    if isinstance(line, bytes):
        line = line.decode("utf-8", "replace")
    if sys.stdout is not None:
        sys.stdout.write(line + "\n")
