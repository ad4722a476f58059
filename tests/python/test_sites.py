"""Allocation sites: which lines of a program allocate, in which thread; what grew from one report to another; flame graphs."""

import json
import math
import os
import tempfile
import unittest
from typing import Any

from support import Done, EmmaTest, environment

Report = dict[str, Any]
Rows = dict[str, dict[str, int]]

LEAK = """import sys
keep = []
def leak(i):
    keep.append("x" * 1000 + str(i))
def churn(i):
    return bytes(2000), [i, i]
def work(count):
    for i in range(count):
        leak(i)
        churn(i)
if __name__ == "__main__":
    work(int(sys.argv[1]))
"""
LEAK_LINE, CHURN_LINE = 4, 6
STRING_BYTES = 1000 + 54 # and one of the results of str()


class SitesTest(EmmaTest):
    def run_sampled(self, code: str, *arguments: object, rate: str | None = "16K", name: str = "r.json") -> Report:
        script = self.script(code)
        option = f"--sample={rate}" if rate else "--sample"
        done = self.emma(option, "--report", self.folder / name, script, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return self.read(name)

    def read(self, name: str) -> Report:
        report: Report = json.loads((self.folder / name).read_text())
        return report

    def rows(self, report: Report) -> Rows:
        """Text of a stack, outermost first, to its figures."""
        sites = report["sites"]
        totals: Rows = {}
        for row in (dict(zip(sites["columns"], row)) for row in sites["rows"]):
            stack = " ".join("{}@{}:{}".format(frame[0].split(".")[-1], os.path.basename(frame[1]), frame[2])
                             for frame in (sites["frames"][number] for number in row["stack"]))
            total = totals.setdefault(stack, dict.fromkeys(sites["columns"][:-1], 0))
            for figure in total:
                total[figure] += row[figure]
        return totals

    def at(self, rows: Rows, text: str, figure: str) -> int:
        return sum(row[figure] for stack, row in rows.items() if text in stack)

    def assert_estimate(self, found: int, expected: int, rate: int) -> None:
        self.assertLess(abs(found - expected), 6 * math.sqrt(expected * rate) + expected * 0.02, (found, expected))


class Sampled(SitesTest):
    def test_off(self) -> None:
        self.assertIsNone(self.report("x = [0] * 1000")["sites"])

    def test_leak_is_at_the_top(self) -> None:
        for rate, size in (("4K", 4 << 10), ("64K", 64 << 10)):
            report = self.run_sampled(LEAK, 20000, rate=rate)
            self.assertEqual((report["sites"]["rate_bytes"], report["sites"]["missed"]), (size, 0))
            rows = self.rows(report)
            top = max(rows, key=lambda stack: rows[stack]["live_bytes"])
            self.assertTrue(top.endswith(f"<module>@script.py:12 work@script.py:9 leak@script.py:{LEAK_LINE}"), top)
            self.assert_estimate(self.at(rows, f"leak@script.py:{LEAK_LINE}", "live_bytes"), 20000 * STRING_BYTES + 170_000, size)
            churned = self.at(rows, f"churn@script.py:{CHURN_LINE}", "allocated_bytes")
            self.assert_estimate(churned, 20000 * (2033 + 72 + 32), size)
            self.assertLess(self.at(rows, "churn@", "live_bytes"), 200_000)

    def test_default_rate(self) -> None:
        report = self.run_sampled(LEAK, 40000, rate=None)
        self.assertEqual(report["sites"]["rate_bytes"], 512 << 10)
        self.assert_estimate(self.at(self.rows(report), "leak@", "live_bytes"), 40000 * STRING_BYTES, 512 << 10)

    def test_every_thread(self) -> None:
        code = """import threading
keep = []
def fill():
    for i in range(20000):
        keep.append("t" * 500 + str(i))
threads = [threading.Thread(target=fill) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
        rows = self.rows(self.run_sampled(code))
        self.assert_estimate(self.at(rows, "fill@script.py:5", "live_bytes"), 80000 * 555 + 700_000, 16 << 10)
        self.assertTrue(all("run@threading.py" in stack for stack in rows if "fill@script.py:5" in stack), list(rows))

    def test_generators_classes_comprehensions(self) -> None:
        code = """def numbers(n):
    for i in range(n):
        yield "g" * 300 + str(i)
class Thing:
    def __init__(self, i):
        self.text = "c" * 300 + str(i)
async def later(i):
    return "a" * 300 + str(i)
def run(i):
    try:
        later(i).send(None)
    except StopIteration as end:
        return end.value
kept = [list(numbers(9000)), [Thing(i) for i in range(9000)], list(map(run, range(9000)))]
"""
        rows = self.rows(self.run_sampled(code))
        for place in ("numbers@script.py:3", "__init__@script.py:6", "later@script.py:8"):
            self.assert_estimate(self.at(rows, place, "live_bytes"), 9000 * 355, 16 << 10)

    def test_every_block(self) -> None:
        """With a collector that runs all the time, code that comes and goes, and a fork."""
        code = """import gc, os, sys, weakref
gc.set_threshold(3, 2, 2)
class Node:
    def __init__(self, other): self.other, self.me = other, self
    def __del__(self): str(self)
for i in range(300):
    Node(Node(None))
    exec(compile(f"def f(x):\\n    return [x] * {i}\\nf({i})", f"<made {i}>", "exec"), {})
    try:
        raise ValueError(str(i))
    except ValueError as error:
        kept = weakref.ref(Node(error))
def deep(n):
    return [n] if n == 0 else [deep(n - 1)]
deep(200)
child = os.fork()
if child == 0:
    x = [str(i) for i in range(1000)]
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(gc.get_objects()) > 100)
"""
        plain = self.python(self.script(code))
        done = self.emma("--sample=1", "--report", self.folder / "r.json", self.script(code))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, plain.stdout, plain.stderr))
        report = self.read("r.json")
        self.assertGreater(len([stack for stack in self.rows(report) if "f@<made" in stack]), 100)
        live = sum(row["live_bytes"] for row in self.rows(report).values())
        self.assertLessEqual(live, report["live_bytes"])
        self.assertGreater(live, report["live_bytes"] / 2)

    def test_report_while_it_runs(self) -> None:
        code = LEAK.replace("work(int(sys.argv[1]))", "work(20000)\n    import emma\n    emma.report('now.json')\n    keep.clear()")
        self.run_sampled(code)
        now = self.read("now.json")
        self.assertGreater(self.at(self.rows(now), f"leak@script.py:{LEAK_LINE}", "live_bytes"), 10_000_000)
        self.assertLess(self.at(self.rows(self.read("r.json")), "leak@", "live_bytes"), 1_000_000)

    def test_options(self) -> None:
        for options, why in ((["--sample"], "it needs --report"), (["--sample=x", "--report", "r.json"], "'x' is not a size"),
                             (["--sample=0", "--report", "r.json"], "0 bytes")):
            done = self.emma(*options, "-c", "")
            self.assertEqual(done.returncode, 2)
            self.assertIn(why, done.stderr)


class Diff(SitesTest):
    def two(self) -> None:
        self.run_sampled(LEAK, 3000, name="a.json")
        self.run_sampled(LEAK, 13000, name="b.json")

    def diff(self, *arguments: str) -> Done:
        return self.python("-m", "emma", "diff", *arguments)

    def test_what_grew(self) -> None:
        self.two()
        told = json.loads(self.diff("--json", "a.json", "b.json").stdout)
        self.assertEqual(told["notes"], [])
        site = told["sites"][0]
        self.assertEqual(site["stack"][-1], ["leak", str(self.folder / "script.py"), LEAK_LINE])
        self.assert_estimate(site["growth_bytes"], 10000 * STRING_BYTES, 16 << 10)
        self.assertEqual(told["types"][0]["name"], "str")
        self.assertAlmostEqual(told["types"][0]["count"] - told["types"][0]["count_before"], 10000, delta=20)
        self.assertIn(told["classes"][0]["block_bytes"], range(1050, 1300))
        self.assertEqual(told["figures"]["live_bytes"]["growth"], told["figures"]["live_bytes"]["now"] - told["figures"]["live_bytes"]["before"])
        for table in ("sites", "types", "classes"):
            growth = [row["growth_bytes"] for row in told[table]]
            self.assertEqual(growth, sorted(growth, reverse=True))
        back = json.loads(self.diff("--json", "b.json", "a.json").stdout)
        self.assertEqual(back["sites"][-1]["growth_bytes"], -site["growth_bytes"])

    def test_text(self) -> None:
        self.two()
        done = self.diff("a.json", "b.json")
        self.assert_ok(done)
        self.assertRegex(done.stdout, r"\+([789]|1[0123])\.\d MiB +\+\d+,\d+  leak \(.*script\.py:4\) <- work \(.*:9\) <- <module>")
        self.assertRegex(done.stdout, r"\+1[23]\.\d MiB +live_bytes")
        self.assertNotIn("\033", done.stdout)
        back = self.diff("b.json", "a.json")
        self.assertRegex(back.stdout, r"-1[23]\.\d MiB +live_bytes")

    def test_same(self) -> None:
        self.run_sampled(LEAK, 100, name="a.json")
        done = self.diff("a.json", "a.json")
        self.assert_ok(done)
        self.assertIn("by allocation site, estimated: no difference", done.stdout)

    def test_colour_on_a_terminal_only(self) -> None:
        self.two()
        code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'emma', 'diff', 'a.json', 'b.json']))"
        done = self.python("-c", code, env=environment(TERM="xterm"))
        self.assertIn("\033[31m", done.stdout)

    def test_without_sites(self) -> None:
        self.run_sampled(LEAK, 100, name="a.json")
        self.assert_ok(self.code("pass", "--report", "b.json"))
        done = self.diff("a.json", "b.json")
        self.assert_ok(done)
        self.assertIn("note: no sites in b.json: made without --sample", done.stdout)
        self.assertIn("note: program differs", done.stdout)
        self.assertIsNone(json.loads(self.diff("--json", "a.json", "b.json").stdout)["sites"])

    def test_versions_and_missing_keys(self) -> None:
        self.run_sampled(LEAK, 100, name="a.json")
        report = self.read("a.json")
        report["emma"] = "0.0.1"
        del report["classes"], report["metadata_bytes"]
        (self.folder / "b.json").write_text(json.dumps(report))
        done = self.diff("a.json", "b.json")
        self.assert_ok(done)
        for note in ("note: emma differs", "note: no classes in b.json", "note: no metadata_bytes in b.json"):
            self.assertIn(note, done.stdout)

    def test_no_report(self) -> None:
        (self.folder / "text").write_text("no JSON")
        (self.folder / "other.json").write_text('{"a": 1}')
        self.run_sampled(LEAK, 100, name="a.json")
        broken = self.read("a.json")
        broken["sites"]["rows"][0][-1] = [10 ** 6]
        (self.folder / "broken.json").write_text(json.dumps(broken))
        for name, why in (("text", "not JSON"), ("other.json", "not a report of emma's"), ("none.json", "No such file"),
                          ("broken.json", "its sites cannot be read")):
            done = self.diff("a.json", name)
            self.assertEqual((done.returncode, done.stdout), (1, ""), name)
            self.assertIn(f"{name}: {why}", done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class Malformed(SitesTest):
    """Reports that others made up: an error that names the file, or what is odd is left out."""

    SITES = {"rate_bytes": 1, "frames": [["f", "x", 1]], "rows": [[1, 1, 1, 1, [0]]],
             "columns": ["live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks", "stack"]}

    def made(self, **changes: Any) -> str:
        report: Report = {"emma": "9", "runtime": None, "program": "p", "live_bytes": 1, "classes": [], "types": []}
        return json.dumps({**report, "sites": self.SITES, **changes})

    def both(self, text: str) -> list[Done]:
        (self.folder / "ok.json").write_text(self.made())
        (self.folder / "bad.json").write_text(text)
        return [self.python("-m", "emma", *arguments) for arguments in
                (("diff", "ok.json", "bad.json"), ("diff", "--json", "bad.json", "ok.json"), ("flame", "bad.json", "out.json"))]

    def test_refused(self) -> None:
        deep = "[" * 200_000
        one = self.made(live_bytes="?")
        for text, why in ((deep, "not"), (one.replace('"?"', '{"a":' * 200_000), "not"),
                          (one.replace('"?"', "1e999"), "a number is out of range: 1e999"),
                          (one.replace('"?"', "NaN"), "a number is out of range: NaN"),
                          (one.replace('"?"', "-Infinity"), "a number is out of range: -Infinity"),
                          (one.replace('"?"', "1" + "0" * 400), "a number is out of range: 100"),
                          (one.replace('"?"', "1" + "0" * 5000), "a number is out of range: 100"),
                          (one.replace('"?"', str(1 << 64)), "a number is out of range: 184"),
                          (self.made(program=[]), "not a report")):
            for done in self.both(text):
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(f"bad.json: {why}", done.stderr)
                self.assertLess(len(done.stderr), 300)

    def test_sites(self) -> None:
        for changes in ({"frames": [["f", "x", -1]]}, {"frames": [["f", "x", 1.5]]}, {"frames": [["f"]]},
                        {"rows": [[1, 1, 1, 1, [1]]]}, {"rows": [[1, 1, 1, 1, [-1]]]}, {"rows": [[-1, 1, 1, 1, [0]]]},
                        {"rows": [["1", 1, 1, 1, [0]]]}, {"rows": [[1]]}, {"rows": 5}, {"columns": None}):
            for done in self.both(self.made(sites={**self.SITES, **changes})):
                self.assertEqual((done.returncode, done.stdout), (1, ""), changes)
                self.assertIn("bad.json: its sites cannot be read", done.stderr)
                self.assertNotIn("Traceback", done.stderr)

    def test_left_out(self) -> None:
        for changes in ({"live_bytes": "1"}, {"live_bytes": True}, {"classes": [{"block_bytes": "x", "live_blocks": 1 << 60}]},
                        {"classes": [{"block_bytes": -1, "live_blocks": 1}]}, {"classes": [5]}, {"types": "x"},
                        {"types": [{"name": "n", "bytes": "1", "count": 1}]}, {"types": [{"name": 5, "bytes": 1, "count": 1}]}):
            for done in self.both(self.made(**changes)):
                self.assert_ok(done)

    def test_half_a_letter(self) -> None:
        for name in ("out.json", "out.txt"):
            (self.folder / "r.json").write_text(self.made(sites={**self.SITES, "frames": [["\udcff", "x", 1]]}))
            self.assert_ok(self.python("-m", "emma", "flame", "r.json", name))


class Flame(SitesTest):
    def make(self, end: str) -> tuple[Report, str]:
        report = self.run_sampled(LEAK, 5000)
        self.assert_ok(self.python("-m", "emma", "flame", "r.json", f"out{end}"))
        return report, (self.folder / f"out{end}").read_text()

    def test_collapsed(self) -> None:
        for end in (".collapsed", ".folded", ".txt"):
            report, text = self.make(end)
            lines = [line.rsplit(" ", 1) for line in text.splitlines()]
            self.assertEqual(len({stack for stack, _ in lines}), len(lines))
            totals = {stack: int(count) for stack, count in lines}
            self.assertEqual(sum(totals.values()), sum(row["live_bytes"] for row in self.rows(report).values()))
            top = max(totals, key=lambda stack: totals[stack])
            script = self.folder / "script.py"
            self.assertTrue(top.endswith(f"<module> ({script}:12);work ({script}:9);leak ({script}:4)"), top)

    def test_speedscope(self) -> None:
        """By the specification of the format: file-format-spec.ts of speedscope."""
        report, text = self.make(".speedscope.json")
        file = json.loads(text)
        self.assertEqual(file["$schema"], "https://www.speedscope.app/file-format-schema.json")
        self.assertLessEqual(file.keys(), {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"})
        for frame in file["shared"]["frames"]:
            self.assertLessEqual(frame.keys(), {"name", "file", "line", "col"})
            self.assertIsInstance(frame["name"], str)
            self.assertIsInstance(frame.get("line", 1), int)
        self.assertEqual([profile["name"] for profile in file["profiles"]], ["live bytes", "allocated bytes"])
        for profile, figure in zip(file["profiles"], ("live_bytes", "allocated_bytes")):
            self.assertEqual(profile.keys(), {"type", "name", "unit", "startValue", "endValue", "samples", "weights"})
            self.assertEqual((profile["type"], profile["unit"], profile["startValue"]), ("sampled", "bytes", 0))
            self.assertEqual(len(profile["samples"]), len(profile["weights"]))
            self.assertEqual(sum(profile["weights"]), profile["endValue"])
            self.assertEqual(profile["endValue"], sum(row[figure] for row in self.rows(report).values()))
            self.assertTrue(all(0 <= number < len(file["shared"]["frames"]) for stack in profile["samples"] for number in stack))
        live = file["profiles"][0]
        top = live["samples"][live["weights"].index(max(live["weights"]))]
        self.assertEqual([file["shared"]["frames"][number]["name"] for number in top][-2:], ["work", "leak"])

    def test_refused(self) -> None:
        self.assert_ok(self.code("pass", "--report", "plain.json"))
        before = sorted(os.listdir(self.folder))
        for arguments, why in ((["plain.json", "out.folded"], "has no sites"), (["plain.json", "out.svg"], "ends in none of"),
                               (["none.json", "out.json"], "No such file")):
            done = self.python("-m", "emma", "flame", *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(why, done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        self.run_sampled(LEAK, 100)
        done = self.python("-m", "emma", "flame", "r.json", "no/folder.json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no/folder.json: No such file", done.stderr)

    def test_over_its_own_report(self) -> None:
        self.run_sampled(LEAK, 100)
        before = (self.folder / "r.json").read_text()
        (self.folder / "link.json").symlink_to("r.json")
        os.link(self.folder / "r.json", self.folder / "same.json")
        for name in ("r.json", "link.json", "same.json"):
            done = self.python("-m", "emma", "flame", "r.json", name)
            self.assertEqual((done.returncode, done.stdout), (1, ""), name)
            self.assertIn(f"{name}: it is the report that is read", done.stderr)
        self.assertEqual((self.folder / "r.json").read_text(), before)

    def test_by_a_link_to_another_file_system(self) -> None:
        if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat(self.folder).st_dev:
            self.skipTest("no other file system")
        self.run_sampled(LEAK, 100)
        with tempfile.TemporaryDirectory(prefix="emma-test-", dir="/dev/shm") as elsewhere:
            (self.folder / "out.json").symlink_to(os.path.join(elsewhere, "there.json"))
            for _ in range(2):
                self.assert_ok(self.python("-m", "emma", "flame", "r.json", "out.json"))
                self.assertEqual(os.listdir(elsewhere), ["there.json"])
        self.assertTrue((self.folder / "out.json").is_symlink())


if __name__ == "__main__":
    unittest.main()
