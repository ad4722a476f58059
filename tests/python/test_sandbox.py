"""emma.Sandbox: Lua scripts from Python, and Python's functions from them."""

import asyncio
import gc
import math
import os
import subprocess
import sys
import threading
import time
import unittest
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

from support import PACKAGE, EmmaTest

sys.path.insert(0, str(PACKAGE))
import emma  # noqa: E402

PRELUDE = """
function id(...) return ... end
function spin() while true do end end
function grow() local t = {} for i = 1, math.huge do t[i] = {} end end
function count() local n = 0 for _ in pairs(_G) do n = n + 1 end return n end
"""


def box_of(**settings: Any) -> emma.Sandbox:
    box = emma.Sandbox(**settings)
    box.load(PRELUDE, "prelude")
    return box


class Values(unittest.TestCase):
    def test_there_and_back(self) -> None:
        cyrillic = "\u0436\u0443\u043a"
        same: List[Any] = [
            None, True, False, 0, -1, 2**63 - 1, -2**63, 0.5, -0.0, math.inf, "", "x", cyrillic, "a\0b", b"\xff\x00\xfe",
            [1, 2, 3], [[1], ["a", [True]]], {"a": 1, "b": [1, {"c": 2.5}]}, {1: "x", 5: "y"}, {2.5: 1}, {True: 1, False: 2},
            {}, [{"n": i} for i in range(100)]]
        with box_of() as box:
            for value in same:
                with self.subTest(value=value):
                    back = box.call("id", value)
                    self.assertEqual(back, value)
                    self.assertIs(type(back), type(value))
            self.assertTrue(math.isnan(box.call("id", math.nan)))

    def test_what_changes(self) -> None:
        changes = [((1, 2), [1, 2]), ([], {}), ((), {}), (b"text", "text"), ([1, None, 3], {1: 1, 3: 3}),
                   ({"a": None}, {}), ([None], {}), ({1: "a", 2: "b"}, ["a", "b"]), ({3: "c", 1: "a", 2: "b"}, ["a", "b", "c"])]
        with box_of() as box:
            for given, wanted in changes:
                with self.subTest(given=given):
                    self.assertEqual(box.call("id", given), wanted)

    def test_subclasses(self) -> None:
        class Names(dict):  # type: ignore[type-arg]
            pass

        class Number(int):
            pass

        with box_of() as box:
            self.assertEqual(box.call("id", Names(a=Number(3))), {"a": 3})

    def test_keys_that_are_the_same_in_lua(self) -> None:
        class Odd(int):
            def __eq__(self, other: object) -> bool:
                return self is other

            def __hash__(self) -> int:
                return id(self)

        same: List[Any] = [({"a": 1, b"a": 2}, "'a'"), ({"\u0436": 1, "\u0436".encode(): 2}, "'\u0436'"), ({Odd(7): 1, 7: 2}, "7"),
                           ({Odd(7): 1, 7.0: 2}, "7.0"), ({"x": [{b"": 1, "b": 2, "": 3}]}, "''")]
        others: List[Any] = [{"a": 1, b"b": 2}, {"a": 1, b"\xff": 2}, {b"a": 1, b"b": 2, 1: 3}, {Odd(7): 1, "7": 2, 8: 3},
                             {True: 1, "1": 2, b"2": 3}, {2**53: 1, 2.0**53 + 2: 2, 2**53 + 1: 3}, {2.0**63: 1, 2**63 - 1: 2}]
        with box_of() as box:
            for value, key in same:
                with self.subTest(value=value):
                    with self.assertRaisesRegex(ValueError, f"^argument 1: two keys of a dict are the same in Lua, {key}$"):
                        box.call("id", value)
                    with self.assertRaisesRegex(ValueError, f"two keys of a dict are the same in Lua, {key}$"):
                        box.set("x", value)
            for value in others:
                with self.subTest(value=value):
                    self.assertEqual(len(box.call("id", value)), len(value))
            self.assertEqual(box.call("id", {"a": None, b"a": 1}), {"a": 1})  # one of them is not there
            box.register("both", lambda: {"a": 1, b"a": 2})
            with self.assertRaisesRegex(ValueError, "the same in Lua, 'a'"):
                box.load("both()")

    def test_several(self) -> None:
        with box_of() as box:
            self.assertEqual(box.call("id"), None)
            self.assertEqual(box.call("id", 1, "b", None), (1, "b", None))
            self.assertEqual(box.load("return 1, 2"), (1, 2))

    def test_refused(self) -> None:
        loop: List[Any] = []
        loop.append(loop)
        deep: List[Any] = []
        for _ in range(200):
            deep = [deep]
        cases = [({1, 2}, TypeError, "argument 2: an object of type <class 'set'>"),
                 (object(), TypeError, "argument 2: an object of type <class 'object'>"),
                 (1 << 63, OverflowError, "argument 2: the integer does not fit"),
                 ([-(1 << 70)], OverflowError, "argument 2: the integer does not fit"),
                 ("\ud800", ValueError, "argument 2: "),
                 ({None: 1}, TypeError, "argument 2: a key is None"),
                 ({(1, 2): 1}, TypeError, "argument 2: a key is (1, 2)"),
                 ({math.nan: 1}, ValueError, "NaN"),
                 (loop, ValueError, "argument 2: more containers"), (deep, ValueError, "argument 2: more containers"),
                 ([[[[1]]]], ValueError, "argument 2: more containers")]
        with box_of(value_depth=3) as box:
            for value, kind, text in cases:
                with self.subTest(text=text), self.assertRaises(kind) as caught:
                    box.call("id", 1, value)
                self.assertIn(text, str(caught.exception))
            self.assertEqual(box.call("id", 1), 1)

    def test_results_refused(self) -> None:
        with box_of(value_bytes="64K") as box:
            for text, message in (("return print", "a result is or has a function"),
                                  ("return {{coroutine.create(print)}}", "a result is or has a thread"),
                                  ("return ('x'):rep(100000)", "larger than 65536 bytes"),
                                  ("local t = {} t[1] = t return t", "more tables in tables")):
                with self.subTest(text=text), self.assertRaises(emma.ScriptError) as caught:
                    box.load(text)
                self.assertIn(message, str(caught.exception))
            with self.assertRaises(TypeError):
                box.load("return {[{}] = 1}")
            self.assertEqual(box.call("id", 1), 1)

    def test_more_than_there_is_memory_for(self) -> None:
        """What is shared within a container counts as often as it would be copied; it ends early."""
        wide: List[Any] = [0] * 100
        for _ in range(10):
            wide = [wide] * 100
        with box_of(memory="1M") as box:
            started = time.monotonic()
            with self.assertRaises(ValueError) as caught:
                box.call("id", wide)
            self.assertLess(time.monotonic() - started, 10)
            self.assertIn("argument 1: it is more than the sandbox has memory for", str(caught.exception))
            with self.assertRaises(ValueError):
                box.set("x", wide)
            self.assertEqual(box.call("id", [1] * 1000), [1] * 1000)

    def test_keys_that_are_the_same_in_python(self) -> None:
        with box_of() as box, self.assertRaises(ValueError):
            box.load("return {[1] = 'a', [true] = 'b'}")

    def test_many_numbers(self) -> None:
        numbers = [i / 3 for i in range(10_000)]
        with box_of() as box:
            self.assertEqual(box.call("id", numbers), numbers)

    def test_nothing_is_kept(self) -> None:
        """Objects that went in are not held, and calls leave nothing behind."""
        with box_of() as box:
            text = "".join(["a", "b"]) * 50
            before = sys.getrefcount(text)
            box.call("id", text, [text], {text: text})
            self.assertEqual(sys.getrefcount(text), before)
            for _ in range(3):  # what is made once
                box.call("id", {"a": [1, "x", 2.5]})
            gc.collect()
            first = sum(sys.getallocatedblocks() for _ in range(1))
            for _ in range(2000):
                box.call("id", {"a": [1, "x", 2.5]})
                try:
                    box.call("id", [object()])
                except TypeError:
                    pass
            gc.collect()
            self.assertLess(sys.getallocatedblocks() - first, 200)


