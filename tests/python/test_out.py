"""Commands whose stdout takes nothing, or not what they print: an error, without a traceback."""

import json
import os
import subprocess
import sys
import unittest

from support import SECONDS, Done, EmmaTest, environment

REPORT = {"emma": "0.1.0", "live_bytes": 1, "live_blocks": 1, "classes": [], "types": None}
COMMANDS = ("top", "top --json", "diff a.json b.json", "diff --json a.json b.json", "doctor")


class StdoutTest(EmmaTest):
    def setUp(self) -> None:
        super().setUp()
        for number, name in enumerate(("a.json", "b.json")):
            (self.folder / name).write_text(json.dumps({**REPORT, "live_bytes": number}))

    def shell(self, command: str, **more: object) -> Done:
        """A line of the shell's, in which emma is the command."""
        line = f"emma() {{ {sys.executable} -m emma \"$@\"; }}; {command}"
        return subprocess.run(["sh", "-c", line], env=environment(**more), cwd=self.folder, capture_output=True, text=True,
                              timeout=SECONDS, check=False)

    def assert_one_line(self, done: Done, command: str, why: str) -> None:
        self.assertEqual((done.returncode, done.stdout), (1, ""), command)
        self.assertRegex(done.stderr, rf"^[a-z -]*emma {command.split()[0]}: cannot write to stdout: {why}\n$", command)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full(self) -> None:
        for command in COMMANDS:
            self.assert_one_line(self.shell(f"emma {command} > /dev/full"), command, "No space left on device")

    def test_closed(self) -> None:
        for command in COMMANDS:
            self.assert_one_line(self.shell(f"emma {command} >&-"), command, "Bad file descriptor")

    def test_reader_that_goes(self) -> None:
        for command in COMMANDS:
            done = self.shell(f"(sleep 0.2; emma {command}; echo $? > status) | true")
            self.assertEqual((done.stdout, done.stderr), ("", ""), command)
            self.assertEqual((self.folder / "status").read_text(), "0\n", command)

    def test_all_closed(self) -> None:
        for command in COMMANDS:
            done = self.shell(f"emma {command} >&- 2>&-")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), command)

    def test_errors_stay_off_stdout(self) -> None:
        for command in ("top 2147483647", "diff none.json none.json"):
            done = self.shell(f"emma {command} 2>&-")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), command)

    def test_what_the_encoding_has_not(self) -> None:
        (self.folder / "b.json").write_text(json.dumps({**REPORT, "program": "\u65e5\x1b[2J"}))
        self.assertIn("program differs: None and \u65e5\\x1b[2J\n", self.shell("emma diff a.json b.json", LC_ALL="C.UTF-8").stdout)
        self.assertIn("program differs: None and \\u65e5\\x1b[2J\n",
                      self.shell("emma diff a.json b.json", PYTHONIOENCODING="ascii").stdout)


if __name__ == "__main__":
    unittest.main()
