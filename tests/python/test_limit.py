"""Limits: MemoryError that can be caught, tracebacks all the same, figures and reports."""

import json
import subprocess
import sys
import unittest

from support import LIBRARY, EmmaTest, environment

GROW = "kept = []\nwhile True:\n    kept.append(bytearray(100_000))\n"
SMALL = "kept = []\nwhile True:\n    kept.append([len(kept)])\n"


class Limit(EmmaTest):
    def test_uncaught(self) -> None:
        done = self.emma("--limit", "64M", self.script(f"def grow():\n{indent(GROW)}\ngrow()\n"))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"emma: python: the limit of 64\.0 MiB refused a request for 97\.\d KiB \(footprint "
                                      r"\d+\.\d MiB, and 4\.0 MiB held back for this\): MemoryError\n")
        self.assertIn("in grow", done.stderr)
        self.assertTrue(done.stderr.endswith("MemoryError\n"))

    def test_uncaught_at_small_limits(self) -> None:
        for limit in ("12M", "16M", "32M"):
            done = self.emma("--limit", limit, self.script(f"def grow():\n{indent(SMALL)}\ngrow()\n"))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr.count("Traceback"), 1)
            self.assertTrue(done.stderr.endswith("MemoryError\n"), done.stderr)

    def test_too_small_to_start(self) -> None:
        for options in ("limit=64K", "limit=1M", "reserve=1M"):
            done = self.python("-c", "pass", env=environment(EMMA_OPTIONS=options, LD_PRELOAD=LIBRARY))
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"^emma: python: the (limit of|system, or the address space of) .*: too little for Python to start")

    def test_caught(self) -> None:
        for grow in (GROW, SMALL):
            code = f"try:\n{indent(grow)}\nexcept MemoryError:\n    n = len(kept)\n    del kept\n    print('caught', n > 99)\n"
            done = self.code(code, "--limit", "64M")
            self.assertEqual((done.returncode, done.stdout), (0, "caught True\n"), done.stderr)

    def test_caught_again_and_again(self) -> None:
        code = f"""
import emma
for turn in range(20):
    try:
{indent(indent(GROW))}
    except MemoryError:
        del kept
print(emma.stats().refused_count >= 20, emma.stats().peak_footprint <= 64 << 20, emma.stats().spare > 0)
"""
        done = self.code(code, "--limit", "64M")
        self.assertEqual((done.returncode, done.stdout), (0, "True True True\n"), done.stderr)
        self.assertEqual(done.stderr.count("emma:"), 1)

    def test_one_large_request(self) -> None:
        code = "try:\n    bytearray(1 << 30)\nexcept MemoryError as error:\n    print('caught')\n"
        done = self.code(code, "--limit", "64M")
        self.assertEqual((done.returncode, done.stdout), (0, "caught\n"))

    def test_in_threads(self) -> None:
        code = f"""
import threading
caught = []
started = threading.Barrier(8)
def grow():
    started.wait()
    try:
{indent(indent(GROW))}
    except MemoryError:
        del kept
        caught.append(1)
threads = [threading.Thread(target=grow) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(caught))
"""
        done = self.code(code, "--limit", "64M")
        self.assertEqual((done.returncode, done.stdout), (0, "8\n"), done.stderr)

    def test_nothing_refused_below(self) -> None:
        self.assert_prints(self.code("x = [[i] for i in range(100_000)]; print(len(x))", "--limit", "64M"), "100000\n")

    def test_all_counts_what_c_takes(self) -> None:
        code = "import ctypes\nmalloc = ctypes.CDLL(None).malloc\nmalloc.restype = ctypes.c_void_p\nprint(bool(malloc(99 << 20)))\n"
        self.assert_prints(self.code(code, "--limit", "64M"), "True\n")
        done = self.code(code, "--limit", "64M", "--all")
        self.assertEqual((done.returncode, done.stdout), (0, "False\n"), done.stderr)

    def test_all_does_not_limit_other_programs(self) -> None:
        code = ("import subprocess\nprint(subprocess.run(['lua5.4', '-e', \"print(#('x'):rep(100000000))\"], "
                "capture_output=True, text=True, check=True).stdout)")
        done = self.code(code, "--all", "--limit", "64M")
        self.assertEqual(done.stdout.strip(), "100000000", done.stderr)

    def test_small_limit_of_some_domains(self) -> None:
        least = [int(self.code("pass", "--domains", domains, "--limit", "64K").stderr.split()[-1].rstrip("K"))
                 for domains in ("obj", "raw,mem,obj")]
        self.assertLess(*least)
        self.assert_ok(self.code("pass", "--domains", "obj", "--limit", f"{least[0]}K"))

    def test_no_reserve_for_what_is_larger_than_all(self) -> None:
        code = ("import emma\nfor i in range(3):\n    try:\n        bytearray(1 << 40)\n    except MemoryError:\n"
                "        print(emma.stats().spare > 0)")
        done = self.code(code, "--limit", "64M")
        self.assertEqual((done.returncode, done.stdout), (0, "True\n" * 3), done.stderr)

    def test_soft_limit(self) -> None:
        done = self.code("x = bytearray(40 << 20)", "--soft-limit", "20M", "--limit", "90M")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"^emma: python: warning: over the soft limit of 20\.0 MiB: .*\n$")

    def test_each_child_has_its_own(self) -> None:
        code = """
import subprocess, sys
child = "import emma; print(emma.limit)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout, end="")
"""
        self.assert_prints(self.code(code, "--limit", "64M"), f"{64 << 20}\n")

    def test_no_children(self) -> None:
        code = """
import os, subprocess, sys
child = "import emma; print(emma.is_installed())"
print(os.environ.get("LD_PRELOAD"), os.environ.get("EMMA_OPTIONS"))
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout, end="")
"""
        self.assert_prints(self.code(code, "--limit", "64M", "--no-children"), "None None\nFalse\n")


