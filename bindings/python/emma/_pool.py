"""Sandboxes that stand ready."""

import asyncio
import functools
import threading
import time
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Callable, Deque, Mapping, NamedTuple, Optional, Tuple, Type, Union

from . import _control
from ._heap import callable_of
from ._sandbox import Functions, Sandbox, SandboxSettings, in_python, microseconds_of, print_line, text_of


# Microseconds that the pool is waited for in one go.
_SLICE_US = 50_000


class PoolStats(NamedTuple):
    """Figures of a pool: sandboxes now, of them idle; the most there may be; bytes of the idle ones; and counts."""

    sandboxes: int
    idle: int
    most: int
    footprint: int
    prepared_count: int
    failed_count: int
    acquired_count: int
    waited_count: int
    demanded_count: int
    replaced_count: int
    broken_count: int
    rollback_seconds: float


class _Waiting:
    """What waits for sandboxes, in turn, in a thread that is there while something does: in the
    loop's own threads it would keep those from being used that have one. It is no executor's
    either: the end of the program joins those while the main thread still counts as alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: "Deque[Tuple[Future[Any], Callable[[], Any]]]" = deque()
        self._thread: Optional[threading.Thread] = None

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        future: "Future[Any]" = Future()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # a fork's child has none
                thread = threading.Thread(target=self._serve, name="emma-pool")
                thread.start()
                self._thread = thread
            self._jobs.append((future, work))
        return future

    def _next(self) -> "Optional[Tuple[Future[Any], Callable[[], Any]]]":
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._thread = None
            return None

    def _serve(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, work  # nor is a sandbox kept that nobody wants any more


class Lease:
    """A sandbox of a pool's for a ``with`` or an ``async with`` block, one block at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._box: Optional[Sandbox] = None
        self._in_use = threading.Lock()

    def _enter(self) -> None:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("this lease is in use: ask the pool for one for each block")

    def __enter__(self) -> Sandbox:
        self._enter()
        try:
            self._box = self._pool.acquire()
        except BaseException:
            self._in_use.release()
            raise
        return self._box

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if self._box is not None:
            self._box.close()
            self._box = None
            self._in_use.release()

    async def __aenter__(self) -> Sandbox:
        self._enter()
        try:
            self._box = await self._wait()
        except BaseException:
            self._in_use.release()
            raise
        return self._box

    async def _wait(self) -> Sandbox:
        loop, gone = asyncio.get_running_loop(), threading.Event()

        # A loop that stands still when the program ends has forgotten who waits in it.
        def ends() -> bool:
            return gone.is_set() or not (loop.is_running() or threading.main_thread().is_alive())

        acquire = functools.partial(self._pool._acquire_unless, ends)
        waiting = asyncio.wrap_future(self._pool._waiting.submit(acquire))
        try:
            box: Optional[Sandbox] = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            gone.set()
            waiting.add_done_callback(_give_back)
            raise
        assert box is not None
        return box

    async def __aexit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        self.__exit__(kind, value, traceback)


def _give_back(waiting: "asyncio.Future[Optional[Sandbox]]") -> None:
    """A sandbox that came when nobody waited for it any more."""
    box = None if waiting.cancelled() or waiting.exception() is not None else waiting.result()
    if box is not None:
        box.close()


