"""python -m emma run: the program is as python runs it."""

import signal
import sys
import unittest
from typing import TYPE_CHECKING, Sequence

from support import PACKAGE, Done, EmmaTest, How, environment

if TYPE_CHECKING:
    from typing_extensions import Unpack

SHOW = """
import sys
print(sys.argv, repr(sys.path[0]), __name__, sys.flags.isolated, sys.stdin.read())
"""


class Run(EmmaTest):
    def assert_same(self, *program: object, flags: Sequence[str] = (), **how: "Unpack[How]") -> Done:
        """Output and status with emma are those without."""
        plain = self.python(*flags, *program, **how)
        served = self.python(*flags, "-m", "emma", "run", *program, **how)
        self.assertEqual((served.returncode, served.stdout, served.stderr),
                         (plain.returncode, plain.stdout, plain.stderr))
        return served

    def test_serves(self) -> None:
        self.assert_prints(self.code("import emma; print(emma.is_installed(), emma.owns([]), emma.owns('a' * 999))"),
                           "True True True\n")

    def test_script(self) -> None:
        self.assert_same(self.script(SHOW), "a", "--limit", "-m", stdin="from stdin")

    def test_script_in_a_folder(self) -> None:
        (self.folder / "deep").mkdir()
        self.assert_same(self.script(SHOW, "deep/script.py"), "a")

    def test_code(self) -> None:
        self.assert_same("-c", SHOW, "a", "-b")

    def test_module(self) -> None:
        self.script(SHOW, "shown.py")
        self.assert_same("-m", "shown", "a", "--stats")

    def test_program_from_stdin(self) -> None:
        self.assert_same("-", "a", stdin="import sys; print(sys.argv, __name__)")

    def test_exit_status(self) -> None:
        self.assertEqual(self.assert_same("-c", "import sys; sys.exit(7)").returncode, 7)

    def test_exit_message(self) -> None:
        self.assertEqual(self.assert_same("-c", "import sys; sys.exit('no')").returncode, 1)

    def test_traceback(self) -> None:
        self.assertIn("ZeroDivisionError", self.assert_same(self.script("def f():\n    1 / 0\nf()\n")).stderr)

    def test_syntax_error(self) -> None:
        self.assert_same(self.script("def f(:\n"))

    def test_missing_script(self) -> None:
        self.assert_same("missing.py")

    def test_signal(self) -> None:
        done = self.assert_same("-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
        self.assertEqual(done.returncode, -signal.SIGTERM)

    def test_keyboard_interrupt(self) -> None:
        done = self.assert_same("-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)")
        self.assertEqual(done.returncode, -signal.SIGINT)

    def test_flags_of_python(self) -> None:
        code = "import sys; print(sys.flags.optimize, sys.flags.utf8_mode, sys._xoptions, sys.warnoptions)"
        self.assert_same("-c", code, flags=["-OO", "-X", "utf8", "-Wdefault", "-B"])

    def test_flags_before_the_m(self) -> None:
        done = self.python("-Om", "emma", "run", "-c", "import sys; print(sys.flags.optimize)")
        self.assert_prints(done, "1\n")

    def test_flags_in_clusters(self) -> None:
        code = "import sys; print(sys.flags.bytes_warning, sys._xoptions, sys.warnoptions)"
        self.assert_same("-c", code, flags=["-bX", "utf8"])
        self.assert_same("-c", code, flags=["-bWdefault"])
        self.assert_same("-c", code, flags=["-bW", "ignore"])

    def test_closed_streams(self) -> None:
        import subprocess
        for closed in (">&-", "2>&-", ">&- 2>&-", "<&-"):
            command = f"exec {sys.executable} -m emma run -c 'open(\"ran\", \"a\").write(\"x\")' {closed}"
            done = subprocess.run(["sh", "-c", command], env=environment(), cwd=self.folder, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, closed)
        self.assertEqual((self.folder / "ran").read_text(), "xxxx")

    def test_one_inside_the_other(self) -> None:
        inner = "import emma, os; print(emma.limit, os.environ['LD_PRELOAD'].count('libemma-python'))"
        nothing: list[str] = []
        for outer in (nothing, ["--all"]):
            for own in (nothing, ["--all"]):
                done = self.emma(*outer, "--limit", "99M", "-m", "emma", "run", *own, "--limit", "77M", "-c", inner)
                self.assert_prints(done, f"{77 << 20} 1\n")
        self.assertIn("obj: emma", self.emma("--all", "-m", "emma", "doctor").stdout)

    def test_isolated(self) -> None:
        done = self.python("-c", f"""
import os, sys
sys.path.insert(0, {str(PACKAGE)!r})
from emma import _run
sys.orig_argv[1:] = ["-I", "-m", "emma", "run"]
_run.main(["run", "-c", "import sys; print(sys.flags.isolated)"])""")
        self.assert_prints(done, "1\n")

    def test_other_preloads_stay(self) -> None:
        code = "import os; print(os.environ['LD_PRELOAD'].split()[1:])"
        self.assert_prints(self.code(code, env=environment(LD_PRELOAD="libm.so.6")), "['libm.so.6']\n")

    def test_options_of_the_environment_stay(self) -> None:
        done = self.code("import emma; print(emma.limit)", env=environment(EMMA_OPTIONS="limit=300M"))
        self.assert_prints(done, f"{300 << 20}\n")

    @unittest.skipUnless(sys.executable, "no sys.executable")
    def test_terminal(self) -> None:
        import os
        import pty
        import subprocess
        leader, follower = pty.openpty()
        with subprocess.Popen([sys.executable, "-m", "emma", "run", "-c",
                               "import sys; print(sys.stdin.isatty(), sys.stdout.isatty(), input('? '))"],
                              stdin=follower, stdout=follower, stderr=follower, env=environment()) as program:
            os.close(follower)
            os.write(leader, b"typed\n")
            program.wait(60)
            shown = os.read(leader, 4096).decode()
        os.close(leader)
        self.assertIn("True True typed", shown)


class Domains(EmmaTest):
    def test_only_some(self) -> None:
        report = self.report("pass", "--domains", "obj,mem")
        self.assertEqual({name: domain["wanted"] for name, domain in report["domains"].items()},
                         {"raw": False, "mem": True, "obj": True})

    def test_pythonmalloc_displaces(self) -> None:
        done = self.code("pass", env=environment(PYTHONMALLOC="malloc"))
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, "emma: python: did not serve raw, mem, obj: PYTHONMALLOC=malloc chose another "
                                      "allocator; unset it\n")

    def test_development_mode_displaces(self) -> None:
        done = self.python("-X", "dev", "-m", "emma", "run", "-c", "pass")
        self.assertEqual(done.returncode, 0)
        self.assertIn("emma: python: did not serve raw, mem, obj: another allocator took its place", done.stderr)


