"""emma-lua --sample: which lines allocate and whose blocks live, and that programs do not notice."""

import json
import math
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

EMMA_LUA = os.environ["EMMA_TEST_EMMA_LUA"]
PROGRAMS = sorted((Path(__file__).resolve().parent.parent / "lua" / "programs").glob("*.lua"))
SECONDS = 300

LEAK = """local keep = {}
local function leak(i)
  keep[#keep + 1] = string.rep("x", 1000) .. i
end
local function churn(i)
  return ("y"):rep(2000) .. i
end
for i = 1, 20000 do
  leak(i)
  churn(i)
end
collectgarbage() collectgarbage()
"""
LEAKED = 20000 * (1000 + 5 + 25)


class Sites(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="emma-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_lua(self, *arguments):
        return subprocess.run(["lua", *arguments], executable=EMMA_LUA, cwd=self.folder, capture_output=True, text=True,
                              timeout=SECONDS, check=False)

    def sites(self, code, *options):
        """The report's sites: text of a stack, outermost first, to its figures."""
        (self.folder / "s.lua").write_text(code)
        done = self.run_lua("--report=r.json", *options, "s.lua")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.printed = done.stdout
        self.report = json.loads((self.folder / "r.json").read_text())
        sites = self.report["sites"]
        if sites is None:
            return None
        rows = [dict(zip(sites["columns"], row)) for row in sites["rows"]]
        return {" ".join("{}@{}:{}".format(*sites["frames"][number]) for number in row["stack"]): row for row in rows}

    def at(self, sites, text, figure):
        return sum(row[figure] for stack, row in sites.items() if text in stack)

    def assert_estimate(self, found, expected, rate):
        deviation = math.sqrt(expected * rate)
        self.assertLess(abs(found - expected), 6 * deviation)

    def test_off(self):
        self.assertIsNone(self.sites(LEAK))

    def test_leak_is_at_the_top(self):
        exact = self.sites(LEAK, "--sample=1")
        self.assertAlmostEqual(self.at(exact, "leak@s.lua:3", "live_bytes"), LEAKED, delta=LEAKED / 10)
        for rate in (1 << 10, 64 << 10):
            sites = self.sites(LEAK, f"--sample={rate}")
            self.assertEqual(self.report["sites"]["rate_bytes"], rate)
            top = max(sites, key=lambda stack: sites[stack]["live_bytes"])
            self.assertTrue(top.endswith("leak@s.lua:3"), top)
            self.assertIn("main chunk@s.lua:9", top)
            for place, figure in (("leak@s.lua:3", "live_bytes"), ("leak@s.lua:3", "allocated_bytes"), ("churn@s.lua:6", "allocated_bytes")):
                self.assert_estimate(self.at(sites, place, figure), self.at(exact, place, figure), rate)
            self.assertLess(self.at(sites, "churn@", "live_bytes"), LEAKED / 20)

    def test_default_rate(self):
        sites = self.sites(LEAK, "--sample")
        self.assertEqual(self.report["sites"]["rate_bytes"], 512 << 10)
        self.assert_estimate(self.at(sites, "leak@s.lua:3", "live_bytes"), LEAKED, 512 << 10)

    def test_all_live_bytes_are_told_with_every_block(self):
        sites = self.sites(LEAK, "--sample=1")
        asked_for = sum(row["bytes"] for row in self.report["types"])
        self.assertAlmostEqual(sum(row["live_bytes"] for row in sites.values()), asked_for, delta=asked_for / 1000)
        self.assertEqual(self.report["sites"]["missed"], 0)

    def test_lines_of_tables_and_functions(self):
        code = """local keep = {}
local function make(i)
  local first = {}
  local second = { i }
  local third = function() return first end
  local fourth = i
  return second
end
for i = 1, 20000 do
  keep[i] = make(i)
end
"""
        sites = self.sites(code, "--sample=1K")
        self.assert_estimate(self.at(sites, "make@s.lua:5", "allocated_bytes"), 20000 * (40 + 40), 1 << 10)
        for line in (6, 7):
            self.assertEqual(self.at(sites, f"make@s.lua:{line}", "allocated_bytes"), 0)
        tables = self.at(sites, "make@s.lua:3", "allocated_bytes") + self.at(sites, "make@s.lua:4", "allocated_bytes")
        self.assert_estimate(tables, 20000 * (56 + 56 + 16), 1 << 10)

    def test_c_functions_have_names(self):
        sites = self.sites(LEAK, "--sample=4K")
        self.assertTrue([stack for stack in sites if stack.endswith("churn@s.lua:6 rep@[C]:0")], list(sites))

    def test_coroutines(self):
        code = """local keep = {}
local function fill(n)
  for i = 1, n do
    keep[#keep + 1] = ("c"):rep(500) .. i
    if i % 10 == 0 then coroutine.yield() end
  end
end
local co = coroutine.wrap(function() fill(10000) end)
for i = 1, 1000 do
  co()
  local junk = ("m"):rep(800) .. i
end
"""
        sites = self.sites(code, "--sample=8K")
        exact = self.sites(code, "--sample=1")
        self.assertGreater(self.at(exact, "fill@s.lua:4", "live_bytes"), 10000 * 520)
        self.assert_estimate(self.at(sites, "fill@s.lua:4", "live_bytes"), self.at(exact, "fill@s.lua:4", "live_bytes"), 8 << 10)
        stacks = [stack for stack in sites if "fill@s.lua:4" in stack]
        self.assertFalse([stack for stack in stacks if "main chunk" in stack], "a coroutine has a stack of its own")
        self.assertGreater(self.at(sites, "main chunk@s.lua:11", "allocated_bytes"), 400_000)

    def test_hooks_of_the_program(self):
        """Lines, calls and returns come as without; and a hook that counts is not made to begin anew."""
        code = """
local function work()
  local t = {}
  for i = 1, 300 do
    t[i] = ("z"):rep(100) .. i
    if i % 50 == 0 then t = {} end
  end
  return t
end
for _, mask in ipairs { "l", "c", "r", "crl", "cr" } do
  local events = {}
  debug.sethook(function(event, line) events[#events + 1] = event .. ":" .. tostring(line) end, mask)
  assert(debug.gethook())
  work()
  local co = coroutine.wrap(function() work() coroutine.yield() work() end)
  co() co()
  debug.sethook()
  assert(debug.gethook() == nil)
  print(mask, #events, table.concat(events, " "))
end
local counted = 0
debug.sethook(function() counted = counted + 1 end, "", 100)
for i = 1, 2000 do local s = ("q"):rep(50) .. i end
debug.sethook()
print(counted)
print(select(2, pcall(function()
  debug.sethook(function() error("stopped", 0) end, "", 1000)
  while true do local s = {} end
end)))
"""
        self.sites(code)
        expected = self.printed
        self.assertIn("stopped", expected)
        for rate in ("1", "200", "64K"):
            sites = self.sites(code, f"--sample={rate}")
            self.assertEqual(self.printed, expected, rate)
        self.assertGreater(self.at(self.sites(code, "--sample=1"), "a hook of the program's counts", "allocated_bytes"), 0)

    def test_errors_and_ends(self):
        code = """
local log = {}
for i = 1, 200 do
  local ok, message = pcall(function() local t = { ("e"):rep(i) } error(t[1]) end)
  log[#log + 1] = #message
  local ok, message = pcall(string.rep, "x", -1, {})
  local co = coroutine.create(function() local t <close> = setmetatable({}, { __close = function() log[#log + 1] = "c" .. i end })
    coroutine.yield(("y"):rep(i)) end)
  coroutine.resume(co)
  if i % 2 == 0 then coroutine.close(co) end
  setmetatable({}, { __gc = function() local t = { ("g"):rep(10) .. i } end })
end
collectgarbage()
print(table.concat(log, ","))
local stack = {}
local function deep(n) local t = { n } if n > 0 then return 1 + deep(n - 1) end return 0 end
print(deep(5000), select("#", table.unpack({}, 1, 200)))
os.exit(true, true)
"""
        self.sites(code)
        expected = self.printed
        for rate in ("1", "200", "64K"):
            self.sites(code, f"--sample={rate}")
            self.assertEqual(self.printed, expected, rate)

    def test_stack_overflow(self):
        """Lua's hook takes time for each level that there is: no sample at each."""
        code = "print(pcall(function() local function f() return f() + 1 end f() end))"
        self.sites(code)
        expected = self.printed
        self.sites(code, "--sample=64K")
        self.assertEqual(self.printed, expected)

    def test_many_sites(self):
        code = "".join(f"local function f{i}() return ('x'):rep(30) .. {i} end f{i}()\n" if i % 150 else "do end\n" for i in range(1, 190))
        code += """for i = 1, 20000 do
  local f = load("return ('w'):rep(40) .. " .. i, "=chunk" .. i)
  f()
end
"""
        sites = self.sites(code, "--sample=1")
        self.assertGreater(self.at(sites, "(other sites)", "allocated_bytes"), 0)
        self.assertGreater(len(sites), 10000)
        self.assertLessEqual(len(sites), 1 << 14)

    def test_programs_do_not_notice(self):
        self.assertGreaterEqual(len(PROGRAMS), 4)
        for program in PROGRAMS:
            plain = self.run_lua(str(program))
            for options in (["--sample=64K"], ["--sample=1K", "--limit", "256M"]):
                done = self.run_lua("--report=r.json", *options, str(program))
                self.assertEqual((done.returncode, done.stdout, done.stderr), (plain.returncode, plain.stdout, plain.stderr),
                                 (program.name, options))

    def test_at_the_limit(self):
        code = """local ok, message = pcall(function() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end)
print(ok, message)"""
        self.sites(code, "--limit", "4M", "--sample=1K")
        self.assertEqual(self.printed, "false\tnot enough memory\n")

    def test_options(self):
        for arguments, why in ((["--sample", "-e", ""], "--sample needs --report"), (["--sample=0", "--report=r.json"], "below the minimum of 1 byte"),
                               (["--sample=x", "--report=r.json"], "'x' is not a size")):
            done = self.run_lua(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