class Pool:
    """Prepares sandboxes by a prelude, hands them out, and takes each back to how it was prepared.

    ::

        pool = emma.Pool(prelude, size=8, memory="1M", deadline=0.01, functions={"log": log})
        with pool.lease() as box:           # from any thread
            box.call("handle", request)
        async with pool.lease() as box:     # in asyncio
            await box.call_async("handle", request)

    `size`: how many there are at once, a lease beyond waits; `ahead`: how many idle ones a thread keeps ready;
    `functions`: what scripts see, by name; `prelude_deadline`: seconds that the prelude may take. The rest is as for
    :class:`Sandbox`. The first one is prepared at once: :exc:`ScriptError` where that fails.
    """

    def __init__(self, prelude: Union[str, bytes, None] = None, *, size: int = 64, ahead: int = 0,
                 functions: Optional[Mapping[str, Callable[..., Any]]] = None, prelude_name: str = "prelude",
                 prelude_deadline: Optional[float] = 10.0, print: Optional[Callable[[str], Any]] = None,
                 name: str = "sandbox", **settings: Any) -> None:
        if prelude is not None and not isinstance(prelude, (str, bytes)):
            raise TypeError(f"prelude: str or bytes, not {type(prelude).__name__}")
        options = _control.PoolOptions()
        self._options = _control.SandboxOptions()
        SandboxSettings(**settings).fill(self._options)
        options.sandbox = self._options
        options.sandboxes_max = _whole("size", size, 1)
        options.ahead = _whole("ahead", ahead, 0)
        if ahead > size:
            raise ValueError(f"ahead: {ahead} is more than size, {size}")
        if not settings.get("checkpoints", True):
            raise ValueError("checkpoints: a pool needs them")
        if functions is not None and not isinstance(functions, Mapping):
            raise TypeError(f"functions: names and functions, not {type(functions).__name__}")
        options.prelude_us = microseconds_of("prelude_deadline", prelude_deadline)
        self._waiting = _Waiting()
        self._functions = Functions()
        printer = print_line if print is None else callable_of("print", print)
        self._handle = _control.Pool(self._functions.hold(printer))
        for title, function in (functions or {}).items():
            held = self._functions.hold(callable_of(f"functions[{title!r}]", function))
            self._handle.provide(text_of("functions", title), held)
        text_of("name", name)
        text_of("prelude_name", prelude_name)
        try:
            self._handle.open(options, name, prelude, prelude_name)
        except ValueError as error:
            raise in_python(error) from None

    def __repr__(self) -> str:
        return f"<emma.Pool {'closed' if self.closed else 'open'}>"

    def acquire(self, timeout: Optional[float] = None) -> Sandbox:
        """Leases a sandbox; it goes back by its ``close()``. Waits while all are leased, `timeout` seconds at most:
        TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:  # Python looks at signals in between
            slice_us = _SLICE_US if until is None else min(_SLICE_US, max(0, round((until - time.monotonic()) * 1e6)))
            handle = self._handle.acquire(slice_us)
            if handle is not None:
                return Sandbox._leased(handle, self._functions, self._options)
            if until is not None and time.monotonic() >= until:
                raise TimeoutError("all sandboxes of the pool are leased")

    def _acquire_unless(self, ends: Callable[[], bool]) -> Optional[Sandbox]:
        """The same, until nobody waits any more: None."""
        while not ends():
            handle = self._handle.acquire(_SLICE_US)
            if handle is not None:
                return Sandbox._leased(handle, self._functions, self._options)
        return None

    def lease(self) -> Lease:
        """Leases a sandbox for a ``with`` or an ``async with`` block."""
        return Lease(self)

    def prepare(self, count: int) -> None:
        """Prepares sandboxes until `count` are idle."""
        self._handle.prepare(_whole("count", count, 0))

    def stats(self) -> PoolStats:
        """The figures as they are now."""
        raw = self._handle.stats()
        return PoolStats(raw.sandboxes, raw.idle, raw.sandboxes_max, raw.footprint_bytes, raw.prepared_count,
                         raw.failed_count, raw.acquired_count, raw.waited_count, raw.demanded_count,
                         raw.replaced_count, raw.broken_count, raw.microseconds / 1e6)

    def close(self) -> None:
        """Ends the pool; :exc:`SandboxBusy` while sandboxes are leased. Again: nothing happens."""
        self._handle.close()

    @property
    def closed(self) -> bool:
        return bool(self._handle.is_closed())

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()


def _whole(name: str, number: Any, least: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name}: an int, not {type(number).__name__}")
    if not least <= number < 1 << 31:
        raise ValueError(f"{name}: {number} is not from {least} to 2**31 - 1")
    return number