class BadInput(EmmaTest):
    def assert_refused(self, status: int, message: str, *arguments: object, **how: "Unpack[How]") -> None:
        done = self.emma(*arguments, **how)
        self.assertEqual((done.returncode, done.stdout), (status, ""))
        self.assertIn(message, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_sizes(self) -> None:
        for size, message in (("many", "'many' is not a size (use bytes or K, M, G)"), ("-1", "not a size"),
                              ("", "not a size"), ("1T", "not a size"), ("99999999999G", "too large")):
            self.assert_refused(2, message, f"--limit={size}", "-c", "pass")

    def test_unknown_option(self) -> None:
        self.assert_refused(2, "usage: python -m emma run [options] (script", "--lim", "-c", "pass")
        self.assert_refused(2, "emma run: error: unrecognized arguments: --lim", "--lim", "-c", "pass")

    def test_no_program(self) -> None:
        self.assert_refused(2, "a script, -m module or -c code is missing", "--stats")

    def test_soft_above_hard(self) -> None:
        self.assert_refused(2, "--soft-limit: it is above --limit", "--limit", "100M", "--soft-limit", "200M", "-c", "pass")

    def test_soft_too_small(self) -> None:
        self.assert_refused(2, "--soft-limit: 1 byte is below the least, 64.0 KiB", "--soft-limit", "1", "-c", "pass")
        self.assert_ok(self.code("pass", "--soft-limit", "65536G"))

    def test_report_that_cannot_be_written(self) -> None:
        for path, why in (("missing/r.json", "No such file or directory"), (".", "Is a directory"),
                          ("r.txt", "its name must end in .html, .json or .svg")):
            self.assert_refused(1, f"--report: cannot write '{path}': {why}", "--report", path, "-c", "print('ran')")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_unknown_domain(self) -> None:
        self.assert_refused(2, "'x' is no domain", "--domains", "raw,x", "-c", "pass")

    def test_limit_too_small_to_start(self) -> None:
        for limit in ("1", "4096", "64K", "1M"):
            done = self.code("pass", "--limit", limit)
            self.assertEqual(done.returncode, 2, limit)
            self.assertRegex(done.stderr, r"^python -m emma run: --limit .* is too small to start Python: the least is \d+K\n$")

    def test_limit_of_the_environment_too_small_to_start(self) -> None:
        done = self.code("pass", env=environment(EMMA_OPTIONS="limit=256K"))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"^python -m emma run: the limit in EMMA_OPTIONS, 256K is too small to start Python: "
                                      r"the least is \d+K\n$")

    def test_errors_without_stderr(self) -> None:
        done = self.python("-c", "import os, sys\nos.close(2)\n"
                                 "os.execv(sys.executable, [sys.executable, '-m', 'emma', 'run', '--limit', '64K', '-c', '1'])")
        self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_least_limit_is_enough(self) -> None:
        least = self.code("pass", "--limit", "64K").stderr.split()[-1]
        self.assert_ok(self.code("pass", "--limit", least))

    def test_no_subcommand(self) -> None:
        done = self.python("-m", "emma")
        self.assertEqual(done.returncode, 2)
        self.assertIn("the following arguments are required: COMMAND", done.stderr)

    def test_library_missing(self) -> None:
        import shutil
        copy = self.folder / "copy"
        shutil.copytree(PACKAGE / "emma", copy / "emma")
        (copy / "emma" / "libemma-python.so").unlink()
        self.assert_refused(1, "libemma-python.so is missing", "-c", "pass", env=environment(PYTHONPATH=copy))

    def test_library_that_is_none(self) -> None:
        import shutil
        copy = self.folder / "copy"
        shutil.copytree(PACKAGE / "emma", copy / "emma")
        (copy / "emma" / "libemma-python.so").write_text("none")
        self.assert_refused(1, "cannot be preloaded", "-c", "pass", env=environment(PYTHONPATH=copy))

    def test_library_behind_a_space(self) -> None:
        import shutil
        copy = self.folder / "a copy"
        shutil.copytree(PACKAGE / "emma", copy / "emma")
        self.assert_refused(1, "its path has a space", "-c", "pass", env=environment(PYTHONPATH=copy))


if __name__ == "__main__":
    unittest.main()
