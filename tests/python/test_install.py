"""emma.install() in a running interpreter, and what the package shows of it."""

import unittest

from support import EmmaTest, environment


class Install(EmmaTest):
    def test_twice(self) -> None:
        self.assert_prints(self.python("-c", "import emma; print(emma.is_installed(), emma.install(), emma.install(), "
                                             "emma.is_installed())"), "False True False True\n")

    def test_under_run(self) -> None:
        self.assert_prints(self.code("import emma; print(emma.install())"), "False\n")

    def test_older_blocks_go_back(self) -> None:
        code = """
old = [[i] for i in range(50_000)]
grows = []
for i in range(1000):
    grows.append(i)
import emma
assert emma.install()
for i in range(100_000):
    grows.append(i)
del old
domains = emma._figures.domains()
print(domains["obj"].older_freed + domains["mem"].older_freed >= 50_000, sum(grows) > 0)
"""
        self.assert_prints(self.python("-c", code), "True True\n")

    def test_in_a_thread(self) -> None:
        code = """
import threading, emma
running = True
def work():
    while running:
        [bytes(i) for i in range(500)]
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
installer = threading.Thread(target=emma.install)
installer.start()
installer.join()
for _ in range(200):
    {i: str(i) for i in range(300)}
running = False
for thread in threads:
    thread.join()
print(emma.is_installed(), "sound" in emma.doctor())
"""
        self.assert_prints(self.python("-c", code), "True True\n")

    def test_star_and_hasattr(self) -> None:
        self.assert_prints(self.python("-c", "from emma import *\nimport emma\nprint(hasattr(emma, 'limit'), limit)"),
                           "True None\n")

    def test_under_tracemalloc(self) -> None:
        code = """
import tracemalloc, emma
tracemalloc.start()
try:
    emma.install()
except RuntimeError as error:
    print(str(error)[:24])
tracemalloc.stop()
print(emma.install())
tracemalloc.start()
x = [[i] for i in range(10000)]
tracemalloc.stop()
del x
print("sound" in emma.doctor())
"""
        self.assert_prints(self.python("-c", code), "tracemalloc is tracing: \nTrue\nTrue\n")

    def test_under_tracemalloc_from_the_start(self) -> None:
        code = "import emma\ntry:\n    emma.install()\nexcept RuntimeError as error:\n    print(str(error)[:24])"
        self.assert_prints(self.python("-X", "tracemalloc", "-c", code), "tracemalloc is tracing: \n")
        self.assert_prints(self.python("-c", code, env=environment(PYTHONTRACEMALLOC="1")), "tracemalloc is tracing: \n")

    def test_domains_that_options_leave(self) -> None:
        code = "import emma\ntry:\n    emma.install('raw')\nexcept ValueError as error:\n    print(error)"
        self.assert_prints(self.python("-c", code, env=environment(EMMA_OPTIONS="domains=obj")),
                           "the domains in EMMA_OPTIONS leave none of these\n")

    def test_further_domains(self) -> None:
        code = ("import emma\nprint(emma.install('mem'), emma.install('mem'))\ntry:\n    emma.install('obj')\n"
                "except RuntimeError as error:\n    print(error)")
        self.assert_prints(self.python("-c", code), "True False\nemma was installed without obj: that is for good\n")

    def test_walk_in_a_child(self) -> None:
        code = """
import emma, os, threading
emma.install()
end = threading.Event()
def wait():
    kept = [bytes(700) for i in range(100)]
    end.wait()
thread = threading.Thread(target=wait)
thread.start()
child = os.fork()
if not child:
    os._exit(0 if len(emma.walk()) > 50 and "sound" in emma.doctor() else 1)
print(os.waitpid(child, 0)[1])
end.set()
thread.join()
"""
        done = self.python("-W", "ignore", "-c", code)
        self.assert_prints(done, "0\n")

    def test_limit_after_a_trim(self) -> None:
        self.assert_ok(self.installed("""
import emma
kept = [bytes(450) for i in range(100_000)]
del kept
emma.limit = emma.stats().live_bytes + (24 << 20)
"""))

    def test_bad_domains(self) -> None:
        code = """
import emma
for domains in ([], ["raw", "heap"], "all", b"mem", 5):
    try:
        emma.install(domains)
    except (TypeError, ValueError) as error:
        print(error)
print(emma.is_installed())
"""
        self.assert_prints(self.python("-c", code), "no domain was named: use raw, mem and obj\n"
                                                    "'heap' is no domain: use raw, mem and obj\n"
                                                    "'all' is no domain: use raw, mem and obj\n"
                                                    "domains are a str or several, not bytes\n"
                                                    "domains are a str or several, not int\nFalse\n")

    def test_before_it_figures_are_refused(self) -> None:
        code = """
import emma
for ask in (emma.stats, emma.trim, emma.walk, emma.measure, lambda: emma.owns(1),
            lambda: setattr(emma, "limit", "1G")):
    try:
        ask()
    except RuntimeError as error:
        print(str(error)[:34])
print(emma.doctor())
"""
        self.assert_prints(self.python("-c", code), "emma does not serve this process: \n" * 6 +
                           "emma does not serve this process\n")


