"""Reports: at the end of a program and while it runs, by type, and where they cannot be written."""

import json
import os
import stat
import unittest
from typing import Any

from support import EmmaTest

KINDS = {".html": b"<!DOCTYPE html>\n", ".json": b"{\n", ".svg": b"<svg "}
GROW = ("class Thing:\n    def __init__(self, n):\n        self.n = n\n"
        "keep = [Thing(i) for i in range(20000)]\nbig = [bytearray(100_000) for _ in range(30)]\n")
HOSTILE = "evil = [type(\"</script><img src=x onerror='1'>\\n&\", (), {})() for _ in range(100)]\n"


def page_data(text: bytes) -> Any:
    """The JSON in a page."""
    start = text.index(b'<script type="application/json" id="emma-report-data">')
    return json.loads(text[text.index(b">", start) + 1:text.index(b"</script>", start)])


class AtTheEnd(EmmaTest):
    def test_kinds(self) -> None:
        for kind, head in KINDS.items():
            path = self.folder / f"r{kind}"
            for _ in range(2):
                self.assert_ok(self.code(GROW, "--report", path))
                self.assertTrue(path.read_bytes().startswith(head), path.read_bytes()[:100])
        self.assertEqual(sorted(os.listdir(self.folder)), ["r.html", "r.json", "r.svg"])

    def test_heap_as_python_left_it(self) -> None:
        report = self.report(GROW)
        self.assertGreater(report["live_bytes"], 3_000_000)
        chunks = report["chunks"]
        rows = [dict(zip(chunks["columns"], row)) for row in chunks["rows"]]
        self.assertEqual(sum(row["repeat"] for row in rows if chunks["kinds"][row["kind"]] == "run"), report["large_blocks"])
        self.assertGreaterEqual(report["large_blocks"], 30)
        self.assertLessEqual(sum(row["resident"] * row["repeat"] for row in rows) * chunks["unit_bytes"] + report["metadata_bytes"],
                             report["footprint_bytes"])

    def test_series(self) -> None:
        series = self.report(GROW + "import time\nfor _ in range(20):\n    time.sleep(0.01)\n    junk = [str(i) for i in range(10_000)]\ndel big, junk\n", "--limit", "200M")["series"]
        self.assertGreater(len(series["seconds"]), 10)
        self.assertEqual(series["seconds"], sorted(series["seconds"]))
        self.assertEqual(series["seconds"][0], 0)
        self.assertGreater(max(series["live_bytes"]), series["live_bytes"][-1] + 2_000_000)
        self.assertEqual(set(series["limit_bytes"]), {200 << 20})

    def test_types(self) -> None:
        types = {row["name"]: row for row in self.report(GROW)["types"]}
        self.assertEqual((types["__main__.Thing"]["count"], types["__main__.Thing"]["count_before"]), (20000, 0))
        self.assertGreater(types["__main__.Thing"]["bytes"], 20000 * 40)
        self.assertEqual(types["bytearray"]["count"] - types["bytearray"]["count_before"], 30)
        self.assertGreater(types["bytearray"]["bytes"], 3_000_000)
        self.assertGreater(types["str"]["count_before"], 100)

    def test_types_leave_the_program_alone(self) -> None:
        code = ("import atexit, gc, sys\nprint(sorted({'time', 'emma'} & set(sys.modules)), gc.isenabled(), gc.garbage, sys.exc_info())\n"
                "print(atexit._ncallbacks())\natexit.register(print, 'last')")
        plain, done = self.python("-c", code), self.code(code, "--report", "r.json")
        self.assert_ok(done)
        expected, told = plain.stdout.splitlines(), done.stdout.splitlines()
        self.assertEqual((told[0], told[2]), (expected[0], expected[2]))
        self.assertEqual(int(told[1]), int(expected[1]) + 1)

    def test_peak_is_the_program_s(self) -> None:
        code = "import emma\nx = [str(i) for i in range(200_000)]\nprint(emma.stats().peak_footprint)"
        done = self.code(code, "--report", "r.json")
        self.assert_ok(done)
        report = json.loads((self.folder / "r.json").read_text())
        self.assertGreater(sum(row["bytes"] for row in report["types"]), 10_000_000)
        self.assertLess(report["peak_footprint_bytes"], int(done.stdout) * 1.05)
        self.assertLess(max(report["series"]["footprint_bytes"]), int(done.stdout) * 1.05)

    def test_peak_now(self) -> None:
        code = "x = [str(i) for i in range(200_000)]\nemma.report('r.json')\nprint(emma.stats().peak_footprint)"
        done = self.installed(code)
        self.assert_ok(done)
        report = json.loads((self.folder / "r.json").read_text())
        self.assertLess(report["live_bytes"], report["footprint_bytes"])
        self.assertLess(report["peak_footprint_bytes"], report["live_bytes"] * 1.3)
        self.assertLess(int(done.stdout), report["live_bytes"] * 1.3)

    def test_near_the_limit_there_are_no_types(self) -> None:
        code = "x = [str(i) for i in range(200_000)]"
        roomy = self.report(code)
        report = self.report(code, "--limit", str(roomy["peak_footprint_bytes"] + (5 << 20)))
        self.assertEqual((report["types"], report["refused_count"]), ([], 0))

    def test_hostile_type(self) -> None:
        for kind in KINDS:
            self.assert_ok(self.code(HOSTILE, "--report", f"r{kind}"))
            text = (self.folder / f"r{kind}").read_bytes()
            self.assertNotIn(b"<img", text)
        names = [row["name"] for row in page_data((self.folder / "r.html").read_bytes())["types"]]
        self.assertIn("__main__.</script><img src=x onerror='1'> &", names)

    def test_types_that_misbehave(self) -> None:
        code = ("class Meta(type):\n    __module__ = property(lambda self: 1 / 0)\n"
                "class Bad(metaclass=Meta):\n    def __sizeof__(self):\n        raise KeyError\n"
                "keep = [Bad() for _ in range(10)]\n")
        self.assertGreater(len(self.report(code)["types"]), 20)

    def test_types_without_hashes(self) -> None:
        code = ("class Meta(type):\n    def __eq__(self, other):\n        return self is other\n"
                "class Thing(metaclass=Meta):\n    pass\nkeep = [Thing() for _ in range(10)]\n")
        types = {row["name"]: row["count"] for row in self.report(code)["types"]}
        self.assertEqual(types["__main__.Thing"], 10)

    def test_null_characters(self) -> None:
        code = ("import sys\nsys.argv[0] = 'a\\0b'\nclass Thing:\n    pass\nThing.__qualname__ = 'c\\0d'\n"
                "keep = [Thing() for _ in range(3000)]\n")
        report = self.report(code + "import emma\nemma.report('now.json')\n")
        now = json.loads((self.folder / "now.json").read_text())
        for each in (report, now):
            self.assertIn(r"__main__.c\0d", [row["name"] for row in each["types"]])
        self.assertEqual(now["program"], r"a\0b")

    def test_arguments_that_are_none(self) -> None:
        for made in ("[]", "None", "[5]", "5"):
            self.assertGreater(len(self.report(f"import sys\nsys.argv = {made}\n")["types"]), 20, made)

    def test_modules_are_asked_for_their_names_only(self) -> None:
        """Where one of C shows the collector what it keeps for reuse, to ask it frees that twice."""
        code = ("import asyncio, gc, types\nmodule = types.ModuleType('m')\nmodule.big = bytearray(5_000_000)\n"
                "async def main():\n    for _ in range(3):\n        await asyncio.sleep(0.001)\n"
                "asyncio.run(main())\nask = gc.get_referents\n"
                "def spy(*objects):\n    if types.ModuleType in map(type, objects):\n        print('asked')\n"
                "    return ask(*objects)\ngc.get_referents = spy\n")
        self.assert_prints(self.code(code, "--report", "r.json"), "")
        report = json.loads((self.folder / "r.json").read_text())
        sizes = {row["name"]: row["bytes"] for row in report["types"]}
        self.assertGreater(sizes["bytearray"], 5_000_000)

    def test_child_of_a_fork_is_not_asked(self) -> None:
        code = ("import os, sys\nclass Spy:\n    def __sizeof__(self):\n        print(me == os.getpid(), flush=True)\n        return 8\n"
                "me, spy = os.getpid(), Spy()\nif os.fork() == 0:\n    sys.exit()\nos.wait()\n")
        self.assert_prints(self.code(code, "--report", "r.json"), "True\n")

    def test_exit_status_where_it_cannot_be_written(self) -> None:
        code = "import os, sys\nos.rename('folder', 'elsewhere')\nsys.exit({})"
        for status, expected in ((0, 1), (7, 7)):
            os.mkdir(self.folder / "folder")
            done = self.code(code.format(status), "--report", "folder/r.html")
            self.assertEqual(done.returncode, expected, done.stderr)
            self.assertIn("no report in", done.stderr)
            self.assertEqual(os.listdir(self.folder / "elsewhere"), [])
            os.rmdir(self.folder / "elsewhere")

    def test_output_is_there_where_the_report_is_not(self) -> None:
        done = self.code("import os\nos.rename('folder', 'elsewhere')\nprint('said')", "--report", "folder/r.html")
        self.assertEqual((done.returncode, done.stdout), (1, "said\n"))

    def setUp(self) -> None:
        super().setUp()
        if "output" in self._testMethodName:
            os.mkdir(self.folder / "folder")


