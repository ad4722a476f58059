"""The command behind tests/bench/run: picks the benchmark that the first argument names."""
import sys

import bench_lua
import bench_malloc
import bench_modules
import bench_python
import bench_sandbox
from bench_lib import BenchError, PackagesMissing

EXIT_PACKAGES_MISSING = 77  # with --no-install
BENCHMARKS = {"lua": bench_lua.main, "malloc": bench_malloc.main, "modules": bench_modules.main, "python": bench_python.main,
              "sandbox": bench_sandbox.main}


def main(arguments):
    if arguments and arguments[0] in BENCHMARKS:
        return BENCHMARKS[arguments[0]](arguments[1:])
    names = ", ".join(BENCHMARKS)
    asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help")
    print(f"usage: tests/bench/run BENCHMARK [options]\nbenchmarks: {names}; BENCHMARK --help lists its options",
          file=sys.stdout if asked_for_help else sys.stderr)
    if arguments and not asked_for_help:
        print(f"tests/bench/run: there is no benchmark '{arguments[0]}'", file=sys.stderr)
    return 0 if asked_for_help else 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PackagesMissing as error:
        print(f"tests/bench/run: {error}", file=sys.stderr)
        sys.exit(EXIT_PACKAGES_MISSING)
    except BenchError as error:
        print(f"tests/bench/run: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ntests/bench/run: interrupted, nothing written", file=sys.stderr)
        sys.exit(130)
