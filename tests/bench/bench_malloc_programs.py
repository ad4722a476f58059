"""The real programs of tests/bench/run malloc: each is run with every allocator preloaded."""
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from bench_lib import CHILD_ENVIRONMENT, ROOT, BenchError, ChildFailed, child_peak_kib, install_packages

PROGRAMS_DIR = Path(__file__).resolve().parent / "malloc"
REDIS_REQUESTS, REDIS_PIPELINE, QUICK_REQUESTS = 150_000, 16, 1_000
REDIS_COMMANDS = "set,get,lpush,hset,zadd"
START_SECONDS, STOP_SECONDS = 10, 60
POLL_SECONDS = 0.01
LIBC = "libc.so.6"


class Program:
    """A command, which may name the folder of its files as {folder}. `full` and `quick` stand for {size}."""

    def __init__(self, name, command, need=(), full="", quick="", environment=None):
        self.name, self.command, self.need, self.full, self.quick = name, command, need, full, quick
        self.environment = environment or {}
        self.words, self.outputs = [], {}

    def prepare(self, folder, quick):
        size = self.quick if quick else self.full
        self.words = [word.format(folder=folder, size=size, root=ROOT, programs=PROGRAMS_DIR) for word in self.command]

    def measure(self, bench, name, environment):
        begun_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        run = bench.child(f"{self.name} on {name}", self.words, {**self.environment, **environment})
        if run is None:
            return None
        self.outputs.setdefault(run.output, []).append(name)
        return {"cpu_ns": run.cpu_ns, "wall_ns": run.end_wall_ns - begun_ns, "peak_kib": run.peak_kib}


class Redis:
    """A server, whose CPU time for a fixed number of requests from redis-benchmark is measured. Debian links it with
    jemalloc: where no other library is preloaded, the C library is, so that it serves malloc."""

    name, command = "redis-server", ["redis-server"]
    outputs = {}
    need = ("command:redis-server=redis-server", "command:redis-benchmark=redis-tools")

    def prepare(self, folder, quick):
        self.folder, self.requests = folder, QUICK_REQUESTS if quick else REDIS_REQUESTS

    def measure(self, bench, name, environment):
        path = self.folder / "redis.sock"
        path.unlink(missing_ok=True)
        begun_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", self.folder],
            env={**CHILD_ENVIRONMENT, "LD_PRELOAD": LIBC, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.load(path)
            _, status, usage = os.wait4(server.pid, 0)
            server.returncode = os.waitstatus_to_exitcode(status)
        except (ChildFailed, subprocess.SubprocessError) as failure:
            bench.fail(f"redis-server on {name}: {failure}")
            return None
        finally:
            if server.returncode is None:
                server.kill()
                server.wait()
        if server.returncode != 0:
            bench.fail(f"redis-server on {name}: exit status {server.returncode}")
            return None
        return {"cpu_ns": round((usage.ru_utime + usage.ru_stime) * 1e9), "peak_kib": child_peak_kib(usage),
                "wall_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC) - begun_ns}

    def load(self, path):
        """Waits for the server, sends it the requests, and asks it to end."""
        deadline = time.monotonic() + START_SECONDS
        while not accepts(path):
            if time.monotonic() > deadline:
                raise ChildFailed(f"it did not listen within {START_SECONDS} s")
            time.sleep(POLL_SECONDS)
        for command in (["redis-benchmark", "-s", path, "-q", "-n", self.requests, "-P", REDIS_PIPELINE,
                         "-r", self.requests, "-d", 64, "-t", REDIS_COMMANDS],
                        ["redis-cli", "-s", path, "shutdown", "nosave"]):
            subprocess.run([str(word) for word in command], check=True, env=CHILD_ENVIRONMENT, timeout=STOP_SECONDS,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def accepts(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


PYTHON = ["/usr/bin/python3", "-S", "-B", "{programs}/program.py", "{size}"]
PYTHON_NEED = ("command:python3=python3",)
SAME_HASHES = {"PYTHONHASHSEED": "0"}
PROGRAMS = [
    Program("gcc -O2", ["gcc", "-O2", "-c", "{root}/core/emma.c", "-o", "{folder}/emma.o"], ("command:gcc=gcc",)),
    Program("python3", PYTHON, PYTHON_NEED, "30", "1", SAME_HASHES),
    Program("python3, PYTHONMALLOC=malloc", PYTHON, PYTHON_NEED, "30", "1", {**SAME_HASHES, "PYTHONMALLOC": "malloc"}),
    Redis(),
    Program("sqlite3", ["sqlite3", ":memory:", ".param init", ".param set :rows {size}", ".read {programs}/program.sql"],
            ("command:sqlite3=sqlite3",), "200000", "1000"),
    Program("node", ["node", "{programs}/program.js", "{size}"], ("command:node=nodejs",), "30", "1"),
    Program("chromium", ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir={folder}/chromium",
                         "--dump-dom", "data:text/html,<p>emma"]),
]


def commands_of(program):
    """The names of what it runs, in its own command or in its needs."""
    return [need.partition(":")[2].partition("=")[0] for need in program.need] or [program.command[0]]


def available(install):
    """The programs that are here, or could be installed; and what there is to say about the others."""
    found, skipped = [], []
    for program in PROGRAMS:
        if program.need and install:
            try:
                install_packages(program.need, True)
            except BenchError:
                pass  # require_packages has said why, and the program is named below
        missing = [name for name in commands_of(program) if shutil.which(name, path=CHILD_ENVIRONMENT["PATH"]) is None]
        if missing:
            skipped.append(f"{program.name}: there is no {' nor '.join(missing)} here")
        else:
            found.append(program)
    return found, skipped
