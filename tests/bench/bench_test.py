"""bench_test.py FOLDER: tries tests/bench/run lua with tiny sizes; FOLDER takes what it writes.

Checks that the report is complete, that each program prints the same on every allocator and on plain Lua, and that bad
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

# Arguments, the exit status, and what the message must name.
REFUSED = [
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
    (["no_such_benchmark"], 2, "no_such_benchmark"),
]

problems = []


def check(condition, problem):
    if not condition:
        problems.append(problem)


def run_tool(folder, *arguments):
    command = [RUN, "lua", "--quick", "--no-install", "--build-dir", folder, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode == SKIPPED:
        print(done.stderr)
        sys.exit(SKIPPED)
    check(done.returncode == 0, f"exit status {done.returncode} of {' '.join(map(str, arguments))}:\n{done.stderr}")
    report = json.loads((folder / "lua.json").read_text())
    check(report["failures"] == [], f"failures: {report['failures']}")
    check(done.stdout.startswith((folder / "lua.md").read_text()), "the report on stdout is not that in lua.md")
    return report, (folder / "lua.md").read_text()


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


def check_targets(report, unmeasured):
    targets = report["summary"]["targets"]
    check(len(targets) == TARGETS, f"{len(targets)} targets")
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


def check_chart(folder):
    chart = ElementTree.parse(folder / "lua.svg").getroot()
    bars = [element for element in chart.iter() if element.tag.endswith("rect")]
    check(len(bars) > LEAST_PROGRAMS, f"the chart has only {len(bars)} bars")


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


def check_refusals(folder):
    for arguments, status, word in REFUSED:
        done = subprocess.run([RUN, *arguments, *(["--build-dir", folder] if arguments[0] == "lua" else [])],
                              capture_output=True, text=True)
        said = f"{' '.join(arguments)}: exit status {done.returncode}, {done.stderr!r}"
        check(done.returncode == status and word in done.stderr and "Traceback" not in done.stderr, said)


def main():
    folder = Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    names = [*ALLOCATORS, VARIANT]
    report, markdown = run_tool(folder / "rows", "--rows", "programs,instances,teardown,growth",
                                "--variant", f"{VARIANT}={ROOT}:-O1")
    check_programs(report, markdown, names)
    check_rows(report, markdown, names)
    check_targets(report, "instructions")
    check_chart(folder / "rows")
    check_outputs(folder / "rows", [name for name in names if not name.endswith("-destroyed")])
    report, _ = run_tool(folder / "counted", "--rows", "instructions", "--only", ",".join(COUNTED_PROGRAMS))
    check_instructions(report, [name for name in ALLOCATORS if not name.endswith("-destroyed")])
    check_targets(report, "^(?!.*instructions)")
    check_refusals(folder / "refused")
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
