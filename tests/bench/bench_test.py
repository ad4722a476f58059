"""bench_test.py BENCHMARK FOLDER: tries tests/bench/run BENCHMARK with tiny sizes; FOLDER takes what it writes.

Checks that the report is complete, that each Lua program prints the same on every allocator and on plain Lua, and that bad
options are refused by name. Exit status 77: packages of the rivals are missing here."""
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUN = HERE / "run"
SKIPPED = 77
ALLOCATORS = ["emma", "emma-destroyed", "glibc", "mimalloc", "jemalloc", "tcmalloc", "floor"]
VARIANT = "twin"
ROUNDS = 2
COUNTED_PROGRAMS = ["binary_trees", "strings"]
LEAST_PROGRAMS = 10
TARGETS = 12
MALLOCS = ["emma", "glibc", "mimalloc", "jemalloc", "tcmalloc"]
MALLOC_WORKLOADS = ["own", "false_passive"]
MALLOC_THREADS = ["1", "3"]
MALLOC_TARGETS = 10
PEER = "peer"

# Arguments, the exit status, and what the message must name.
REFUSED_BY_ALL = [
    ([], 2, "usage"),
    (["no_such_benchmark"], 2, "no_such_benchmark"),
]
REFUSED_BY_LUA = [
    (["lua", "--rounds", "0"], 2, "'0'"),
    (["lua", "--rounds", "many"], 2, "'many'"),
    (["lua", "--only", "no_such_program"], 1, "no_such_program"),
    (["lua", "--allocators", "no_such_allocator"], 1, "no_such_allocator"),
    (["lua", "--allocators", ","], 1, "--allocators"),
    (["lua", "--rows", "no_such_row"], 1, "no_such_row"),
    (["lua", "--pin", "100000"], 1, "100000"),
    (["lua", "--variant", "nonsense"], 1, "nonsense"),
    (["lua", "--variant", "x=/no/such/tree"], 1, "/no/such/tree"),
    (["lua", "--variant", f"glibc={ROOT}"], 1, "glibc"),
    (["lua", "--variant", f"x={ROOT}:-fno-such-flag"], 1, "-fno-such-flag"),
    (["lua", "--no-such-option"], 2, "--no-such-option"),
]
REFUSED_BY_MALLOC = [
    (["malloc", "--rounds", "0"], 2, "'0'"),
    (["malloc", "--only", "no_such_workload"], 1, "no_such_workload"),
    (["malloc", "--allocators", "no_such_allocator"], 1, "no_such_allocator"),
    (["malloc", "--rows", "no_such_row"], 1, "no_such_row"),
    (["malloc", "--threads", "0"], 2, "'0'"),
    (["malloc", "--threads", "1,many"], 2, "'many'"),
    (["malloc", "--threads", "1000"], 2, "'1000'"),
    (["malloc", "--peer", "nonsense"], 1, "nonsense"),
    (["malloc", "--peer", "mimalloc=/no/matter"], 1, "mimalloc"),
    (["malloc", "--peer", "x=/no/such/library.so"], 1, "/no/such/library.so"),
    (["malloc", "--peer", f"x={RUN}"], 1, "is not an ELF shared library"),
    (["malloc", "--variant", "x=/no/such/tree"], 1, "/no/such/tree"),
    (["malloc", "--rust-crate", "/no/such/crate"], 1, "/no/such/crate"),
    (["malloc", "--no-such-option"], 2, "--no-such-option"),
]

REFUSED_BY_SANDBOX = [
    (["sandbox", "--rounds", "0"], 2, "'0'"),
    (["sandbox", "--only", "no_such_program"], 1, "no_such_program"),
    (["sandbox", "--rows", "no_such_row"], 1, "no_such_row"),
    (["sandbox", "--rows", ","], 1, "--rows"),
    (["sandbox", "--pin", "100000"], 1, "100000"),
    (["sandbox", "--variant", "nonsense"], 1, "nonsense"),
    (["sandbox", "--variant", "x=/no/such/tree"], 1, "/no/such/tree"),
    (["sandbox", "--variant", f"emma={ROOT}"], 1, "emma"),
    (["sandbox", "--variant", f"x={ROOT}:-fno-such-flag", "--rows", "pool"], 1, "-fno-such-flag"),
    (["sandbox", "--no-such-option"], 2, "--no-such-option"),
]
SANDBOX_PROGRAMS = ["coroutines", "strings"]
SANDBOX_TIMED = {  # a figure that each case of a row has, and how many cases there are
    "rollback": ("rollback_ns", 2), "garbage": ("rollback_ns", 1), "push": ("push_ns", 1), "growth": ("rollback_ns", 2),
    "pool": ("cycle_ns", 1), "resident": ("after", 3), "teardown": ("end", 1)}