class Figures(EmmaTest):
    def test_stats(self) -> None:
        done = self.code("pass", "--stats")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        for line in ("memory of process", "peak footprint", "outside", "domain obj"):
            self.assertIn(line, done.stderr)

    def test_stats_of_the_program_only(self) -> None:
        code = "import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])\nif os.fork() == 0:\n    sys.exit()\nos.wait()\n"
        self.assertEqual(self.code(code, "--stats").stderr.count("memory of process"), 1)

    def test_report(self) -> None:
        report = self.report("x = bytearray(10 << 20)", "--limit", "100M")
        self.assertEqual(report["limit_bytes"], 100 << 20)
        self.assertGreater(report["peak_footprint_bytes"], 10 << 20)
        self.assertGreater(report["outside_bytes"], 0)
        self.assertEqual([domain["serves"] for domain in report["domains"].values()], [True] * 3)
        self.assertGreater(len(report["classes"]), 9)

    def test_report_with_a_strange_name(self) -> None:
        path = self.folder / "a,b%c d.json"
        self.assert_ok(self.code("import os; os.chdir('/')", "--report", path.name))
        self.assertIn("peak_footprint_bytes", path.read_text())

    def test_report_to_a_stream(self) -> None:
        import subprocess
        import sys
        for path in ("-", "/dev/stdout", "out.txt"):
            with open(self.folder / "out.txt", "w") as out:
                command = [sys.executable, "-m", "emma", "run", "--report", path, "-c", "print('OUTPUT')"]
                subprocess.run(command, stdout=out, env=environment(), cwd=self.folder, check=True, timeout=60)
            self.assertRegex((self.folder / "out.txt").read_text(), r'^OUTPUT\n\{\n  "emma":(.|\n)*\}\n$')

    def test_report_never_over_another_file(self) -> None:
        precious = self.script("precious = 1\n", "precious.py")
        done = self.code("pass", "--report", precious)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the file is there and is no report", done.stderr)
        done = self.code("open('later.json', 'w').write('precious')", "--report", "later.json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no report in", done.stderr)
        self.assertEqual((precious.read_text(), (self.folder / "later.json").read_text()), ("precious = 1\n", "precious"))

    def test_report_never_over_what_looks_like_one(self) -> None:
        path = self.folder / "summary.json"
        text = '{\n  "emma": {\n    "seconds": 1\n  }\n}\n'
        path.write_text(text)
        self.assertEqual(self.code("pass", "--report", path).returncode, 1)
        self.python("-c", "pass", env=environment(EMMA_OPTIONS=f"report={path}", LD_PRELOAD=LIBRARY))
        self.assertEqual(path.read_text(), text)

    def test_report_to_a_stream_that_others_go_on_with(self) -> None:
        path = self.folder / "out.txt"
        with path.open("w") as out:
            subprocess.run([sys.executable, "-m", "emma", "run", "--report", "-", "-c", "print('first', flush=True)"], stdout=out,
                           env=environment(), check=True)
            subprocess.run(["echo", "last"], stdout=out, check=True)
        text = path.read_text()
        self.assertTrue(text.startswith("first\n{") and text.endswith("}\nlast\n"), text)
        json.loads(text[len("first\n"):-len("last\n")])

    def test_report_of_the_outer_run_only(self) -> None:
        code = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'emma', 'run', '-c', 'x = bytearray(50_000_000)'], check=True)"
        self.assertLess(self.report(code)["peak_footprint_bytes"], 50_000_000)

    def test_report_again(self) -> None:
        for _ in range(2):
            self.report("pass")

    def test_report_to_a_pipe(self) -> None:
        import os
        os.mkfifo(self.folder / "pipe")
        done = self.code("pass", "--report", "pipe")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no report in", done.stderr)
        self.assertIn("nothing reads from this pipe", done.stderr)
        with open(self.folder / "read.json", "w") as out, subprocess.Popen(["cat", "pipe"], cwd=self.folder, stdout=out) as reader:
            self.assert_ok(self.code("import time; time.sleep(0.5)", "--report", "pipe"))
            reader.wait(timeout=60)
        self.assertIn("peak_footprint_bytes", json.loads((self.folder / "read.json").read_text()))

    def test_report_of_a_killed_program(self) -> None:
        path = self.folder / "report.json"
        self.code("pass", "--report", path)
        self.assertGreater(path.stat().st_size, 0)
        self.code("import os; os._exit(0)", "--report", path)
        self.assertEqual(path.stat().st_size, 0)
        self.assertEqual(self.code("pass", "--report", path).returncode, 0)
        self.assertGreater(path.stat().st_size, 0)

    def test_report_after_an_error(self) -> None:
        path = self.folder / "report.json"
        self.assertEqual(self.code("1 / 0", "--report", path).returncode, 1)
        self.assertIn("peak_footprint_bytes", path.read_text())

    def test_unknown_option_in_the_environment(self) -> None:
        done = self.code("pass", env=environment(EMMA_OPTIONS="colour=red"))
        self.assertEqual(done.stderr, "emma: python: EMMA_OPTIONS: unknown option 'colour'\n")


def indent(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


if __name__ == "__main__":
    unittest.main()