class Figures(EmmaTest):
    def test_stats(self) -> None:
        code = """
before = emma.stats()
kept = [bytes(1000) for _ in range(10_000)]
after = emma.stats()
print(after.live_bytes - before.live_bytes > 10_000_000, after.live_blocks - before.live_blocks >= 10_000)
print(before.limit, before.soft_limit, after.footprint >= after.live_bytes, emma.__version__.count("."))
"""
        self.assert_prints(self.installed(code), "True True\nNone None True 2\n")

    def test_limit(self) -> None:
        code = """
emma.limit = "100M"
print(emma.limit)
try:
    bytearray(120 << 20)
except MemoryError:
    print("refused")
emma.limit = None
print(emma.limit, len(bytearray(120 << 20)))
"""
        done = self.installed(code)
        self.assertEqual((done.returncode, done.stdout), (0, f"{100 << 20}\nrefused\nNone {120 << 20}\n"), done.stderr)

    def test_bad_limits(self) -> None:
        code = """
kept = bytearray(50 << 20)
for limit in ("x", -1, 0, 1, 2.5, True, 1 << 70, "10M"):
    try:
        emma.limit = limit
    except (ValueError, TypeError, MemoryError) as error:
        print(type(error).__name__, str(error)[:60])
print(emma.limit)
"""
        done = self.installed(code)
        self.assert_ok(done)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "ValueError 'x' is not a size (use bytes or K, M, G)")
        self.assertEqual([line.split()[0] for line in lines], ["ValueError"] * 4 + ["TypeError"] * 2 +
                         ["ValueError", "MemoryError", "None"])

    def test_trim(self) -> None:
        code = """
kept = [bytes(1000) for _ in range(50_000)]
del kept
print(emma.trim() > 1 << 20, emma.trim() < 1 << 20)
"""
        self.assert_prints(self.installed(code), "True True\n")

    def test_owns(self) -> None:
        code = """
class A: pass
n = 9999
print(emma.owns(A()), emma.owns(10**99), emma.owns('x' * n), emma.owns(None), emma.owns(int))
"""
        self.assert_prints(self.installed(code), "True True True False False\n")

    def test_walk(self) -> None:
        code = """
marks = [bytes(777_000) for _ in range(5)]
blocks = emma.walk()
print(sum(777_000 <= block.bytes <= 800_000 for block in blocks), blocks == sorted(blocks))
print(all(any(block.address <= id(mark) < block.address + block.bytes for block in blocks) for mark in marks))
"""
        self.assert_prints(self.installed(code), "5 True\nTrue\n")

    def test_numpy_handler_meets_other_blocks(self) -> None:
        code = """
import ctypes
from emma import _figures, _process
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
library = ctypes.PyDLL(str(_process.path_of(_process.NAME)))
library.emma_python_numpy_handler.restype = ctypes.c_void_p
functions = ctypes.cast(library.emma_python_numpy_handler() + 128, ctypes.POINTER(ctypes.c_void_p))
resize = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(functions[3])
free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(functions[4])
free(None, resize(None, libc.malloc(100), 5000), 5000)
print(_figures.domains()["raw"])
"""
        self.assert_prints(self.installed(code),
                           "Domain(wanted=False, serves=False, older_freed=1, older_resized=1)\n")

    def test_measure(self) -> None:
        code = """
with emma.measure() as outer:
    with emma.measure() as m:
        kept = [bytes(1000) for _ in range(10_000)]
        gone = bytearray(30 << 20)
        del gone
    small = [None] * 10
print(10_000_000 < m.bytes < 14_000_000, 10_000 <= m.blocks < 10_050, 46 << 20 > m.peak >= 30 << 20)
print(outer.peak >= m.peak, outer.bytes >= m.bytes)
with emma.measure() as m:
    del kept
print(m.bytes < -10_000_000, m.peak < 1 << 20)
try:
    with emma.measure() as m:
        1 / 0
except ZeroDivisionError:
    print(m.peak is not None)
try:
    emma.measure().__exit__()
except RuntimeError as error:
    print(error)
"""
        self.assert_prints(self.installed(code), "True True True\nTrue True\nTrue True\nTrue\n"
                                                 "this measurement was not begun: use it in a with statement\n")

    def test_doctor(self) -> None:
        done = self.python("-m", "emma", "doctor")
        self.assert_ok(done)
        self.assertRegex(done.stdout, r"^emma \d+\.\d+\.\d+: footprint .* MiB, limit none\n  raw: emma; .*\n  mem: emma; .*\n"
                                      r"  obj: emma; .*\n  threads: (one heap for all|a heap each).*\n  heap: sound\n$")

    def test_doctor_in_development_mode(self) -> None:
        done = self.python("-X", "dev", "-m", "emma", "doctor")
        self.assertIn("obj: displaced", done.stdout)
        self.assertIn("Python's development mode", done.stdout)

    def test_sizes(self) -> None:
        code = """
print([emma.parse_size(size) for size in (0, "7", "1k", " 2 MB ", "3GiB")])
print([emma.format_size(size) for size in (None, 0, 1023, 1024, 1536, 5 << 30, 1 << 62)])
"""
        self.assert_prints(self.installed(code), f"{[0, 7, 1024, 2 << 20, 3 << 30]}\n"
                           "['none', '0 bytes', '1023 bytes', '1.0 KiB', '1.5 KiB', '5.0 GiB', '4.0 EiB']\n")


if __name__ == "__main__":
    unittest.main()