SANDBOX_SHARED = {"pool": "fresh state, glibc", "teardown": "lua_close, glibc"}  # one case for all kits
SANDBOX_KINDS = 4
SANDBOX_TARGETS = 12

problems = []


def check(condition, problem):
    if not condition:
        problems.append(problem)


def run_tool(benchmark, folder, *arguments):
    command = [RUN, benchmark, "--quick", "--no-install", "--build-dir", folder, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode == SKIPPED:
        print(done.stderr)
        sys.exit(SKIPPED)
    check(done.returncode == 0, f"exit status {done.returncode} of {' '.join(map(str, arguments))}:\n{done.stderr}")
    report, markdown = (json.loads((folder / f"{benchmark}.json").read_text()), (folder / f"{benchmark}.md").read_text())
    check(report["failures"] == [], f"failures: {report['failures']}")
    check(done.stdout.startswith(markdown), f"the report on stdout is not that in {benchmark}.md")
    return report, markdown


def check_programs(report, markdown, names):
    programs = report["results"]["programs"]
    check(len(programs) >= LEAST_PROGRAMS, f"only {len(programs)} programs")
    for program, result in programs.items():
        check(result["output"].startswith(program), f"{program} printed {result['output']!r}")
        check(f"| {program}" in markdown, f"{program} is not in the Markdown")
        for name in names:
            runs = result["runs"].get(name, [])
            check(len(runs) == ROUNDS, f"{program}: {len(runs)} runs on {name}")
            for run in filter(None, runs):
                for field in ("cpu_ns", "wall_ns", "peak_kib", "minor_faults"):
                    check(run[field] > 0, f"{program} on {name}: {field} is {run[field]}")
    for name in names:
        check(report["summary"]["programs"]["mean"]["cpu"][name] is not None, f"no mean for {name}")


def check_rows(report, markdown, names):
    closing = [name for name in names if not name.endswith("-destroyed")]
    rows = report["results"]
    for kind, field in (("states", "cycle_ns"), ("instances", "heap_ns"), ("resident", "after")):
        for key, runs in rows["instances"][kind].items():
            check(len([run for run in runs if run and field in run]) == ROUNDS, f"{kind}: {key} is incomplete")
    for name in closing:
        check(name in rows["instances"]["resident"], f"resident: {name} is missing")
        check(f"{name}, lua_close" in rows["instances"]["states"], f"states: {name} is missing")
        check(f"{name}, lua_close" in rows["teardown"]["runs"], f"teardown: {name} is missing")
        check(len(rows["growth"]["runs"].get(name, [])) == ROUNDS, f"growth: {name} is incomplete")
    states = rows["instances"]["states"]
    for name in ("emma", VARIANT, "jemalloc"):
        check(f"{name}, reset" in states, f"states: {name}, reset is missing")
    fresh, reset = (max([run["minor_faults"] for run in states.get(f"emma, {end}", []) if run], default=0)
                    for end in ("destroyed", "reset"))
    check(reset < fresh, f"states: {reset} page faults with resets, {fresh} with new instances")
    for key in ("emma", "emma, limit 8 MiB"):
        check(all("kernel_ns" in run for run in rows["instances"]["instances"][key]), f"no kernel floor for {key}")
    for title in ("## Programs: time", "## Programs: memory", "## Instances", "## Throwing away", "## Growing", "## Targets"):
        check(title in markdown, f"'{title}' is not in the Markdown")


def check_targets(report, count, unmeasured):
    targets = report["summary"]["targets"]
    check(len(targets) == count, f"{len(targets)} targets")
    for target in targets:
        expected = "not measured" if re.search(unmeasured, target["measure"]) else "met|[*]*missed[*]*"
        check(re.fullmatch(expected, target["verdict"]), f"verdict on '{target['measure']}': {target['verdict']}")


def check_instructions(report, names):
    for program in COUNTED_PROGRAMS:
        for name in names:
            figures = report["results"]["instructions"][program].get(name)
            if figures is None:
                problems.append(f"no instructions of {program} on {name}")
                continue
            check(0 < figures["adapter"] < figures["program"], f"instructions of {program} on {name}: {figures}")
            check(figures["calls"] > 0, f"no calls in {program} on {name}")


def check_chart(file, least_bars):
    chart = ElementTree.parse(file).getroot()
    bars = [element for element in chart.iter() if element.tag.endswith("rect")]
    check(len(bars) > least_bars, f"the chart has only {len(bars)} bars")


def check_outputs(folder, names):
    """Without the tool: the hosts themselves, and plain Lua where there is one."""
    plain = shutil.which("lua5.4")
    for script in sorted((HERE / "lua").glob("*.lua")):
        size = re.search(r"^-- sizes: .*quick=(\d+)", script.read_text(), re.MULTILINE).group(1)
        commands = {name: [folder / f"lua_host-{name}", "program", script, size] for name in names}
        if plain:
            commands["plain Lua"] = [plain, script, size]
        outputs = {}
        for name, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True)
            check(done.returncode == 0 and done.stdout, f"{script.name} on {name}: {done.stderr}")
            outputs.setdefault(done.stdout, []).append(name)
        check(len(outputs) == 1, f"{script.name}: outputs differ: {outputs}")