class Bounds(unittest.TestCase):
    def test_each(self) -> None:
        with box_of(memory="2M", instructions=1e6, deadline=5) as box:
            level = box.checkpoint()
            with self.assertRaises(emma.InstructionLimit):
                box.call("spin")
            with self.assertRaises(emma.MemoryLimit):
                box.instructions = None
                box.call("grow")
            box.deadline = 0.02
            started = time.monotonic()
            with self.assertRaises(emma.Deadline):
                box.call("spin")
            self.assertLess(time.monotonic() - started, 2)
            box.rollback(level)
            with self.assertRaises(emma.ScriptError) as caught:
                box.load("error('boom')", "bad.lua")
            self.assertEqual(caught.exception.message, "bad.lua:1: boom")
            self.assertEqual(str(caught.exception), "bad.lua:1: boom")
            self.assertIn("bad.lua:1: in main chunk", caught.exception.traceback)
            box.rollback(level)
            self.assertEqual(box.call("id", 7), 7)
            counts = box.stats().calls
            self.assertEqual((counts["instructions"], counts["memory"], counts["deadline"], counts["error"]), (1, 1, 1, 1))

    def test_broken(self) -> None:
        """No hook runs in a search: it is left in the middle, and then only a rollback helps."""
        with box_of(deadline=0.02) as box:
            level = box.checkpoint()
            search = "return (('a'):rep(60):find(('a*'):rep(60) .. 'b'))"
            with self.assertRaises(emma.Deadline):
                box.load(search)
            with self.assertRaises(emma.SandboxBroken):
                box.call("id")
            box.rollback(level)
            self.assertEqual(box.call("id", 1), 1)
            self.assertEqual(box.stats().broken_count, 1)

    def test_handlers_of_others(self) -> None:
        """Who sets a handler of the kit's signal gets what is not the kit's, and stops nothing from being stopped."""
        code = """
import emma, os, signal, threading
box = emma.Sandbox(deadline=0.2)
box.load("x = 1")
level = box.checkpoint()
seen = []
for handler in (lambda *_: seen.append(1), signal.SIG_IGN):
    signal.signal(signal.SIGURG, handler)
    try:
        box.load("while true do end")
    except emma.Deadline:
        print("deadline")
    box.rollback(level)
    box.deadline = None
    threading.Timer(0.1, box.kill).start()
    try:
        box.load("while true do end")
    except emma.Killed:
        print("killed")
    box.rollback(level)
    box.deadline = 0.2
signal.signal(signal.SIGURG, lambda *_: seen.append(1))
box.load("x = 2")
os.kill(os.getpid(), signal.SIGURG)
print(len(seen) >= 1)
"""
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("deadline\nkilled\ndeadline\nkilled\nTrue\n", ""))

    def test_kill(self) -> None:
        with box_of() as box:
            level = box.checkpoint()
            timer = threading.Timer(0.05, box.kill)
            timer.start()
            with self.assertRaises(emma.Killed):
                box.load("while true do pcall(error) end")
            timer.join()
            box.rollback(level)  # a machine that is busy elsewhere may leave the call in the middle
            self.assertEqual(box.call("id", 1), 1)

    def test_other_threads_run(self) -> None:
        with box_of(deadline=0.3) as box:
            ticks = 0
            running = True

            def tick() -> None:
                nonlocal ticks
                while running:
                    ticks += 1
                    time.sleep(0.01)

            thread = threading.Thread(target=tick)
            thread.start()
            with self.assertRaises(emma.Deadline):
                box.call("spin")
            running = False
            thread.join()
            self.assertGreater(ticks, 3)

    def test_two_threads(self) -> None:
        """One of them gets an error, never both the sandbox."""
        with box_of(deadline=0.5) as box:
            outcomes: List[str] = []

            def use() -> None:
                try:
                    box.call("spin")
                except emma.SandboxError as error:
                    outcomes.append(type(error).__name__)

            threads = [threading.Thread(target=use) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.1)
            for work in (box.checkpoint, box.close, box.stats, box.trim, lambda: box.rollback(1), lambda: box.set("x", 1)):
                with self.assertRaises(emma.SandboxBusy):
                    work()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(outcomes), ["Deadline"] + ["SandboxBusy"] * 3)

    def test_limits_change(self) -> None:
        with box_of(memory="1M") as box:
            self.assertEqual(box.memory, 1 << 20)
            with self.assertRaises(emma.MemoryLimit):
                box.load("x = ('x'):rep(3 << 20)")
            box.memory = "16M"
            box.load("x = ('x'):rep(3 << 20)")
            box.memory = None
            self.assertIsNone(box.memory)
            self.assertIsNone(box.stats().limit)
            self.assertIsNone(box.instructions)
            box.instructions = 1000
            self.assertEqual(box.instructions, 1000)
            with self.assertRaises(emma.InstructionLimit):
                box.call("spin")


