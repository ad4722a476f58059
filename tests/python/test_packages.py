"""The wheel in a fresh virtual environment, with packages that allocate in C, and with pytest.

Exit status 77, as elsewhere in the tests, where pip gets no packages."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Iterable

from support import SECONDS, Done, EmmaTest, environment

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "orjson", "lxml", "pandas", "pytest")
PIP_SECONDS = 900

USE = {
    "numpy": "import numpy\na = numpy.arange(100_000).reshape(100, -1)\nprint(int((a @ a.T).sum() % 1009), a.copy().nbytes)\n",
    "orjson": "import orjson\nd = orjson.loads(orjson.dumps([{'a': i, 'b': str(i)} for i in range(5000)]))\nprint(len(d), d[-1])\n",
    "lxml": "from lxml import etree\nr = etree.fromstring('<r>' + '<a b=\"1\">t</a>' * 3000 + '</r>')\n"
            "print(len(r), len(etree.tostring(r)), len(r.xpath('//a[@b=1]')))\n",
    "pandas": "import pandas\nf = pandas.DataFrame({'k': [i % 9 for i in range(9000)], 'v': range(9000)})\n"
              "print(int(f.groupby('k').v.sum().iloc[3]), len(f.merge(f.head(99), on='v')))\n",
}

MEASURED = '''
import pytest

@pytest.mark.limit_memory("24 MB")
def test_small():
    assert len(bytearray(10 << 20))

@pytest.mark.limit_memory("24 MB")
def test_large():
    assert len(bytearray(50 << 20))

def test_free():
    pass
'''


class Environment:
    """A virtual environment, made once for all tests."""

    home: Path
    wheels: list[Path]

    @classmethod
    def make(cls) -> None:
        cls.home = Path(tempfile.mkdtemp(prefix="emma-venv-"))
        cls.run([sys.executable, "-m", "venv", cls.home])
        if not cls.pip("install", "--only-binary=:all:", *PACKAGES):
            shutil.rmtree(cls.home)
            print("skipped: pip cannot get the packages", ", ".join(PACKAGES))
            sys.exit(77)
        wheels = cls.home / "wheels"
        if not cls.pip("wheel", "--no-deps", "-w", wheels, ROOT):
            sys.exit("the wheel cannot be built")
        cls.wheels = list(wheels.glob("emma-*.whl"))
        if not cls.pip("install", "--no-deps", *cls.wheels):
            sys.exit("the wheel cannot be installed")

    @classmethod
    def run(cls, command: Iterable[object]) -> Done:
        return subprocess.run([str(word) for word in command], timeout=PIP_SECONDS, check=False, capture_output=True,
                              text=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})

    @classmethod
    def pip(cls, *arguments: object) -> bool:
        done = cls.run([cls.python(), "-m", "pip", *arguments])
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
        return done.returncode == 0

    @classmethod
    def python(cls) -> str:
        return str(cls.home / "bin" / "python")


class Installed(EmmaTest):
    def plain(self, *arguments: object) -> Done:
        env = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
        return subprocess.run([Environment.python(), *map(str, arguments)], env=env, cwd=self.folder, text=True,
                              capture_output=True, timeout=SECONDS, check=False)

    def test_one_wheel_for_all_versions(self) -> None:
        self.assertEqual(len(Environment.wheels), 1)
        self.assertRegex(Environment.wheels[0].name, r"^emma-[0-9.]+-cp310-abi3-.*linux.*_x86_64\.whl$")

    def test_command(self) -> None:
        done = subprocess.run([Environment.home / "bin" / "emma", "run", "--limit", "200M", "-c",
                               "import emma; print(emma.limit, emma.is_installed())"],
                              capture_output=True, text=True, cwd=self.folder, timeout=SECONDS, check=False)
        self.assert_prints(done, f"{200 << 20} True\n")

    def test_types_are_told(self) -> None:
        folder = next(Environment.home.glob("lib/python*/site-packages/emma"))
        self.assertTrue((folder / "py.typed").exists())

    def test_sandbox(self) -> None:
        done = self.plain("-c", "import emma\nwith emma.Sandbox() as box: print(box.load('return _VERSION'))")
        self.assert_prints(done, "Lua 5.4\n")

    def test_lua_is_in_the_wheel(self) -> None:
        code = "import emma\nemma.Sandbox()\nprint([l.split()[-1] for l in open('/proc/self/maps') if 'liblua' in l][0])"
        done = self.plain("-c", code)
        self.assert_ok(done)
        self.assertTrue(Path(done.stdout.strip()).is_relative_to(Environment.home), done.stdout)

    def test_packages(self) -> None:
        for package, use in USE.items():
            wanted = self.plain("-c", use)
            self.assertEqual(wanted.returncode, 0, wanted.stderr)
            for how, arguments in (("run", ["-m", "emma", "run", "-c", use]),
                                   ("run --all", ["-m", "emma", "run", "--all", "-c", use]),
                                   ("install", ["-c", "import emma; emma.install()\n" + use]),
                                   ("install afterwards", ["-c", f"import {package}, emma; emma.install()\n" + use])):
                with self.subTest(package=package, how=how):
                    self.assert_prints(self.plain(*arguments), wanted.stdout)

    def test_numpy_data(self) -> None:
        code = """
