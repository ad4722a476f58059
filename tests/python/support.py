"""What the tests of the Python package share: programs run under emma, in the interpreter that runs the test."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

PACKAGE = Path(os.environ["EMMA_TEST_PYTHON_PACKAGE"])
SECONDS = 120

LIBRARY = PACKAGE / "emma" / "libemma-python.so"

Done = subprocess.CompletedProcess[str]


def environment(**more: object) -> dict[str, str]:
    """As the test's, with the package to be found and nothing of emma's or Python's own set."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("EMMA_", "PYTHON")) and name != "LD_PRELOAD"}
    return {**kept, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1",
            **{name: str(value) for name, value in more.items()}}


class How(TypedDict, total=False):
    """How a program is run."""

    stdin: str
    env: dict[str, str]


class EmmaTest(unittest.TestCase):
    """Runs programs, in a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="emma-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def python(self, *arguments: object, **how: "Unpack[How]") -> Done:
        """A plain Python; the completed process."""
        return subprocess.run([sys.executable, *map(str, arguments)], input=how.get("stdin", ""),
                              env=how.get("env") or environment(), cwd=self.folder, capture_output=True, text=True,
                              timeout=SECONDS, check=False)

    def emma(self, *arguments: object, **how: "Unpack[How]") -> Done:
        """``python -m emma run ARGUMENTS``."""
        return self.python("-m", "emma", "run", *arguments, **how)

    def code(self, code: str, *options: object, **how: "Unpack[How]") -> Done:
        """A program given as text, under emma."""
        return self.emma(*options, "-c", code, **how)

    def script(self, code: str, name: str = "script.py") -> Path:
        path = self.folder / name
        path.write_text(code)
        return path

    def installed(self, code: str, **how: "Unpack[How]") -> Done:
        """A program that calls emma.install() first."""
        return self.python("-c", "import emma\nassert emma.install()\n" + code, **how)

    def assert_ok(self, done: Done) -> None:
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def assert_prints(self, done: Done, text: str) -> None:
        self.assert_ok(done)
        self.assertEqual(done.stdout, text)

    def report(self, code: str, *options: object) -> dict[str, Any]:
        """The report of a program that must succeed."""
        path = self.folder / "report.json"
        done = self.code(code, "--report", path, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        written: dict[str, Any] = json.loads(path.read_text())
        return written