class BadInput(unittest.TestCase):
    def test_options(self) -> None:
        cases: List[Any] = [
            ({"memory": "x"}, ValueError, "memory: 'x'"), ({"memory": 1.5}, TypeError, "memory: "),
            ({"memory": -1}, ValueError, "memory: "), ({"memory": 1}, ValueError, "memory: less than 16 KiB"),
            ({"instructions": "many"}, TypeError, "instructions: "), ({"instructions": 0}, ValueError, "instructions: 0"),
            ({"instructions": 1.5}, ValueError, "instructions: 1.5"), ({"instructions": math.nan}, ValueError, "instructions"),
            ({"instructions": True}, TypeError, "instructions: "), ({"instructions": 1 << 64}, ValueError, "instructions: "),
            ({"deadline": "1s"}, TypeError, "deadline: "), ({"deadline": 0}, ValueError, "deadline: 0"),
            ({"deadline": -1}, ValueError, "deadline: "), ({"deadline": math.inf}, ValueError, "deadline: "),
            ({"libraries": "base"}, TypeError, "libraries: "), ({"libraries": ["bass"]}, ValueError, "'bass'"),
            ({"libraries": 7}, TypeError, "libraries: "), ({"print": 3}, TypeError, "print: "),
            ({"name": 3}, TypeError, "name: "), ({"name": "a\0b"}, ValueError, "name: "),
            ({"value_depth": 101}, ValueError, "value_depth: 101"), ({"value_depth": "x"}, TypeError, "value_depth: "),
            ({"spare": "?"}, ValueError, "spare: "), ({"colour": 1}, TypeError, "colour")]
        for settings, kind, text in cases:
            with self.subTest(settings=settings), self.assertRaises(kind) as caught:
                emma.Sandbox(**settings)
            self.assertIn(text, str(caught.exception))

    def test_arguments(self) -> None:
        with box_of() as typed:
            box: Any = typed
            cases: List[Any] = [
                (lambda: box.call(3), TypeError, "function: "), (lambda: box.call("a\0b"), ValueError, "function: "),
                (lambda: box.call(""), ValueError, "function"), (lambda: box.call("no"), emma.ScriptError, "'no'"),
                (lambda: box.load(3), TypeError, "source: "), (lambda: box.load("x", 3), TypeError, "name: "),
                (lambda: box.set(3, 1), TypeError, "name: "), (lambda: box.set("x", object()), TypeError, "value: "),
                (lambda: box.set("id.x", 1), ValueError, "id"),
                (lambda: box.register("f", 3), TypeError, "function: "),
                (lambda: box.rollback("x"), TypeError, "level: "), (lambda: box.rollback(-1), ValueError, "level: -1"),
                (lambda: box.rollback(99), ValueError, "level: there is no checkpoint 99"),
                (lambda: box.drop(99), ValueError, "level: there is no checkpoint 99"),
                (lambda: box.walk(3), TypeError, "visit: ")]
            for work, kind, text in cases:
                with self.subTest(text=text), self.assertRaises(kind) as caught:
                    work()
                self.assertIn(text, str(caught.exception))
            self.assertEqual(box.call("id", 1), 1)

    def test_after_close(self) -> None:
        box = box_of()
        box.close()
        box.close()
        self.assertTrue(box.closed)
        works: List[Callable[[], Any]] = [
            lambda: box.call("id"), lambda: box.load(""), lambda: box.set("x", 1), lambda: box.register("f", print), box.kill,
            box.checkpoint, lambda: box.rollback(1), lambda: box.drop(1), box.stats, box.types, lambda: box.walk(print),
            box.check, box.trim, lambda: setattr(box, "memory", "1M"), lambda: setattr(box, "deadline", 1)]
        for work in works:
            with self.assertRaises(emma.SandboxClosed):
                work()

    def test_destroyed_by_hand(self) -> None:
        """By the name that SWIG has for it: neither twice, nor used after that."""
        for owner in emma.Sandbox(), emma.Instance(), emma.Pool("x = 1"):
            handle = owner._handle
            destroy = type(handle).__swig_destroy__
            destroy(handle)
            with self.assertRaises(RuntimeError):
                destroy(handle)
            with self.assertRaisesRegex(TypeError, "is nothing"):
                handle.close()
        for nothing in None, 3, "box":
            with self.assertRaises(TypeError):
                destroy(nothing)

    def test_no_checkpoints(self) -> None:
        with emma.Sandbox(checkpoints=False) as box, self.assertRaises(NotImplementedError):
            box.checkpoint()

    def test_the_module_itself(self) -> None:
        """Wrong types and nothing, where no layer is in between."""
        control = sys.modules["emma._control"]
        works: List[Callable[[], Any]] = [
            lambda: control.Sandbox(None, None, None), lambda: control.Instance(None, None),
            lambda: control.Sandbox(control.Options(), None, None), lambda: control.Sandbox(1, 2, 3),
            lambda: control.Sandbox.call(None, "f", ()), lambda: control.Pool(1), lambda: control.Sandbox.close(3)]
        for work in works:
            with self.assertRaises(TypeError):
                work()
        with box_of() as box, self.assertRaises(TypeError):
            box._handle.call("id", [1])