import numpy, emma
old = numpy.ones(1000)
emma.install()
a = numpy.zeros(1 << 20)
at = a.ctypes.data
print(any(block.address <= at < block.address + block.bytes for block in emma.walk()), emma.owns(a))
with emma.measure() as m:
    b = numpy.ones(1 << 20)
print(8 << 20 <= m.bytes < 9 << 20, float((old * 2).sum() + b[5]))
old = numpy.resize(old, 5000)
del a, b, old
print("sound" in emma.doctor())
"""
        self.assert_prints(self.plain("-c", code), "True True\nTrue 2001.0\nTrue\n")

    def test_numpy_under_a_limit(self) -> None:
        code = """
import numpy, emma
emma.serve_numpy()
try:
    numpy.ones(100 << 20)
except MemoryError as error:
    print(type(error).__name__)
"""
        done = self.plain("-m", "emma", "run", "--limit", "300M", "-c", code)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("MemoryError", done.stdout)

    def test_pytest(self) -> None:
        tests = self.script(MEASURED, "test_measured.py")
        done = self.plain("-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("1 failed, 2 passed", done.stdout)
        self.assertIn("above its limit of 24.0 MiB", done.stdout)

    def test_pytest_prints_peaks(self) -> None:
        tests = self.script(MEASURED, "test_measured.py")
        done = self.plain("-m", "pytest", "-q", "-p", "no:cacheprovider", "--emma", tests)
        self.assertRegex(done.stdout, r"peak of memory, emma(.|\n)* 5\d\.\d MiB  test_measured.py::test_large")

    def test_pytest_bad_marker(self) -> None:
        tests = self.script("import pytest\n@pytest.mark.limit_memory('lots')\ndef test_it():\n    pass\n", "test_bad.py")
        done = self.plain("-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
        self.assertEqual(done.returncode, 4)
        self.assertIn("ERROR: test_bad.py::test_it: limit_memory: 'lots' is not a size", done.stderr)

    def test_report(self) -> None:
        path = self.folder / "r.json"
        code = "import ctypes, numpy\nkept = numpy.ones(9 << 20)\nctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))" \
               "\nprint(tuple(map(int, numpy.__version__.split('.')[:2])) >= (2, 5))"
        done = self.plain("-m", "emma", "run", "--report", path, "-c", code)
        self.assert_ok(done)
        # From 2.5 on NumPy's data is of the domain raw.
        where = {"True\n": "large_bytes", "False\n": "outside_bytes"}[done.stdout]
        self.assertGreater(json.loads(path.read_text())[where], 72 << 20)


if __name__ == "__main__":
    Environment.make()
    try:
        unittest.main()
    finally:
        shutil.rmtree(Environment.home)
