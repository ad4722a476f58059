"""python -m emma top: what running processes show of themselves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from support import PACKAGE, SECONDS, Done, EmmaTest, How, environment

if TYPE_CHECKING:
    from typing_extensions import Unpack

BUILD = Path(os.environ["EMMA_TEST_BUILD_FOLDER"])
LUA = BUILD / "emma-lua"
MALLOC = BUILD / "libemma-malloc.so"
POOL_SERVER = BUILD / "examples" / "pool_server"
HANDLER = Path(__file__).resolve().parents[2] / "examples" / "lua" / "handler.lua"
TMUX = shutil.which("tmux") or ""

Program = subprocess.Popen[str]
Shown = dict[str, Any]  # what --json prints

# Says that it is ready, and on each line that comes takes 4 MiB more.
GROWS_IN_LUA = """
io.stdout:write("ready\\n") io.stdout:flush()
kept = {}
for line in io.lines() do
    kept[#kept + 1] = ("x"):rep(4 << 20)
    io.stdout:write("more\\n") io.stdout:flush()
end"""
GROWS_IN_PYTHON = """
import sys
print("ready", flush=True)
kept = []
for line in sys.stdin:
    kept.append(bytes(4 << 20))
    print("more", flush=True)
"""


def line_of(program: Program) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


class TopTest(EmmaTest):
    def start(self, *command: object, env: dict[str, str] | None = None, ready: str | None = "ready\n") -> Program:
        """A program that runs until the test ends."""
        program = subprocess.Popen([str(word) for word in command], env=env or environment(), cwd=self.folder, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.stop, program)
        if ready:
            self.assertRegex(line_of(program), ready)
        return program

    def stop(self, program: Program) -> None:
        if program.poll() is None:
            program.kill()
        program.communicate()

    def more(self, program: Program) -> None:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
        self.assertEqual(line_of(program), "more\n")

    def python_program(self, *options: object, code: str = GROWS_IN_PYTHON, ready: str | None = "ready\n") -> Program:
        return self.start(sys.executable, "-m", "emma", "run", "--export", *options, "-c", code, ready=ready)

    def lua_program(self, *options: object) -> Program:
        script = self.script(GROWS_IN_LUA, "grows.lua")
        return self.start(LUA, "--export", *options, script)

    def top(self, *arguments: object, **how: "Unpack[How]") -> Done:
        return self.python("-m", "emma", "top", *arguments, **how)

    def json_of(self, pid: int) -> Shown:
        done = self.top(pid, "--json")
        self.assert_ok(done)
        shown: Shown = json.loads(done.stdout)
        return shown

    def await_json(self, pid: int, fits: Callable[[Shown], bool]) -> Shown:
        """The figures, once they are as they should be."""
        until = time.monotonic() + SECONDS
        while not fits(shown := self.json_of(pid)):
            self.assertLess(time.monotonic(), until, shown)
        return shown

    def assert_grows(self, program: Program, kind: str, name: str) -> Shown:
        """4 MiB more between two looks, of 8 that are taken, as some was free; the second tells of the peak, too."""
        before = self.json_of(program.pid)["instances"]
        self.assertEqual([(i["kind"], i["name"]) for i in before], [(kind, name)])
        self.more(program)
        self.more(program)
        least = before[0]["footprint_bytes"] + (4 << 20)
        after = self.await_json(program.pid, lambda shown: shown["instances"][0]["footprint_bytes"] >= least)
        self.assertGreaterEqual(after["instances"][0]["peak_footprint_bytes"], least)
        self.assertEqual(after["totals"]["footprint_bytes"], after["instances"][0]["footprint_bytes"])
        return after

    def assert_fails(self, done: Done, *words: str) -> None:
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("emma top: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)


class Processes(TopTest):
    def test_python(self) -> None:
        program = self.python_program("--limit", "256M")
        shown = self.assert_grows(program, "python", "python")
        instance = shown["instances"][0]
        self.assertEqual(instance["limit_bytes"], 256 << 20)
        self.assertEqual((shown["process"], shown["unshown_count"]), (program.pid, 0))
        self.assertGreater(instance["live_bytes"], 4 << 20)
        self.assertLess(instance["live_bytes"], instance["footprint_bytes"])
        self.assertGreater(shown["resident_bytes"], instance["footprint_bytes"] / 2)
        out, error = program.communicate(timeout=SECONDS)
        self.assertEqual((program.returncode, out, error), (0, "", ""))

    def test_python_installed_later(self) -> None:
        code = "import emma; emma.install();" + GROWS_IN_PYTHON
        program = self.start(sys.executable, "-c", code, env=environment(EMMA_OPTIONS="export=1,name=later"))
        self.assert_grows(program, "python", "later")

    def test_children_of_forks(self) -> None:
        code = """
import os, sys, time
child = os.fork()
if child == 0:
    kept = bytes(32 << 20)
    time.sleep(600)
print("ready", child, flush=True)
sys.stdin.read()
os.kill(child, 9)
"""
        program = self.python_program(code=code, ready=None)
        word, child = line_of(program).split()
        self.assertEqual(word, "ready")
        shown = self.await_json(int(child), lambda shown: shown["totals"]["footprint_bytes"] >= 32 << 20)
        self.assertEqual(len(shown["instances"]), 1)
        self.assertLess(self.json_of(program.pid)["totals"]["footprint_bytes"], 32 << 20)
        program.communicate(timeout=SECONDS)

    @unittest.skipUnless(LUA.exists(), "no emma-lua in this build")
    def test_lua(self) -> None:
        program = self.lua_program("--limit", "64M")
        shown = self.assert_grows(program, "lua", "grows.lua")
        self.assertEqual(shown["instances"][0]["limit_bytes"], 64 << 20)
        self.assertIsNone(shown["instances"][0]["live_bytes"])
        self.assertIsNone(shown["totals"]["live_bytes"])

    @unittest.skipUnless(MALLOC.exists(), "no libemma-malloc in this build")
    def test_malloc(self) -> None:
        program = self.start(sys.executable, "-c", GROWS_IN_PYTHON,
                             env=environment(LD_PRELOAD=MALLOC, EMMA_OPTIONS="export=1", PYTHONMALLOC="malloc"))
        self.assert_grows(program, "malloc", "malloc")

    @unittest.skipUnless(POOL_SERVER.exists(), "no pool_server in this build")
    def test_pool_of_sandboxes(self) -> None:
        program = self.start(POOL_SERVER, "--export", "--port", 0, "--sandboxes", 60, "--threads", 60, "--limit", "3M",
                             HANDLER, ready="http://")
        self.await_json(program.pid, lambda shown: all(i["limit_bytes"] for i in shown["instances"]))
        shown = self.json_of(program.pid)["instances"]
        self.assertEqual({(i["kind"], i["name"]) for i in shown}, {("sandbox", "sandbox")})
        self.assertEqual(sorted(i["number"] for i in shown), list(range(1, 61)))
        for instance in shown:
            self.assertGreater(instance["limit_bytes"], 3 << 20)
            self.assertGreater(instance["checkpoint_bytes"], 0)
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=SECONDS)
        self.assertEqual(program.returncode, 0)

    def test_two_copies_in_one_process(self) -> None:
        if not MALLOC.exists():
            self.skipTest("no libemma-malloc in this build")
        code = "import emma; emma.install();" + GROWS_IN_PYTHON
        program = self.start(sys.executable, "-c", code, env=environment(LD_PRELOAD=MALLOC, EMMA_OPTIONS="export=1"))
        shown = self.json_of(program.pid)["instances"]
        self.assertEqual(sorted(i["kind"] for i in shown), ["malloc", "python"])

    def test_stopped_process(self) -> None:
        program = self.python_program()
        program.send_signal(signal.SIGSTOP)
        self.await_json(program.pid, lambda shown: shown["age_seconds"] > 0.5)
        program.send_signal(signal.SIGCONT)
        self.await_json(program.pid, lambda shown: shown["age_seconds"] < 0.5)

    def test_nothing_on_the_streams(self) -> None:
        done = self.code("print('x')", "--export")
        self.assert_prints(done, "x\n")

    def test_not_asked(self) -> None:
        program = self.start(sys.executable, "-m", "emma", "run", "-c", GROWS_IN_PYTHON)
        self.assert_fails(self.top(program.pid), "exports nothing", "--export", "EMMA_OPTIONS=export=1")
        self.assertEqual(len(os.listdir(f"/proc/{program.pid}/task")), 1)


class WithoutTheLibrary(TopTest):
    def test_no_library(self) -> None:
        program = self.python_program()
        bare = self.folder / "bare"
        shutil.copytree(PACKAGE / "emma", bare / "emma", ignore=shutil.ignore_patterns("*.so"))
        done = self.top(program.pid, "--once", env=environment(PYTHONPATH=bare))
        self.assert_ok(done)
        self.assertIn(f"process {program.pid} (", done.stdout)

    def test_library_is_not_loaded(self) -> None:
        program = self.python_program()
        code = ("import sys; from emma._run import main; status = main(['top', sys.argv[1]])\n"
                "print('libemma' in open('/proc/self/maps').read(), status)")
        self.assertEqual(self.python("-c", code, program.pid).stdout.splitlines()[-1], "False 0")


class Text(TopTest):
    def test_table(self) -> None:
        program = self.python_program("--limit", "200M")
        self.await_json(program.pid, lambda shown: shown["instances"][0]["live_bytes"] > 1 << 20)
        for done in (self.top(program.pid), self.top(program.pid, "--once")):
            self.assert_ok(done)
            head, totals, empty, columns, row = done.stdout.splitlines()
            self.assertRegex(head, rf"^process {program.pid} \(python[0-9.]*\), emma [0-9.]+: up \d+ s$")
            self.assertRegex(totals, r"^1 instance: footprint [0-9.]+[KM] of [0-9.]+M resident, refused 0, "
                                     r"live [0-9.]+[KM], retained \S+, metadata \S+$")
            self.assertEqual(empty, "")
            self.assertEqual(columns.split(), ["#", "NAME", "KIND", "LIVE", "FOOTPRINT", "PEAK", "LIMIT", "RETAINED",
                                               "METADATA", "REFUSED"])
            self.assertRegex(row, r"^1  python  python +[0-9.]+[KM] +[0-9.]+M +[0-9.]+M +200M +\d+% +\S+ +\S+ +0$")

    def test_list(self) -> None:
        programs = [self.python_program(), self.python_program()]
        shown = self.top().stdout.splitlines()
        self.assertEqual(shown[0].split(), ["PID", "PROGRAM", "INSTANCES", "FOOTPRINT"])
        for program in programs:
            self.assertTrue([line for line in shown if line.split()[0] == str(program.pid)], shown)
        listed = json.loads(self.top("--json").stdout)
        self.assertLessEqual({program.pid for program in programs}, {look["process"] for look in listed})

    def test_reader_that_goes(self) -> None:
        program = self.python_program()
        command = f"{sys.executable} -m emma top {program.pid} --once | true"
        done = subprocess.run(["sh", "-c", command], env=environment(), cwd=self.folder, capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_sizes(self) -> None:
        code = ("from emma._top import size_text, rate_text, seconds_text\n"
                "print([size_text(s) for s in (None, 0, 1023, 1024, 1536, 10239, 102348, 1024 ** 2 - 1, 99 << 20, 2 ** 63)])\n"
                "print([rate_text(r) for r in (None, 0.0, 2048.0, -3e6)])\n"
                "print([seconds_text(s) for s in (0, 59.9, 61, 3599, 3600, 86399, 90000, 10 ** 7)])")
        self.assert_prints(self.python("-c", code), """\
['-', '0', '1023', '1.0K', '1.5K', '10.0K', '99.9K', '1.0M', '99.0M', '8.0E']
['', '', '+2.0K/s', '-2.9M/s']
['0 s', '59 s', '1 min 1 s', '59 min 59 s', '1 h 0 min', '23 h 59 min', '1 d 1 h', '115 d 17 h']
""")


# A page that is not as the library makes one, in a process that is.
FORGES = """
import os, struct, sys, time
pid = os.getpid()
def page(magic=b"emma-top", version=1, process=pid, closed=0, slots=1, slot_bytes=192, name=b"forged", number=1, sequence=0,
         bytes=4096):
    file = os.memfd_create("emma-export")
    head = struct.pack("<8s6I2Q2I16s", magic, version, 192, slot_bytes, slots, process, 250, 1, 1, closed, 0, b"9.9")
    slot = struct.pack("<IIQ32s16s15Q", sequence, 0, number, name, b"kind", *range(15))
    os.write(file, (head.ljust(192, b"\\0") + slot).ljust(bytes, b"\\0")[:bytes])
    return file
"""


BECOMES_NOBODY = "os.setgroups([])\nos.setgid(65534)\nos.setuid(65534)"

ENTERS_A_NAMESPACE = "if ctypes.CDLL(None).unshare(0x10000000) != 0: sys.exit(77)  # CLONE_NEWUSER"


class ForgedTest(TopTest):
    def forged(self, how: str) -> Program:
        return self.start(sys.executable, "-c", f"{FORGES}\n{how}\nprint('ready', flush=True)\ntime.sleep(600)")

    def named(self, name: str) -> Program:
        return self.forged(f"page(name={name!r}.encode()[:31])")


class Errors(ForgedTest):
    def test_no_such_process(self) -> None:
        program = self.start(sys.executable, "-c", "pass", ready=None)
        program.wait(SECONDS)
        self.assert_fails(self.top(program.pid), f"process {program.pid}: there is no such process")
        self.assert_fails(self.top(2 ** 31 - 1), "there is no such process")
        self.assert_fails(self.top(10 ** 30), "there is no such process")

    def test_dead_process(self) -> None:
        program = self.python_program()
        os.kill(program.pid, signal.SIGKILL)
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        self.assert_fails(self.top(program.pid), "it has ended")

    def test_bad_arguments(self) -> None:
        for arguments in (["0"], ["-1"], ["me"], ["1", "2"], ["--interval", "0", "1"], ["--interval", "x", "1"],
                          ["--interval", "nan", "1"], ["--nonsense"], ["1.5"], ["²"]):
            done = self.top(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertNotIn("Traceback", done.stderr)

    def test_nothing_exported(self) -> None:
        self.assert_fails(self.top(os.getpid()), "exports nothing", "--export", "EMMA_OPTIONS=export=1")

    def top_after(self, step: str, pid: int) -> Done:
        """emma top in a process that has taken a step; what it imports is read before that."""
        code = ("import ctypes, os, sys, emma._top\nfrom emma._run import main\n"
                "emma._top._parser().parse_args(['1'])\n"
                f"{step}\nsys.exit(main(['top', sys.argv[1]]))")
        return self.python("-c", code, pid)

    @unittest.skipUnless(os.getuid() == 0, "needs root to become another user")
    def test_another_user(self) -> None:
        self.assert_fails(self.top_after(BECOMES_NOBODY, self.python_program().pid), "no permission: it is another user's")

    @unittest.skipUnless(os.getuid() == 0, "needs root to become another user")
    def test_process_that_changed_its_user(self) -> None:
        program = self.forged(BECOMES_NOBODY)
        self.assert_fails(self.top_after(BECOMES_NOBODY, program.pid), "no permission: it lets nobody look at it")

    def test_another_namespace(self) -> None:
        done = self.top_after(ENTERS_A_NAMESPACE, self.python_program().pid)
        if done.returncode == 77:
            self.skipTest("no user namespaces here")
        self.assert_fails(done, "no permission: it ", "is in another user namespace")

    def test_another_version(self) -> None:
        program = self.forged("page(version=7)")
        self.assert_fails(self.top(program.pid), "another form (7; this emma reads 1)")

    def test_page_of_another_process(self) -> None:
        program = self.forged("page(process=pid + 1)")
        self.assert_fails(self.top(program.pid), "exports nothing")

    def test_closed_page(self) -> None:
        program = self.forged("page(closed=1)")
        self.assert_fails(self.top(program.pid), "exports nothing")

    def test_page_that_is_none(self) -> None:
        for how in ("page(magic=b'what-not')", "page(bytes=0)", "page(bytes=50)"):
            self.assert_fails(self.top(self.forged(how).pid), "exports nothing")
        for how in ("page(slots=1000)", "page(slots=2 ** 32 - 1)", "page(slot_bytes=8)"):
            self.assert_fails(self.top(self.forged(how).pid), "another form")

    def test_page_that_shrinks(self) -> None:
        """What is no longer there is not read."""
        program = self.forged("file = page(slots=3000, bytes=192 * 3001)\nprint('ready', flush=True)\n"
                              "while True:\n    os.ftruncate(file, 4096)\n    os.ftruncate(file, 192 * 3001)")
        for _ in range(10):
            done = self.top(program.pid, "--json")
            self.assertIn(done.returncode, (0, 1))
            self.assertNotIn("Traceback", done.stderr)

    def test_page_without_bounds(self) -> None:
        """One of many GiB, of which only the first page is there."""
        for slot_bytes in (2048, 1 << 18):
            program = self.forged(f"os.truncate(page(slots=1 << 20, slot_bytes={slot_bytes}), 1 << 40)")
            self.assert_fails(self.top(program.pid), "another form")
        self.assert_ok(self.top())

    def test_many_slots_that_stay_in_the_middle(self) -> None:
        program = self.forged("file = page(slots=10000, bytes=192 * 10001)\n"
                              "os.pwrite(file, b'\\1' * 1920000, 192)")
        begun = time.monotonic()
        self.assertEqual(self.json_of(program.pid)["instances"], [])
        self.assertLess(time.monotonic() - begun, 30)

    @unittest.skipUnless(os.getuid() == 0, "needs root to make a file there")
    def test_pipe_of_that_name(self) -> None:
        path = f"/memfd:emma-export-{os.getpid()}"
        os.mkfifo(path)
        self.addCleanup(os.unlink, path)
        program = self.forged(f"os.open({path!r}, os.O_RDWR)")
        self.assert_fails(self.top(program.pid), "exports nothing")
        program = self.forged(f"os.open({path!r}, os.O_RDONLY | os.O_NONBLOCK)")
        self.assert_fails(self.top(program.pid), "exports nothing")

    def test_slot_that_stays_in_the_middle(self) -> None:
        program = self.forged("page(sequence=1)")
        self.assertEqual(self.json_of(program.pid)["instances"], [])

    def test_orders_to_the_terminal(self) -> None:
        program = self.forged("page(name='\\x1b[2J\\n\\x9b\\u202e'.encode() + b'\\xff')")
        self.assertEqual(self.json_of(program.pid)["instances"][0]["name"], r"\x1b[2J\n\x9b\u202e\xff")
        self.assertIn(r" \x1b[2J\n\x9b\u202e\xff ", self.top(program.pid).stdout)

    def test_name_of_the_program(self) -> None:
        program = self.forged("open('/proc/self/comm', 'w').write('\\x1b[31mx')")
        self.assertIn(f"process {program.pid} (\\x1b[31mx): it exports nothing", self.top(program.pid).stderr)


NAME = "\u65e5\u672c\u8a9e \u0416 e\u0301 \xe9"
NAME_IN_ASCII = r"\u65e5\u672c\u8a9e \u0416 e\u0301 \xe9"


class Names(ForgedTest):
    """Names in letters of other languages."""

    def test_as_they_are(self) -> None:
        program = self.named(NAME)
        self.assertEqual(self.json_of(program.pid)["instances"][0]["name"], NAME)
        heading, row = self.top(program.pid, env=environment(LC_ALL="C.UTF-8")).stdout.splitlines()[3:]
        # Three letters of two columns, and one of none.
        self.assertEqual(row.index("kind") + 3 - 1, heading.index("KIND"))

    def test_where_stdout_has_them_not(self) -> None:
        program = self.named(NAME)
        heading, row = self.top(program.pid, env=environment(PYTHONIOENCODING="ascii")).stdout.splitlines()[3:]
        self.assertIn(f"  {NAME_IN_ASCII}  kind", row)
        self.assertEqual(row.index("kind"), heading.index("KIND"))

    def test_cut_in_a_letter(self) -> None:
        self.assertEqual(self.json_of(self.named("x" * 30 + "\xe9").pid)["instances"][0]["name"], "x" * 30)


@unittest.skipUnless(TMUX, "no tmux to look at a screen with")
class Screen(ForgedTest):
    def tmux(self, *arguments: object) -> str:
        return subprocess.run([TMUX, "-S", str(self.folder / "tmux"), *map(str, arguments)], capture_output=True, text=True,
                              timeout=SECONDS, check=True, env=environment(TERM="xterm-256color", LC_ALL="C.UTF-8")).stdout

    def open(self, *arguments: object, width: int = 120, height: int = 24, before: str = "") -> None:
        """emma top in a terminal of that size."""
        command = f"{before} {sys.executable} -m emma top {' '.join(map(str, arguments))}; echo status $?; sleep 600"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, command)
        self.addCleanup(self.tmux, "kill-server")

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def await_screen(self, fits: Callable[[str], bool]) -> str:
        until = time.monotonic() + SECONDS
        while not fits(shown := self.screen()):
            self.assertLess(time.monotonic(), until, shown)
            time.sleep(0.05)
        return shown

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    @unittest.skipUnless(POOL_SERVER.exists(), "no pool_server in this build")
    def test_many(self) -> None:
        program = self.start(POOL_SERVER, "--export", "--port", 0, "--sandboxes", 60, "--threads", 60, "--limit", "64K",
                             HANDLER, ready="http://")
        self.open(program.pid)
        shown = self.await_screen(lambda s: "1-19 of 60" in s).splitlines()
        self.assertTrue(shown[0].startswith(f"emma top: process {program.pid} (pool_server), emma "), shown)
        self.assertTrue(shown[1].startswith("60 instances: footprint "), shown)
        self.assertEqual(shown[3].split(), ["#", "NAME", "KIND", "LIVE", "FOOTPRINT", "RATE", "PEAK", "LIMIT",
                                            "RETAINED", "METADATA", "REFUSED"])
        self.assertEqual(len([line for line in shown if " sandbox " in line and "[" in line and "%]" in line]), 19)
        self.press("NPage")
        self.await_screen(lambda s: "20-38 of 60" in s)
        self.press("End")
        self.await_screen(lambda s: "42-60 of 60" in s)
        self.press("Up")
        self.await_screen(lambda s: "41-59 of 60" in s)
        self.press("Home")
        self.await_screen(lambda s: "1-19 of 60" in s)
        self.press("q")
        self.await_screen(lambda s: "status 0" in s)

    def test_grows_and_ends(self) -> None:
        program = self.python_program("--limit", "64M")
        self.open(program.pid, "--interval", "0.2")
        self.await_screen(lambda s: "python" in s and "%]" in s)
        for _ in range(3):
            self.more(program)
        self.await_screen(lambda s: "M/s" in s or "K/s" in s)
        self.await_screen(lambda s: "1 instance: footprint 1" in s)
        program.kill()
        shown = self.await_screen(lambda s: "status 0" in s)
        self.assertRegex(shown, rf"emma top: process {program.pid} \(python[0-9.]*\): it has ended")

    def test_sorting(self) -> None:
        program = self.python_program()
        self.open(program.pid)
        self.await_screen(lambda s: "FOOTPRINT" in s)

        def marked() -> list[str]:
            """The heading that is underlined."""
            lines = self.tmux("capture-pane", "-p", "-e").splitlines()
            line = next(line for line in lines if "FOOTPRINT" in line)
            return [part.partition("m")[2].split()[0] for part in line.split("\x1b[")
                    if "4" in part.partition("m")[0].split(";") and part.partition("m")[2].split()]

        def await_marked(name: str) -> None:
            until = time.monotonic() + SECONDS
            while marked() != [name]:
                self.assertLess(time.monotonic(), until, (name, marked()))
                time.sleep(0.05)

        await_marked("FOOTPRINT")
        for key, name in (("<", "LIVE"), (">", "FOOTPRINT"), ("s", "RATE"), ("Right", "PEAK"), ("Left", "RATE")):
            self.press(key)
            await_marked(name)

    def test_help_and_pause(self) -> None:
        program = self.python_program()
        self.open(program.pid, "--interval", "0.1")
        self.await_screen(lambda s: "FOOTPRINT" in s)
        self.press("?")
        self.await_screen(lambda s: "requests refused for want of memory" in s)
        self.press("x")
        self.await_screen(lambda s: "requests refused" not in s and "1 instance" in s)
        self.press("p")
        still = self.await_screen(lambda s: "paused" in s)
        self.more(program)
        self.more(program)
        time.sleep(1)
        self.assertEqual(self.screen(), still)
        self.press("p")
        self.await_screen(lambda s: "paused" not in s and s != still)

    def test_sizes_of_the_terminal(self) -> None:
        program = self.python_program("--limit", "64M")
        self.open(program.pid, width=80)
        self.await_screen(lambda s: "FOOTPRINT" in s)
        for width, height in ((40, 10), (200, 50), (20, 4), (80, 3), (80, 2), (80, 1), (9, 2), (1, 1), (80, 24)):
            self.tmux("resize-window", "-x", width, "-y", height)
            time.sleep(0.3)
            lines = self.screen().splitlines()
            self.assertNotIn("Traceback", "".join(lines))
            self.assertNotIn("status", "".join(lines))
        self.await_screen(lambda s: "FOOTPRINT" in s and "q quit" in s)

    def test_stopped(self) -> None:
        program = self.python_program()
        self.open(program.pid, "--interval", "0.2")
        self.await_screen(lambda s: "FOOTPRINT" in s)
        program.send_signal(signal.SIGSTOP)
        self.await_screen(lambda s: "the process is stopped" in s)
        program.send_signal(signal.SIGCONT)
        self.await_screen(lambda s: "the process is stopped" not in s)

    def test_interrupt(self) -> None:
        program = self.python_program()
        self.open(program.pid)
        self.await_screen(lambda s: "FOOTPRINT" in s)
        self.press("C-c")
        shown = self.await_screen(lambda s: "status" in s)
        self.assertNotIn("Traceback", shown)

    def test_names(self) -> None:
        program = self.named(NAME)
        self.open(program.pid)
        shown = self.await_screen(lambda s: NAME in s).splitlines()
        heading, row = shown[3:5]
        self.assertEqual(row.index("kind") + 3 - 1, heading.index("KIND"))

    def test_names_where_there_is_no_utf_8(self) -> None:
        program = self.named(NAME)
        self.open(program.pid, before="LC_ALL=C")
        self.await_screen(lambda s: NAME_IN_ASCII.split()[0] in s)

    def test_terminal_that_is_none(self) -> None:
        program = self.python_program()
        command = f"TERM=no-such-terminal {sys.executable} -m emma top {program.pid}; echo status $?; sleep 600"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", 120, "-y", 24, command)
        self.addCleanup(self.tmux, "kill-server")
        shown = self.await_screen(lambda s: "status 1" in s)
        self.assertIn("use --once", shown)


if __name__ == "__main__":
    unittest.main()