class Functions(unittest.TestCase):
    def test_values(self) -> None:
        seen: List[Any] = []
        with box_of() as box:
            box.register("game.see", lambda *values: seen.append(values))
            box.register("back", lambda value: value)
            box.load("game.see(1, 'a', {x = {1, 2}}, nil, true)")
            self.assertEqual(seen, [(1, "a", {"x": [1, 2]}, None, True)])
            self.assertEqual(box.load("return back({1, {a = 'b'}})"), [1, {"a": "b"}])
            self.assertEqual(box.load("return back(nil)"), None)
            self.assertEqual(box.load("return back(back('x'):rep(3))"), "xxx")

    def test_decorator(self) -> None:
        with box_of() as box:
            @box.function
            def double(number: int) -> int:
                return 2 * number
            self.assertEqual(box.load("return double(21)"), 42)
            self.assertEqual(double(1), 2)

    def test_same_exception(self) -> None:
        class Odd(Exception):
            pass

        raised = Odd("seven")

        def fail() -> None:
            raise raised

        with box_of() as box:
            box.register("fail", fail)
            frame = None
            try:
                box.load("local function f() fail() end f()")
            except Odd as error:
                self.assertIs(error, raised)
                frame = error.__traceback__
            names = []
            while frame:
                names.append(frame.tb_frame.f_code.co_name)
                frame = frame.tb_next
            self.assertIn("fail", names)
            self.assertEqual(box.load("local ok, e = pcall(fail) return ok, e"), (False, "Odd: seven"))
            with self.assertRaises(emma.ScriptError) as wrapped:
                box.load("local ok, e = pcall(fail) error('wrapped: ' .. e)")
            self.assertIs(wrapped.exception.__cause__, raised)
            with self.assertRaises(emma.ScriptError) as other:
                box.load("pcall(fail) error('another')")
            self.assertIsNone(other.exception.__cause__)

    def test_one_in_place_of_another(self) -> None:
        """The script may have the one of before, and a rollback brings it back; held once each."""
        def one() -> int:
            return 1

        before = sys.getrefcount(one)
        with box_of() as box:
            for _ in range(1000):
                box.register("f", one)
            self.assertEqual(sys.getrefcount(one), before + 1)
            held = weakref.ref(one)
            del one
            box.load("kept = f")
            level = box.checkpoint()
            box.register("f", lambda: 2)
            gc.collect()
            self.assertEqual(box.load("return f(), kept()"), (2, 1))
            box.rollback(level)
            self.assertEqual(box.load("return f(), kept()"), (1, 1))
        del box
        gc.collect()
        self.assertIsNone(held())

    def test_null_characters(self) -> None:
        def fail() -> None:
            raise ValueError("a\0b")

        with box_of() as box:
            box.register("fail", fail)
            with self.assertRaises(emma.ScriptError) as caught:
                box.load("error('a\\0b')")
            self.assertEqual((str(caught.exception), caught.exception.message), ("script:1: a\0b",) * 2)
            self.assertEqual(box.load("return pcall(fail)"), (False, "ValueError: a\\0b"))
            with self.assertRaisesRegex(ValueError, "^a\0b$"):
                box.load("fail()")
            with self.assertRaises(emma.ScriptError) as caught:
                box.load("local _, e = pcall(fail) error('x\\0' .. e .. '\\0')")
            self.assertIsInstance(caught.exception.__cause__, ValueError)
        with self.assertRaises(emma.ScriptError) as caught:
            emma.Pool("error('a\\0b')")
        self.assertEqual(caught.exception.message, "prelude:1: a\\0b")

    def test_places_before_an_exception(self) -> None:
        class Odd(Exception):
            pass

        def fail() -> None:
            raise Odd("x")

        with box_of() as box:
            box.register("fail", fail)
            for name in ("script", "a: b", "a:1: b", "\u0436:7"):
                with self.subTest(name=name), self.assertRaises(emma.ScriptError if name == "a:1: b" else Odd):
                    box.load("local x = fail()", name)

    def test_odd_exceptions(self) -> None:
        class Meta(type):
            @property
            def __name__(cls) -> str:  # type: ignore[override]
                raise KeyError("no name")

        class Nameless(Exception, metaclass=Meta):
            pass

        class Textless(Exception):
            def __str__(self) -> str:
                raise KeyError("no text")

        for kind in (Nameless, Textless):
            def fail() -> None:
                raise kind()

            with box_of() as box:
                box.register("fail", fail)
                with self.assertRaises(kind):
                    box.load("fail()")
                self.assertFalse(box.load("return (pcall(fail))"))

    def test_printed_by_what_is_called(self) -> None:
        """A function that is print, too, is a function where it is called as one."""
        def double(value: Any) -> Any:
            if value == "fail":
                raise KeyError(value)
            return value * 2

        with emma.Sandbox(print=double) as box:
            box.register("double", double)
            self.assertEqual(box.load("print('x') return double(21)"), 42)
            self.assertEqual(box.load("return (pcall(double, 'fail'))"), False)
            self.assertEqual(box.load("return 1"), 1)

    def test_late_exception(self) -> None:
        def late() -> None:
            time.sleep(0.05)
            raise KeyError("late")

        with box_of(deadline=0.02) as box:
            box.register("late", late)
            with self.assertRaises(emma.Deadline) as caught:
                box.load("late()")
            self.assertIsInstance(caught.exception.__cause__, KeyError)

    def test_messages_are_text(self) -> None:
        with box_of() as box:
            with self.assertRaises(emma.ScriptError) as caught:
                box.load("error(('\u00e9'):rep(1000) .. '\\xff')")
            self.assertIs(type(caught.exception.message), str)
            self.assertIs(type(caught.exception.traceback), str)
            with self.assertRaises(TypeError) as wrong:
                box.set(1, 2)  # type: ignore[arg-type]
            self.assertEqual(str(wrong.exception), "name: a str, not int")

    def test_registered_again(self) -> None:
        """A method is kept once, though each look at it makes a new object."""
        class Counter:
            def __init__(self) -> None:
                self.seen: List[Any] = []

            def see(self, value: Any) -> None:
                self.seen.append(value)

        class Names(List[Any]):
            def append(self, value: Any) -> None:
                super().append([value])
        with box_of() as box:
            one, other, names = Counter(), Counter(), Names()
            for _ in range(100):
                box.register("one", one.see)
                box.register("other", other.see)
                box.register("plain", one.seen.append)
                box.register("wrapper", one.seen.__contains__)
                box.register("outer", names.append)
                box.register("inner", super(Names, names).append)
            self.assertLess(len(box._functions._held), 10)
            box.load("one(1) other(2) plain(3) outer(4) inner(5)")
            self.assertEqual((one.seen, other.seen, names), ([1, 3], [2], [[4], 5]))
            self.assertIs(box.load("return wrapper(3)"), True)

    def test_registered_in_vain(self) -> None:
        with box_of() as box:
            for _ in range(3):
                with self.assertRaises(ValueError):
                    box.register("id.x", print)
            box.register("f", len)
            self.assertEqual(box.load("return f({1, 2})"), 2)

    def test_containers_change_meanwhile(self) -> None:
        """Another thread empties the list while its texts go in: what was in it when the call began counts."""
        with box_of() as box:
            box.load("function bytes(t) local n = 0 for _, s in ipairs(t) do n = n + #s end return n end")
            running = True
            shared: List[str] = []

            def change() -> None:
                while running:
                    shared.extend(chr(97 + i % 26) * 5000 for i in range(50))
                    time.sleep(0)
                    shared.clear()

            thread = threading.Thread(target=change)
            thread.start()
            try:
                for _ in range(300):
                    self.assertEqual(box.call("bytes", shared) % 5000, 0)
            finally:
                running = False
                thread.join()

    def test_exceptions_are_let_go(self) -> None:
        class Heavy:
            pass

        def fail() -> None:
            heavy = Heavy()
            refs.append(weakref.ref(heavy))
            raise KeyError(1)

        refs: List[Any] = []
        with box_of() as box:
            box.register("fail", fail)
            box.load("for i = 1, 20 do pcall(fail) end")
            gc.collect()
            self.assertEqual(len(refs), 20)
            self.assertEqual([ref for ref in refs if ref() is not None], [])

    def test_what_no_script_catches(self) -> None:
        for kind in (KeyboardInterrupt, SystemExit):
            def stop() -> None:
                raise kind("stop")

            with box_of() as box:
                box.register("stop", stop)
                with self.assertRaises(kind):
                    box.load("while true do pcall(stop) end")
                self.assertEqual(box.call("id", 1), 1)

    def test_wrong_results(self) -> None:
        with box_of() as box:
            box.register("bad", lambda: object())
            box.register("big", lambda: 1 << 80)
            with self.assertRaises(TypeError):
                box.load("bad()")
            with self.assertRaises(OverflowError):
                box.load("big()")
            self.assertFalse(box.load("return pcall(bad)")[0])
            with self.assertRaises(emma.ScriptError) as caught:
                box.register("f", lambda value: value)
                box.load("f(print)")
            self.assertIn("an argument is or has a function", str(caught.exception))

    def test_busy_inside(self) -> None:
        outcomes: List[str] = []

        def inside() -> None:
            for work in (lambda: box.call("id"), box.close, box.checkpoint, box.stats):
                try:
                    work()
                except emma.SandboxBusy:
                    outcomes.append("busy")

        with box_of() as box, box_of() as other:
            box.register("inside", inside)
            box.register("other", lambda: other.call("id", 5))
            box.load("inside()")
            self.assertEqual(outcomes, ["busy"] * 4)
            self.assertEqual(box.load("return other()"), 5)

    def test_nested_errors(self) -> None:
        with box_of() as box, box_of() as other:
            def outer() -> None:
                other.load("error('inner')")

            box.register("outer", outer)
            with self.assertRaises(emma.ScriptError) as caught:
                box.load("outer()")
            self.assertEqual(caught.exception.message, "script:1: inner")
            self.assertEqual(box.load("return pcall(outer)"), (False, "ScriptError: script:1: inner"))

    def test_deadline_in_a_function(self) -> None:
        with box_of(deadline=0.05) as box:
            box.register("sleep", lambda: time.sleep(0.2))
            level = box.checkpoint()
            with self.assertRaises(emma.Deadline):
                box.load("sleep() while true do end")
            box.rollback(level)
            self.assertEqual(box.call("id", 1), 1)

    def test_cycles_are_collected(self) -> None:
        box = box_of()
        box.register("me", lambda: box)
        ref = weakref.ref(box)
        del box
        gc.collect()
        self.assertIsNone(ref())

    def test_after_rollback(self) -> None:
        with box_of() as box:
            box.register("f", lambda: "old")
            level = box.checkpoint()
            box.register("f", lambda: "new")
            self.assertEqual(box.load("return f()"), "new")
            box.rollback(level)
            gc.collect()
            self.assertEqual(box.load("return f()"), "old")

    def test_print(self) -> None:
        lines: List[str] = []
        with emma.Sandbox(print=lines.append) as box:
            box.load("print('a', 1, nil) print() print('two\\nlines') print('\\xff')")
        self.assertEqual(lines, ["a\t1\tnil", "", "two\nlines", b"\xff"])

    def test_print_fails(self) -> None:
        def fail(line: str) -> None:
            raise OSError(line)

        with emma.Sandbox(print=fail) as box:
            with self.assertRaises(OSError) as caught:
                box.load("while true do pcall(print, 'x') end")
            self.assertEqual(str(caught.exception), "x")
            self.assertEqual(box.load("return 1"), 1)


