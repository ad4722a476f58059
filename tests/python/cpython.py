"""CPython's own tests under emma: which of them fail that do not fail without.

cpython.py MODULE... runs those modules that this version has; without any, the whole suite. Exit status 77: this Python has no tests."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile

from support import environment

# A module that takes so long is one that fails.
MODULE_SECONDS = 900

# They ask for pymalloc by name: its statistics, how many blocks it has, and whether it serves where nothing was asked.
IGNORED = ("test_debugmallocstats", "test_getallocatedblocks", "test_get_alloc_count", "test_pymalloc",
           "test_pythonmalloc")


def run_tests(python: list[str], modules: list[str], folder: str) -> tuple[int, set[str]]:
    """The output of CPython's test runner, as it goes, and the modules that failed."""
    ignored = [word for name in IGNORED for word in ("-i", name)]
    command = [*python, "-m", "test", "-j2", "--timeout", str(MODULE_SECONDS), *ignored, *modules]
    env = {**environment(), "TERM": "dumb"}
    with subprocess.Popen(command, cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
    return process.returncode, failed_modules("".join(lines))


def failed_modules(output: str) -> set[str]:
    """What the runner's summary lists as failed."""
    found: set[str] = set()
    for part in re.findall(r"^\d+ tests? failed:\n((?:    .*\n)+)", output, re.MULTILINE):
        found.update(part.split())
    return found


def main(modules: list[str]) -> int:
    if subprocess.run([sys.executable, "-c", "import test.test_list"], capture_output=True, check=False).returncode:
        print("skipped: this Python comes without its tests")
        return 77
    modules = [module for module in modules if importlib.util.find_spec(f"test.{module}")] if modules else []
    with tempfile.TemporaryDirectory(prefix="emma-cpython-") as folder:
        status, failed = run_tests([sys.executable, "-m", "emma", "run"], modules, folder)
        if status == 0:
            return 0
        if not failed:
            print(f"the run itself failed with status {status}")
            return 1
        print(f"failed under emma: {' '.join(sorted(failed))}; without it:", flush=True)
        _, without = run_tests([sys.executable], sorted(failed), folder)
    newly = failed - without
    print(f"failed under emma only: {' '.join(sorted(newly)) or 'none'}")
    return 1 if newly else 0


if __name__ == "__main__":
    os.environ.setdefault("EMMA_TEST_PYTHON_PACKAGE", "")
    # A shell ignores it for what it runs in the background; tests that interrupt themselves would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
