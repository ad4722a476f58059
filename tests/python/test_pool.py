"""emma.Pool and emma.Instance."""

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import unittest
import weakref
from typing import Any, Callable, Dict, List

from support import PACKAGE

sys.path.insert(0, str(PACKAGE))
import emma  # noqa: E402

PRELUDE = "count = 0 function hit(x) count = count + 1 return count, x end function spin() while true do end end"


class Pools(unittest.TestCase):
    def test_as_new_each_time(self) -> None:
        with emma.Pool(PRELUDE, size=2, memory="1M", deadline=1) as pool:
            for i in range(10):
                with pool.lease() as box:
                    self.assertEqual(box.call("hit", i), (1, i))
            stats = pool.stats()
            self.assertEqual((stats.sandboxes, stats.idle, stats.most, stats.acquired_count), (1, 1, 2, 10))
            self.assertGreater(stats.footprint, 10_000)

    def test_bounds_are_put_back(self) -> None:
        with emma.Pool(PRELUDE, size=1, memory="1M", deadline=0.05) as pool:
            for _ in range(2):
                with pool.lease() as box:
                    self.assertEqual((box.memory, box.deadline), (1 << 20, 0.05))
                    with self.assertRaises(emma.MemoryLimit):
                        box.load("x = ('x'):rep(2 << 20)")
                    with self.assertRaises(emma.Deadline):
                        box.call("spin")
                    box.memory = "8M"
                    box.deadline = None

    def test_functions(self) -> None:
        seen: List[Any] = []
        lines: List[str] = []

        def fail() -> None:
            raise KeyError("k")

        functions: Dict[str, Callable[..., Any]] = {"log.see": seen.append, "fail": fail, "double": lambda x: 2 * x}
        with emma.Pool("start = double(21) log.see('prelude') print('made')", functions=functions, print=lines.append) as pool:
            with pool.lease() as box:
                self.assertEqual(box.load("log.see('request') print('x') return start, double(start)"), (42, 84))
                with self.assertRaises(KeyError):
                    box.load("fail()")
                box.register("own", lambda: "mine")
                self.assertEqual(box.load("return own()"), "mine")
            with pool.lease() as box:
                self.assertIsNone(box.load("return own"))
        self.assertEqual((seen, lines), (["prelude", "request"], ["made", "x"]))

    def test_threads(self) -> None:
        with emma.Pool(PRELUDE, size=3, ahead=1, functions={"nap": lambda: time.sleep(0.001)}) as pool:
            results: List[Any] = []

            def work() -> None:
                for i in range(30):
                    with pool.lease() as box:
                        box.load("nap()")
                        results.append(box.call("hit", i))

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(results), 240)
            self.assertTrue(all(count == 1 for count, _ in results))
            self.assertLessEqual(pool.stats().sandboxes, 3)
            self.assertGreater(pool.stats().waited_count, 0)

    def test_more_tasks_than_sandboxes(self) -> None:
        """Tasks that wait do not keep those from running that have one."""
        async def main() -> Any:
            with emma.Pool(PRELUDE, size=2, deadline=5) as pool:
                async def one(i: int) -> Any:
                    async with pool.lease() as box:
                        await asyncio.sleep(0.001)
                        return await box.call_async("hit", i)
                return await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(100))), 60)

        self.assertEqual(asyncio.run(main()), [(1, i) for i in range(100)])

    def test_a_task_that_waits_is_cancelled(self) -> None:
        async def main() -> Any:
            with emma.Pool(PRELUDE, size=1) as pool:
                async def wait() -> None:
                    async with pool.lease():
                        pass
                async with pool.lease() as box:
                    with self.assertRaises(asyncio.TimeoutError):
                        await asyncio.wait_for(wait(), 0.05)
                    box.call("hit", 1)
                async with pool.lease() as box:
                    return box.call("hit", 2)

        self.assertEqual(asyncio.run(main()), (1, 2))

    def test_a_lease_is_for_one_block_at_a_time(self) -> None:
        async def main() -> None:
            with emma.Pool("function f() return 1 end", size=2) as pool:
                lease = pool.lease()

                async def use(seconds: float) -> Any:
                    async with lease as box:
                        await asyncio.sleep(seconds)
                        return await box.call_async("f")
                ends: Any = await asyncio.gather(use(0.05), use(0.15), return_exceptions=True)
                self.assertEqual(ends[0], 1)
                self.assertIsInstance(ends[1], RuntimeError)
                self.assertIn("in use", str(ends[1]))
                with lease as box:
                    self.assertEqual(box.call("f"), 1)
                    with self.assertRaises(RuntimeError), lease:
                        pass
                    self.assertEqual(box.call("f"), 1)
                with pool.lease(), pool.lease():
                    with self.assertRaises(asyncio.TimeoutError):
                        await asyncio.wait_for(use(0), 0.05)
                self.assertEqual(await use(0), 1)

        asyncio.run(main())

    def test_waits_are_bounded(self) -> None:
        with emma.Pool(PRELUDE, size=1) as pool, pool.lease():
            started = time.monotonic()
            with self.assertRaises(TimeoutError):
                pool.acquire(timeout=0.1)
            self.assertLess(time.monotonic() - started, 5)
            with self.assertRaises(TimeoutError):
                pool.acquire(timeout=0)

    def test_waits_do_not_hold_up_the_end(self) -> None:
        code = """
import asyncio, emma, os, signal, threading
async def main():
    pool = emma.Pool("x = 1", size=1)
    async with pool.lease():
        try:
            await asyncio.wait_for(pool.lease().__aenter__(), 0.1)
        except asyncio.TimeoutError:
            print("nobody waits any more")
asyncio.run(main())
pool = emma.Pool("x = 1", size=1)
leased = pool.acquire()
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    pool.acquire()
except KeyboardInterrupt:
    print("interrupted")
"""
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("nobody waits any more\ninterrupted\n", ""))

    def test_forgotten_waits_do_not_hold_up_the_end(self) -> None:
        """Tasks that wait in a loop that does not go on; one that does serves them to its end."""
        code = """
import asyncio, emma, threading, time
async def wait(pool):
    async with pool.lease() as box:
        return box.load("return 3")
forgotten = emma.Pool(size=1)
leased = forgotten.acquire()
loop = asyncio.new_event_loop()
tasks = [loop.create_task(wait(forgotten)) for _ in range(3)]
loop.run_until_complete(asyncio.sleep(0.1))

waits = threading.Event()
async def go_on(pool, box):
    asyncio.get_running_loop().call_later(0.1, waits.set)
    asyncio.get_running_loop().call_later(0.5, box.close)
    print(await wait(pool), threading.main_thread().is_alive())
pool = emma.Pool(size=1)
threading.Thread(target=lambda: asyncio.run(go_on(pool, pool.acquire()))).start()
waits.wait()
"""
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True,
                              text=True, check=False, timeout=20)
        self.assertEqual((done.returncode, done.stdout), (0, "3 False\n"), done.stderr)

    def test_ends_while_preparations_fail(self) -> None:
        for _ in range(5):
            with emma.Pool("if made() > 1 then while true do end end", size=4, ahead=2, prelude_deadline=0.05,
                           functions={"made": itertools.count(1).__next__}) as pool:
                time.sleep(0.03)
            self.assertTrue(pool.closed)

    def test_closed_by_its_own_thread(self) -> None:
        main = threading.get_ident()
        raised: List[BaseException] = []
        tried = threading.Event()
        pools: List[emma.Pool] = []

        def hook() -> None:
            if threading.get_ident() == main or tried.is_set():
                return
            while not pools:
                time.sleep(0.001)
            try:
                pools[0].close()
            except emma.SandboxBusy as error:
                raised.append(error)
            tried.set()

        with emma.Pool("hook()", size=3, ahead=2, functions={"hook": hook}) as pool:
            pools.append(pool)
            self.assertTrue(tried.wait(10))
            self.assertFalse(pool.closed)
        self.assertIn("preparation that this call is inside of", str(raised[0]))

    def test_collected_by_its_own_thread(self) -> None:
        main = threading.get_ident()
        pools: List[emma.Pool] = []
        gone = threading.Event()

        def drop() -> None:
            if threading.get_ident() == main:
                return
            while not pools:
                time.sleep(0.001)
            weakref.finalize(pools[0], gone.set)
            pools.clear()  # nobody else has it

        for _ in range(10):
            gone.clear()
            pools.append(emma.Pool("drop()", size=3, ahead=2, functions={"drop": drop}))
            self.assertTrue(gone.wait(10))
            for _ in range(1000):
                if threading.active_count() == 1:
                    break
                time.sleep(0.001)

    def test_child_of_a_fork_ends(self) -> None:
        script = ("import emma, os, signal, sys, time\n"
                  "pool = emma.Pool('x = 1', size=4, ahead=2)\n"
                  "while pool.stats().idle < 2: time.sleep(0.001)\n"
                  "time.sleep(0.05)\n"
                  "child = os.fork()\n"
                  "if child == 0:\n"
                  "    signal.alarm(20)\n"
                  "    sys.exit(7)\n"
                  "print(os.waitpid(child, 0)[1] >> 8)\n")
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("7\n", ""))

    def test_prelude_fails(self) -> None:
        for prelude, text in (("x =", "unexpected symbol"), ("error('no')", "prelude:1: no"),
                              ("return ('x'):rep({})", "bad argument"), ("while true do end", "time is over")):
            kind = emma.Deadline if "while" in prelude else emma.ScriptError
            with self.subTest(prelude=prelude), self.assertRaises(kind) as caught:
                emma.Pool(prelude, prelude_deadline=0.05)
            self.assertIn(text, str(caught.exception))

        def fail() -> None:
            raise KeyError("of the host")

        with self.assertRaises(KeyError):
            emma.Pool("fail()", functions={"fail": fail})

    def test_registered_in_leases(self) -> None:
        with emma.Pool(PRELUDE, functions={"f": lambda: 1}) as pool:
            for i in range(50):
                with pool.lease() as box:
                    box.register("own", lambda number=i: number)
                    self.assertEqual(box.load("return own(), f()"), (i, 1))
            self.assertLessEqual(len(pool._functions._held), 2)

    def test_closing(self) -> None:
        pool = emma.Pool(PRELUDE)
        box = pool.acquire()
        with self.assertRaises(emma.SandboxBusy) as caught:
            pool.close()
        self.assertIn("1 sandboxes are leased", str(caught.exception))
        self.assertEqual(box.call("hit", 1), (1, 1))
        box.close()
        box.close()
        with self.assertRaises(emma.SandboxClosed):
            box.call("hit", 1)
        pool.close()
        pool.close()
        self.assertTrue(pool.closed)
        for work in (pool.acquire, pool.stats, lambda: pool.prepare(1)):
            with self.assertRaises(emma.SandboxClosed):
                work()

    def test_opened_once(self) -> None:
        with emma.Pool(PRELUDE) as pool:
            options = emma._control.PoolOptions()
            options.sandbox = pool._options
            with self.assertRaisesRegex(ValueError, "this pool is open already"):
                pool._handle.open(options, "again", PRELUDE, "prelude")
            with pool.lease() as box:
                self.assertEqual(box.call("hit", 1), (1, 1))

    def test_dropped_while_leased(self) -> None:
        pool = emma.Pool(PRELUDE, functions={"f": lambda: 5})
        box = pool.acquire()
        ref = weakref.ref(pool)
        del pool
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(box.load("return f()"), 5)
        box.close()

    def test_cycles_are_collected(self) -> None:
        holder: List[Any] = []
        holder.append(emma.Pool(PRELUDE, functions={"f": lambda: holder}))
        ref = weakref.ref(holder[0])
        del holder
        gc.collect()
        self.assertIsNone(ref())

    def test_bad_input(self) -> None:
        cases: List[Any] = [
            ({"size": 0}, ValueError, "size: 0"), ({"size": "x"}, TypeError, "size: "), ({"ahead": -1}, ValueError, "ahead: "),
            ({"prelude": 3}, TypeError, "prelude: "), ({"functions": {"f": 3}}, TypeError, "functions['f']"),
            ({"functions": {3: print}}, TypeError, "functions: "), ({"prelude_deadline": 0}, ValueError, "prelude_deadline: "),
            ({"memory": "?"}, ValueError, "memory: "), ({"checkpoints": False}, ValueError, "checkpoints: "),
            ({"memory": 1}, ValueError, "memory: less than 16 KiB"), ({"size": 1, "ahead": 2}, ValueError, "ahead: 2"),
            ({"functions": 5}, TypeError, "functions: "), ({"functions": {"a..b": len}}, ValueError, "name"),
            ({"print": 3}, TypeError, "print: "), ({"colour": 3}, TypeError, "colour")]
        for settings, kind, text in cases:
            with self.subTest(settings=settings), self.assertRaises(kind) as caught:
                emma.Pool(**settings)
            self.assertIn(text, str(caught.exception))