class Looks(unittest.TestCase):
    def test_figures(self) -> None:
        with box_of(memory="8M") as box:
            before = box.stats()
            box.load("kept = {} for i = 1, 1000 do kept[i] = {i} end")
            after = box.stats()
            self.assertGreater(after.live, before.live + 50_000)
            self.assertGreaterEqual(after.footprint, after.live)
            self.assertGreater(box.types().tables, 50_000)
            box.check()
            self.assertGreaterEqual(box.trim(), 0)

    def test_walk(self) -> None:
        with box_of() as box:
            blocks: List[Any] = []
            self.assertTrue(box.walk(lambda address, size: blocks.append((address, size))))
            total, live = sum(size for _, size in blocks), box.stats().live
            self.assertTrue(live // 2 < total <= live, (total, live))  # less where blocks have guards behind them
            some: List[Any] = []

            def until_three(address: int, size: int) -> bool:
                some.append(size)
                return len(some) < 3

            self.assertFalse(box.walk(until_three))
            self.assertEqual(len(some), 3)

            def fail(address: int, size: int) -> None:
                raise KeyError(size)

            with self.assertRaises(KeyError):
                box.walk(fail)

            def inside(address: int, size: int) -> None:
                box.stats()

            with self.assertRaises(emma.SandboxBusy):
                box.walk(inside)
            self.assertEqual(box.call("id", 1), 1)

    def test_nothing_is_left(self) -> None:
        def count() -> int:
            with open("/proc/self/maps", encoding="ascii") as maps:
                return len(maps.readlines())

        box_of().close()
        before, files = count(), len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            box = box_of()
            box.checkpoint()
            box.close()
        del box
        gc.collect()
        self.assertLessEqual(count(), before + 2)
        self.assertEqual(len(os.listdir("/proc/self/fd")), files)


class Asyncio(unittest.TestCase):
    def test_calls(self) -> None:
        async def main() -> Any:
            async with emma.Sandbox(deadline=5) as box, emma.Sandbox(deadline=5) as other:
                await box.load_async(PRELUDE)
                await other.load_async("function f() for i = 1, 1e5 do end return 'f' end")
                return await asyncio.gather(box.call_async("id", 3), other.call_async("f"))

        self.assertEqual(asyncio.run(main()), [3, "f"])

    def test_cancelled(self) -> None:
        async def main() -> Any:
            async with emma.Sandbox() as box:
                box.load(PRELUDE)
                level = box.checkpoint()
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(box.call_async("spin"), 0.05)
                box.rollback(level)
                return box.call("id", 4)

        self.assertEqual(asyncio.run(main()), 4)

    def test_cancelled_before_it_begins(self) -> None:
        """A call that waits for a thread is given up; the one that goes on is another task's."""
        async def main() -> Any:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            async with emma.Sandbox() as box:
                begun, goes_on = threading.Event(), threading.Event()
                seen: List[int] = []
                box.register("begun", begun.set)
                box.register("wait", lambda: goes_on.wait(20))
                box.register("see", lambda: seen.append(1))
                box.load("function slow() begun() wait() for i = 1, 1e5 do end return 'whole' end")
                slow = asyncio.ensure_future(box.call_async("slow"))
                while not begun.is_set():
                    await asyncio.sleep(0.01)
                queued = asyncio.ensure_future(box.call_async("see"))
                await asyncio.sleep(0.01)
                queued.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.wait_for(asyncio.shield(queued), 10)
                goes_on.set()
                return await slow, await box.load_async("return 5"), seen

        self.assertEqual(asyncio.run(main()), ("whole", 5, []))

    def test_cancelled_late(self) -> None:
        """A task that is cancelled when its call is over has nothing to stop."""
        async def main() -> Any:
            async with emma.Sandbox() as box:
                box.load(PRELUDE)
                task = asyncio.ensure_future(box.call_async("id", 1))
                await asyncio.sleep(0)
                time.sleep(0.1)  # the call ends, and the loop does not see it yet
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                return box.call("id", 5)

        self.assertEqual(asyncio.run(main()), 5)

    def test_cancelled_twice(self) -> None:
        async def main() -> Any:
            async with emma.Sandbox() as box:
                box.load(PRELUDE)
                box.register("nap", lambda: time.sleep(0.3))
                level = box.checkpoint()
                task = asyncio.ensure_future(box.load_async("nap() while true do end"))
                await asyncio.sleep(0.1)
                task.cancel()
                await asyncio.sleep(0.05)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                box.rollback(level)
                return box.call("id", 6)

        self.assertEqual(asyncio.run(main()), 6)


class Process(EmmaTest):
    def test_ends_with_live_sandboxes(self) -> None:
        code = """
import emma, threading, atexit
box = emma.Sandbox()
box.register("f", print)
pool = emma.Pool("x = 1", size=3, ahead=2, functions={"f": print})
leased = pool.acquire()
class Last:
    def __del__(self):
        try:
            box.load("f('last')")
        except Exception as error:
            print(type(error).__name__)
last = Last()
atexit.register(lambda: print(leased.load("return x")))
print("end")
"""
        done = self.python("-c", code)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines()[:2], ["end", "1"])

    def test_ends_while_a_daemon_runs_a_script(self) -> None:
        code = """
import emma, threading, time
box = emma.Sandbox()
def wait():
    time.sleep(0.01)
box.register("wait", wait)
threading.Thread(target=box.load, args=("while true do wait() end",), daemon=True).start()
other = emma.Sandbox()
threading.Thread(target=other.load, args=("while true do end",), daemon=True).start()
time.sleep(0.1)
print("end")
"""
        self.assert_prints(self.python("-c", code), "end\n")

    def test_fork(self) -> None:
        code = """
import emma, os
box = emma.Sandbox(memory="4M", deadline=1)
box.load("n = 1")
pid = os.fork()
box.load("n = n + 1")
if pid == 0:
    os._exit(box.load("return n"))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), box.load("return n"))
"""
        self.assert_prints(self.python("-W", "ignore", "-c", code), "2 2\n")

    def test_fork_while_others_kill(self) -> None:
        code = """
import emma, os, signal, threading
box = emma.Sandbox()
ends = False
def kill():
    while not ends:
        box.kill()
def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        box.kill()
        os._exit(box.closed)
    return os.waitpid(pid, 0)[1]
def fork_often():
    global ends
    failed = any(fork() for _ in range(100))
    ends = True
    for thread in threads:
        thread.join()
    print(failed)
threads = [threading.Thread(target=kill) for _ in range(3)]
def start():
    for thread in threads:
        thread.start()
    fork_often()
box.register("start", start)
try:
    box.load("start()")  # it runs: each kill sends a signal
except emma.Killed:
    print("killed")
"""
        self.assert_prints(self.python("-W", "ignore", "-c", code), "False\nkilled\n")

    def test_under_emma(self) -> None:
        code = """
import emma
with emma.Sandbox(memory="4M") as box:
    print(box.load("return 1 + 1"), emma.is_installed(), emma.limit)
"""
        for options in ((), ("--all",)):
            self.assert_prints(self.code(code, "--limit", "200M", *options), f"2 True {200 << 20}\n")

    def test_sub_interpreter(self) -> None:
        for kind in "", '"legacy"':
            self.check_sub_interpreter(kind)

    def check_sub_interpreter(self, kind: str) -> None:
        code = f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import emma
