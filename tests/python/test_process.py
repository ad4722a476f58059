"""Forks, threads, sub-interpreters, several lives of the interpreter: under emma and after emma.install()."""

import ctypes.util
import subprocess
import sys
import unittest

from support import PACKAGE, EmmaTest, environment

WORK = """
import sys
def work(turns=60):
    kept = {}
    for turn in range(turns):
        for i in range(300):
            kept[i, turn % 7] = [str(i) * (i % 50), bytearray(i), {"a": i}]
        kept = {key: value for key, value in kept.items() if key[0] % 3}
    return len(kept)
"""

METHODS = """
import multiprocessing
from worker import work
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            print(method, set(pool.map(work, [20] * 12)) == {work(20)})
"""

FORK_WITH_THREADS = """
import os, threading
from worker import work
running = True
def busy():
    while running:
        work(2)
threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
statuses = []
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        work(10)
        os._exit(0)
    statuses.append(os.waitpid(pid, 0)[1])
running = False
for thread in threads:
    thread.join()
print(set(statuses))
"""

DAEMONS = """
import threading, time
from worker import work
def busy():
    while True:
        work(1)
for _ in range(6):
    threading.Thread(target=busy, daemon=True).start()
time.sleep(0.3)
print("end")
"""

INTERPRETERS = """
import sys, threading
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("isolated", reqrefs=False)
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)
code = "kept = [[str(i), {i: bytes(i % 99)}] for i in range(3000)]\\nimport json; json.dumps(list(range(500)))"
failed = []
def live(turns):
    try:
        for _ in range(turns):
            number = create()
            problem = interpreters.run_string(number, code)
            if problem is not None:
                failed.append(problem)
            interpreters.destroy(number)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=live, args=(30,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import emma
print(failed, "sound" in emma.doctor())
"""

SHORT_THREADS = """
import threading
from worker import work
for _ in range(300):
    threads = [threading.Thread(target=work, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
import emma
print(emma.stats().footprint < 40 << 20, "sound" in emma.doctor())
"""

# As tkinter does: what pymalloc leaves to malloc anyway, taken and freed without the lock.
WITHOUT_LOCK = """
import ctypes, threading
free_of_lock = ctypes.CDLL(None)
allocate, resize, free = free_of_lock.PyMem_Malloc, free_of_lock.PyMem_Realloc, free_of_lock.PyMem_Free
allocate.restype = resize.restype = ctypes.c_void_p
resize.argtypes, free.argtypes = [ctypes.c_void_p, ctypes.c_size_t], [ctypes.c_void_p]
def churn():
    for i in range(1_000):
        block = resize(allocate(600 + i % 3000), 600 + i % 5000)
        ctypes.memset(block, 1, 600)
        free(block)
threads = [threading.Thread(target=churn) for _ in range(3)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    kept = [bytearray(600 + i % 3000) for i in range(200)] + [str(i) for i in range(500)]
for thread in threads:
    thread.join()
import emma
print("sound" in emma.doctor())
"""

WAITING_THREADS = """
import sys, threading
ready, stop = threading.Semaphore(0), threading.Event()
def wait():
    kept = [str(i) for i in range(50)], {i: (i,) for i in range(20)}
    ready.release()
    stop.wait()
import emma
before = emma.stats().footprint
threads = [threading.Thread(target=wait) for _ in range(200)]
for thread in threads:
    thread.start()
for thread in threads:
    ready.acquire()
each = (emma.stats().footprint - before) // 200
one = "one heap for all" in emma.doctor()
stop.set()
for thread in threads:
    thread.join()
print(each < (30 << 10 if one else 120 << 10) or each, one and sys.version_info >= (3, 12))
"""

# The block is handed on from thread to thread.
HANDED_ON = """
import queue, threading
hand = queue.Queue(50)
def take():
    count = 0
    while (item := hand.get()) is not None:
        count += len(item)
    counts.append(count)
counts = []
taker = threading.Thread(target=take)
taker.start()
for i in range(30_000):
    hand.put([i] * (i % 20))
hand.put(None)
taker.join()
import emma
print(counts == [sum(i % 20 for i in range(30_000))], emma.stats().footprint < 40 << 20)
"""

