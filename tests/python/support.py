"""What the tests of the Python package share: programs run under emma, in the interpreter that runs the test."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PACKAGE = Path(os.environ["EMMA_TEST_PYTHON_PACKAGE"])
SECONDS = 120

LIBRARY = PACKAGE / "emma" / "libemma-python.so"


def environment(**more):
    """As the test's, with the package to be found and nothing of emma's or Python's own set."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("EMMA_", "PYTHON")) and name != "LD_PRELOAD"}
    return {**kept, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1",
            **{name: str(value) for name, value in more.items()}}


class EmmaTest(unittest.TestCase):
    """Runs programs, in a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="emma-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def python(self, *arguments, stdin="", env=None, **more):
        """A plain Python; the completed process."""
        return subprocess.run([sys.executable, *map(str, arguments)], input=stdin, env=env or environment(),
                              cwd=self.folder, capture_output=True, text=True, timeout=SECONDS, check=False, **more)

    def emma(self, *arguments, **more):
        """``python -m emma run ARGUMENTS``."""
        return self.python("-m", "emma", "run", *arguments, **more)

    def code(self, code, *options, **more):
        """A program given as text, under emma."""
        return self.emma(*options, "-c", code, **more)

    def script(self, code, name="script.py"):
        path = self.folder / name
        path.write_text(code)
        return path

    def installed(self, code, **more):
        """A program that calls emma.install() first."""
        return self.python("-c", "import emma\nassert emma.install()\n" + code, **more)

    def assert_ok(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def assert_prints(self, done, text):
        self.assert_ok(done)
        self.assertEqual(done.stdout, text)

    def report(self, code, *options):
        """The report of a program that must succeed."""
        path = self.folder / "report.json"
        done = self.code(code, "--report", path, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(path.read_text())