def check_refusals(refused, *more):
    for arguments, status, word in refused:
        done = subprocess.run([RUN, *arguments, *(more if arguments else [])], capture_output=True, text=True)
        said = f"{' '.join(map(str, arguments))}: exit status {done.returncode}, {done.stderr!r}"
        check(done.returncode == status and word in done.stderr and "Traceback" not in done.stderr, said)


def try_lua(folder):
    names = [*ALLOCATORS, VARIANT]
    report, markdown = run_tool("lua", folder / "rows", "--rows", "programs,instances,teardown,growth",
                                "--variant", f"{VARIANT}={ROOT}:-O1")
    check_programs(report, markdown, names)
    check_rows(report, markdown, names)
    check_targets(report, TARGETS, "instructions")
    check_chart(folder / "rows" / "lua.svg", LEAST_PROGRAMS)
    check_outputs(folder / "rows", [name for name in names if not name.endswith("-destroyed")])
    report, _ = run_tool("lua", folder / "counted", "--rows", "instructions", "--only", ",".join(COUNTED_PROGRAMS))
    check_instructions(report, [name for name in ALLOCATORS if not name.endswith("-destroyed")])
    check_targets(report, TARGETS, "^(?!.*instructions)")
    check_refusals(REFUSED_BY_LUA, "--build-dir", folder / "refused")


def check_mixes(report, markdown, names):
    mixes = report["results"]["mixes"]
    check(list(mixes) == MALLOC_WORKLOADS, f"the workloads are {list(mixes)}")
    for workload in MALLOC_WORKLOADS:
        for threads in MALLOC_THREADS:
            check(f"| {workload} {threads} " in markdown, f"{workload} {threads} is not in the Markdown")
            for name in names:
                runs = mixes.get(workload, {}).get(threads, {}).get(name, [])
                check(len(runs) == 1, f"{workload} {threads}: {len(runs)} runs on {name}")
                for run in filter(None, runs):
                    for field in ("cpu_ns", "wall_ns", "operations", "peak_kib", "minor_faults"):
                        check(run[field] > 0, f"{workload} {threads} on {name}: {field} is {run[field]}")
    served = {allocator["name"]: allocator["served_by"] for allocator in report["allocators"]}
    for name in MALLOCS:
        library = "libc.so" if name == "glibc" else name
        check(library in served.get(name, ""), f"malloc of {name} is served by {served.get(name)}")


def check_own_checks(folder):
    """The program of the workloads refuses what it does not know."""
    for arguments in (["no_such_workload", "1", "1"], ["own", "0", "1"], ["own", "1", "x"], []):
        done = subprocess.run([folder / "malloc_mix", *arguments], capture_output=True, text=True)
        check(done.returncode != 0 and done.stderr, f"malloc_mix {' '.join(arguments)} was not refused")


def try_malloc(folder):
    rows = ["--rounds", "1", "--rust-crate", "none", "--only", ",".join(MALLOC_WORKLOADS)]
    report, markdown = run_tool("malloc", folder, *rows, "--rows", "mixes,alternate", "--threads", ",".join(MALLOC_THREADS))
    check_mixes(report, markdown, MALLOCS)
    check_targets(report, MALLOC_TARGETS, "Lua|Rust|programs|producers")
    check_chart(folder / "malloc.svg", len(MALLOC_WORKLOADS) * len(MALLOCS))
    check_own_checks(folder)
    check_refusals([(["malloc", "--allocators", "glibc", "--rows", "mixes"], 1, "--build-dir: cannot make /dev/null")],
                   "--no-install", "--build-dir", "/dev/null")
    library = folder / "peer.so"
    shutil.copy(folder / "malloc-emma" / "libemma-malloc.so", library)
    report, _ = run_tool("malloc", folder, *rows, "--rows", "mixes", "--allocators", "glibc", "--threads", "1",
                         "--peer", f"{PEER}={library}")
    check(PEER in report["rivals"] and report["results"]["mixes"]["own"]["1"].get(PEER), "the peer was not measured")
    check_refusals(REFUSED_BY_MALLOC, "--build-dir", folder)
    check_useless_peer(folder)