# What the C library gets of Python's, and keeps of its own.
MIXED = """
import ctypes
libc, raw = ctypes.CDLL(None), ctypes.pythonapi
for function in (raw.PyMem_RawMalloc, libc.malloc, libc.realloc):
    function.restype = ctypes.c_void_p
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = raw.PyMem_RawFree.argtypes = [ctypes.c_void_p]
def filled(allocate, size):
    block = allocate(size)
    ctypes.memset(block, 7, size)
    return block
import emma
before = emma.stats().live_blocks
for size in (1, 100, 5000, 100_000, 3 << 20):
    for turn in range(100):
        libc.free(filled(raw.PyMem_RawMalloc, size))
        libc.free(filled(libc.malloc, size))
        for allocate in (raw.PyMem_RawMalloc, libc.malloc):
            block = libc.realloc(filled(allocate, size), 2 * size)
            assert ctypes.string_at(block, size) == b"\\7" * size
            raw.PyMem_RawFree(block)
libc.free(None)
libc.free(libc.realloc(None, 10))
assert libc.realloc(raw.PyMem_RawMalloc(100), 0) is None
libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
for allocate in (raw.PyMem_RawMalloc, libc.malloc):
    block = allocate(1000)
    assert 1000 <= libc.malloc_usable_size(block) < 2000
    libc.free(block)
print(abs(emma.stats().live_blocks - before) < 100)
"""


# A library that is initialized before emma's: the loader's own errors are allocated and freed by then.
EARLY = """
#include <dlfcn.h>
#include <stdlib.h>

__attribute__((constructor)) static void fail(void)
{
    for (int i = 0; i < 3; i++)
        if (dlopen("library-that-is-not-there.so", RTLD_NOW) || !dlerror())
            abort();
    void *block = realloc(malloc(10), 100000);
    if (!block || dlopen("library-that-is-not-there.so", RTLD_NOW))
        abort();
    free(block);
    if (!dlerror())
        abort();
}
"""

class Both(EmmaTest):
    """Each program twice."""

    def setUp(self) -> None:
        super().setUp()
        self.script(WORK, "worker.py")

    def assert_both(self, code: str, text: str) -> None:
        script = self.script(code, "main_program.py")
        self.assert_prints(self.emma(script), text)
        installing = self.script("import emma\nassert emma.install()\n" + code, "installing.py")
        self.assert_prints(self.python(installing), text)

    def test_multiprocessing(self) -> None:
        script = self.script(METHODS, "main_program.py")
        self.assert_prints(self.emma(script), "fork True\nspawn True\nforkserver True\n")

    def test_fork_with_threads(self) -> None:
        self.assert_both_but_for_warnings(FORK_WITH_THREADS, "{0}\n")

    def assert_both_but_for_warnings(self, code: str, text: str) -> None:
        script = self.script("import warnings\nwarnings.simplefilter('ignore')\n" + code, "main_program.py")
        self.assert_prints(self.emma(script), text)
        script = self.script("import emma, warnings\nwarnings.simplefilter('ignore')\nemma.install()\n" + code, "m.py")
        self.assert_prints(self.python(script), text)

    def test_daemon_threads(self) -> None:
        self.assert_both(DAEMONS, "end\n")

    @unittest.skipIf(sys.version_info < (3, 12), "interpreters with locks of their own come with 3.12")
    def test_interpreters(self) -> None:
        self.assert_both_but_for_warnings(INTERPRETERS, "[] True\n")

    def test_mixed_with_libc(self) -> None:
        script = self.script(MIXED)
        self.assert_prints(self.emma(script), "True\n")
        self.assert_prints(self.emma("--all", script), "True\n")

    def test_mixed_with_another_malloc(self) -> None:
        malloc = PACKAGE.parent / "libemma-malloc.so"
        if not malloc.exists():
            self.skipTest("no libemma-malloc.so was built")
        done = self.emma(self.script(MIXED), env=environment(LD_PRELOAD=malloc))
        self.assert_prints(done, "True\n")

    def test_early_library(self) -> None:
        source, library = self.folder / "early.c", self.folder / "early.so"
        source.write_text(EARLY)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        found = ctypes.util.find_library("jemalloc")
        preloads: list[list[object]] = [[library], [library, found], [found, library]] if found else [[library]]
        for others in preloads:
            done = self.emma("-c", "print('fine')", env=environment(LD_PRELOAD=":".join(map(str, others))))
            self.assert_prints(done, "fine\n")

    def test_short_threads(self) -> None:
        self.assert_both(SHORT_THREADS, "True True\n")

    def test_without_the_lock(self) -> None:
        self.assert_both(WITHOUT_LOCK, "True\n")

    def test_waiting_threads(self) -> None:
        # Up to 3.11 they may share a heap; from 3.12 on, interpreters have locks of their own.
        self.assert_both(WAITING_THREADS, "True False\n")

    def test_handed_on(self) -> None:
        self.assert_both(HANDED_ON, "True True\n")


if __name__ == "__main__":
    unittest.main()