emma.Sandbox()
try:
    one = interpreters.create({kind})
except TypeError:  # up to 3.12, one that shares the lock is made in another way
    one = interpreters.create(isolated=False)
script = "import emma\\ntry:\\n    emma.Sandbox()\\nexcept ImportError as error:\\n    print('ImportError:', error)"
found = getattr(interpreters, "exec", getattr(interpreters, "run_string", None))(one, script)
if found is not None:
    print(found)
print(emma.Sandbox().load("return 1"))
"""
        done = self.python("-W", "ignore", "-c", code)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(any(line.startswith("ImportError: ") for line in lines), lines)
        self.assertIn("1", lines)
        self.assertNotIn("memory leak", done.stdout + done.stderr)

    def test_interrupt(self) -> None:
        """Ctrl-C while a script runs is raised when it has ended."""
        code = """
import emma, os, signal, threading
box = emma.Sandbox(deadline=0.3)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    box.load("while true do end")
except (KeyboardInterrupt, emma.Deadline) as error:
    print("stopped")
"""
        self.assertEqual(self.python("-c", code).stdout, "stopped\n")

    def test_interrupt_in_a_function(self) -> None:
        """Where the script calls functions, it is raised in one of them."""
        code = """
import emma, os, signal, threading
box = emma.Sandbox(deadline=60)
box.register("f", lambda: None)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    box.load("while true do pcall(f) end")
except KeyboardInterrupt:
    print("interrupted")
"""
        self.assertEqual(self.python("-c", code).stdout, "interrupted\n")


if __name__ == "__main__":
    unittest.main()