def check_useless_peer(folder):
    """A library that has no malloc."""
    useless = folder / "useless.so"
    subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-o", useless], check=True)
    check_refusals([(["malloc", "--allocators", "glibc", "--rows", "mixes", "--peer", f"x={useless}"], 1,
                     "malloc is not served by")], "--no-install", "--build-dir", folder)


def check_sandbox_rows(report, markdown):
    """Each row has all its cases for both kits, and a figure of every round."""
    for row, (field, cases) in SANDBOX_TIMED.items():
        result = report["results"][row]
        runs = result.get("runs", result)
        expected = 2 * cases + (row in SANDBOX_SHARED)
        check(len(runs) == expected, f"{row}: {len(runs)} cases: {list(runs)}")
        check(row not in SANDBOX_SHARED or SANDBOX_SHARED[row] in runs, f"{row}: nothing to compare with")
        for key, figures in runs.items():
            check(len([run for run in figures if run and field in run]) == ROUNDS, f"{row}: {key} is incomplete")
            check(f"| {key} " in markdown, f"{row}: {key} is not in the Markdown")
    for run in report["results"]["rollback"]["the same object each time"]:
        check(run["first_faults"] == 0 and run["dirty_pages"] > 0, f"rollback: {run}")
    for run in report["results"]["teardown"]["runs"]["killed and destroyed"]:
        check(run["after"]["rss_kib"] < run["full"]["rss_kib"], f"teardown: no memory was given back: {run}")


def check_sandbox_programs(report):
    for row in ("programs", "instructions"):
        programs = report["results"][row]
        check(list(programs) == SANDBOX_PROGRAMS, f"{row}: the programs are {list(programs)}")
        for program, result in programs.items():
            figures = result["runs"] if row == "programs" else result
            check(len(figures) == 2 * SANDBOX_KINDS, f"{row}, {program}: the cases are {list(figures)}")
            check(all(figures.values()), f"{row}, {program}: {figures}")
        check(all(report["summary"][row]["mean"].values()), f"{row}: no mean: {report['summary'][row]['mean']}")
    budget = report["results"]["programs"]["strings"]["runs"]["and a budget"]
    check(all(run["instructions"] > 0 for run in budget), f"programs: nothing was counted: {budget}")


def check_sandbox_host(folder):
    """The program refuses what it does not know."""
    for arguments in (["no_such_mode"], ["pool"], ["pool", "/no/such/prelude.lua"], ["rollback", "--touched", "0", RUN],
                      ["program", "--kind", "no_such_kind", RUN], ["resident", "--no-such-option"], []):
        done = subprocess.run([folder / "sandbox_host-emma", *arguments], capture_output=True, text=True)
        check(done.returncode > 0 and done.stderr, f"sandbox_host {' '.join(map(str, arguments))} was not refused")


def can_ask_server():
    known = subprocess.run(["pkg-config", "--exists", "libmicrohttpd"]) if shutil.which("pkg-config") else None
    return (ROOT / "examples" / "pool_server.c").is_file() and shutil.which("wrk") and known and known.returncode == 0


def try_sandbox(folder):
    rows = [*SANDBOX_TIMED, "programs", "instructions", *(["server"] if can_ask_server() else [])]
    report, markdown = run_tool("sandbox", folder, "--rows", ",".join(rows), "--only", ",".join(SANDBOX_PROGRAMS),
                                "--variant", f"{VARIANT}={ROOT}:-O1")
    check_sandbox_rows(report, markdown)
    check_sandbox_programs(report)
    check_targets(report, SANDBOX_TARGETS, "server" if "server" not in rows else "no such target")
    for key, runs in report["results"].get("server", {}).items():
        check(len([run for run in runs if run and run["requests_per_second"] > 0]) == ROUNDS, f"server: {key} is incomplete")
    check_chart(folder / "sandbox.svg", len(SANDBOX_TIMED) * 2)
    check_sandbox_host(folder)
    check_refusals(REFUSED_BY_SANDBOX, "--build-dir", folder / "refused")


def main():
    benchmark, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    {"lua": try_lua, "malloc": try_malloc, "sandbox": try_sandbox}[benchmark](folder)
    check_refusals(REFUSED_BY_ALL)
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