class Now(EmmaTest):
    def test_kinds(self) -> None:
        self.assert_ok(self.installed("for kind in ('html', 'json', 'svg'):\n    emma.report('now.' + kind)\n"))
        for kind, head in KINDS.items():
            self.assertTrue((self.folder / f"now{kind}").read_bytes().startswith(head))

    def test_it_is_of_now(self) -> None:
        self.assert_ok(self.installed("from pathlib import Path\nemma.report('a.json')\n" + GROW + "emma.report(Path('b.json'))\n"
                                      "del keep, big\nemma.report(b'c.json')"))
        a, b, c = (json.loads((self.folder / f"{name}.json").read_text()) for name in "abc")
        self.assertGreater(b["live_bytes"], a["live_bytes"] + 3_000_000)
        self.assertLess(c["live_bytes"], b["live_bytes"] - 3_000_000)
        self.assertFalse(b["types_since_start"])
        self.assertEqual([row["count"] for row in b["types"] if row["name"] == "__main__.Thing"], [20000])

    def test_under_run(self) -> None:
        self.assert_ok(self.code("import emma\nemma.report('now.json')", "--report", "end.json"))
        now, end = (json.loads((self.folder / f"{name}.json").read_text()) for name in ("now", "end"))
        self.assertEqual(now["process"], end["process"])
        self.assertTrue(now["types_since_start"])
        self.assertLess(len(now["series"]["seconds"]), len(end["series"]["seconds"]))

    def test_refused(self) -> None:
        precious = self.script("precious", "precious.json")
        code = ("for path, kind in (('now.txt', ValueError), ('now', ValueError), ('a\\0b.html', ValueError),\n"
                "        ('missing/now.html', FileNotFoundError), ('.', IsADirectoryError), ('precious.json', FileExistsError)):\n"
                "    try:\n        emma.report(path)\n    except kind as error:\n        print(error)\n    else:\n        print('written', path)\n")
        done = self.installed(code)
        self.assert_ok(done)
        self.assertNotIn("written", done.stdout)
        self.assertIn("now.txt: its name must end in .html, .json or .svg", done.stdout)
        self.assertIn("'missing/now.html'", done.stdout)
        self.assertEqual(precious.read_text(), "precious")
        self.assertEqual(os.listdir(self.folder), ["precious.json"])

    def test_full_disk(self) -> None:
        code = ("import resource, signal\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
                "try:\n    emma.report('now.html')\nexcept OSError as error:\n    print(error.errno)\n")
        done = self.installed(code)
        self.assert_prints(done, "27\n")
        self.assertEqual(os.listdir(self.folder), [])

    def test_not_served(self) -> None:
        done = self.python("-c", "import emma\nemma.report('now.html')")
        self.assertEqual(done.returncode, 1)
        self.assertIn("RuntimeError: emma does not serve this process", done.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_types_that_raise(self) -> None:
        """Nothing that they raise comes out but what a user asked for by a key."""
        code = ("class Meta(type):\n    __module__ = property(lambda self: exec('raise kind'))\n"
                "class Bad(metaclass=Meta):\n    def __sizeof__(self):\n        raise kind\n"
                "keep, kind = Bad(), SystemExit\nemma.report('now.json')\nprint('written')\n"
                "kind = KeyboardInterrupt\ntry:\n    emma.report('now.json')\n"
                "except KeyboardInterrupt:\n    print('interrupted')\nkind = KeyError\n")
        self.assert_prints(self.installed(code), "written\ninterrupted\n")

    def test_reader_is_a_thread_of_the_program(self) -> None:
        path = self.folder / "pipe.html"
        code = (f"import emma, os, signal, threading\nsignal.alarm(30)\npath = {str(path)!r}\nos.mkfifo(path)\nread = []\n"
                "def reader():\n    with open(path, 'rb') as pipe:\n        read.append(pipe.read())\n"
                "thread = threading.Thread(target=reader)\nthread.start()\nkeep = [bytearray(i % 3000) for i in range(30000)]\n"
                "while True:\n    try:\n        emma.report(path)\n        break\n    except OSError as error:\n"
                "        assert error.errno == 6, error\n"  # it has not come to open it
                "thread.join()\nprint(len(read[0]) > 100_000, read[0].startswith(b'<!DOCTYPE html>'), read[0].rstrip().endswith(b'</html>'))")
        self.assert_prints(self.code(code), "True True True\n")

    def test_mode(self) -> None:
        self.assert_ok(self.installed("import os\nos.umask(0o027)\nemma.report('now.html')"))
        self.assertEqual(stat.S_IMODE(os.stat(self.folder / "now.html").st_mode), 0o640)


if __name__ == "__main__":
    unittest.main()