class Instances(unittest.TestCase):
    def test_blocks(self) -> None:
        with emma.Instance("1M") as instance:
            address = instance.malloc(100)
            self.assertGreaterEqual(instance.usable_size(address), 100)
            self.assertTrue(instance.owns(address))
            self.assertFalse(instance.owns(id(instance)))
            seen: List[Any] = []
            self.assertTrue(instance.walk(lambda at, size: seen.append((at, size))))
            self.assertEqual(seen, [(address, instance.usable_size(address))])
            self.assertEqual(instance.stats().live_blocks, 1)
            self.assertEqual(sum(each.live_blocks for each in instance.classes()), 1)
            for wrong in (address + 16, address + 1, 0, id(instance)):
                with self.assertRaises(ValueError):
                    instance.free(wrong)
            instance.check()
            instance.free(address)
            with self.assertRaises(ValueError):
                instance.free(address)
            self.assertEqual(instance.stats().live_blocks, 0)

    def test_limits(self) -> None:
        with emma.Instance("256K", spare="64K") as instance:
            with self.assertRaises(MemoryError):
                instance.malloc("1M")
            self.assertEqual(instance.stats().limit, 256 << 10)
            self.assertEqual(instance.stats().spare, 64 << 10)
            instance.use_spare(True)
            self.assertEqual(instance.stats().spare, 0)
            instance.set_limit("4M")
            instance.malloc("1M")
            with self.assertRaises(MemoryError):
                instance.set_limit("256K")
            instance.set_limit(None)
            self.assertIsNone(instance.stats().limit)
            instance.reset()
            self.assertEqual(instance.stats().live_bytes, 0)
            self.assertGreaterEqual(instance.trim(), 0)

    def test_checkpoints(self) -> None:
        with emma.Instance(checkpoints=True) as instance:
            instance.malloc(100)
            level = instance.checkpoint()
            instance.malloc(100_000)
            instance.rollback(level)
            self.assertEqual(instance.stats().live_blocks, 1)
            instance.drop(level)
            with self.assertRaises(ValueError):
                instance.rollback(level)
        with emma.Instance() as plain, self.assertRaises(NotImplementedError):
            plain.checkpoint()

    def test_bad_input(self) -> None:
        cases: List[Any] = [({"limit": "x"}, ValueError), ({"limit": 1}, ValueError), ({"limit": []}, TypeError),
                            ({"spare": "2M", "limit": "1M"}, ValueError), ({"shared": True, "checkpoints": True}, ValueError), ({"reserve": 5}, ValueError),
                            ({"name": 5}, TypeError), ({"decay": "x"}, TypeError)]
        for settings, kind in cases:
            with self.subTest(settings=settings), self.assertRaises(kind):
                emma.Instance(**settings)
        instance = emma.Instance()
        instance.close()
        instance.close()
        for work in (lambda: instance.malloc(1), instance.stats, instance.check, lambda: instance.owns(1)):
            with self.assertRaises(emma.SandboxClosed):
                work()

    def test_shown_to_others(self) -> None:
        code = """
import emma, json, os, subprocess, sys, time
emma.export()
emma.export()
box = emma.Sandbox(memory="4M", name="request")
instance = emma.Instance("1M", name="plain")
gone = emma.Instance("1M", name="gone")
gone.close()
time.sleep(0.6) # figures come four times a second
asked = [sys.executable, "-m", "emma", "top", "--json", str(os.getpid())]
shown = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
print(sorted((each["name"], each["kind"], each["limit_bytes"]) for each in shown["instances"]))
"""
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^\[\('plain', 'instance', 1048576\), \('request', 'sandbox', [0-9]+\)\]$")

    def test_threads(self) -> None:
        """A local instance refuses a second thread, whatever it does."""
        with emma.Instance() as instance:
            instance.malloc(16)
            inside, may_end = threading.Event(), threading.Event()

            def visit(at: int, size: int) -> None:
                inside.set()
                may_end.wait(timeout=60)

            thread = threading.Thread(target=instance.walk, args=(visit,))
            thread.start()
            self.assertTrue(inside.wait(timeout=60))
            for work in (lambda: instance.malloc(16), instance.trim, instance.check, lambda: instance.walk(visit)):
                with self.assertRaises(emma.SandboxBusy):
                    work()
            may_end.set()
            thread.join()
            self.assertIsNotNone(instance.malloc(16))
            instance.check()


if __name__ == "__main__":
    unittest.main()
