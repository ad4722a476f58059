#!/usr/bin/env python3
"""Compares emma-lua with lua: the same command lines, scripts and keys, the same stdout, stderr and exit status.

    behaviour.py --emma-lua PATH --lua PATH [--modules FOLDER] [GROUP ...]

Without a group, all of them. Both programs are started under the name "lua", so that messages need no translation.
What emma-lua has beyond lua (limits, statistics, reports) is checked for itself. Exit status 1: something differs,
and it was printed; 77: this machine cannot run the group."""

import argparse
import contextlib
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = 120  # for one run of a program; more is a hang
DIALOGUE_SECONDS = 60
SKIPPED = 77

MIB = 1 << 20


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __eq__(self, other):
        return (self.status, self.out, self.err) == (other.status, other.out, other.err)

    def __str__(self):
        return "exit status %s\n--- stdout\n%s--- stderr\n%s" % (self.status, self.out, self.err)


def plain(raw):
    """Text without what no two runs share: addresses, and how many slots of its stack Lua itself had in use."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", raw.decode("utf-8", "replace"))
    return re.sub(r"\(skipping \d+ levels\)", "(skipping levels)", text)


class Suite:
    def __init__(self, emma_lua, lua, modules):
        self.emma_lua, self.lua = os.path.abspath(emma_lua), os.path.abspath(lua)
        self.modules = modules and os.path.abspath(modules)
        self.failures, self.checks = 0, 0
        self.directory = None

    def environment(self, extra):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS")
                if name in os.environ}
        kept.update({"LC_ALL": "C", "TERM": "dumb", "INPUTRC": "/dev/null"})
        kept.update(extra or {})
        return kept

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def run(self, program, arguments, stdin=b"", env=None, name="lua"):
        ran = subprocess.run([name] + arguments, executable=program, input=stdin, capture_output=True,
                             cwd=self.directory, env=self.environment(env), timeout=SECONDS, check=False)
        return Result(ran.returncode, plain(ran.stdout), plain(ran.stderr))

    def emma(self, *arguments, stdin=b"", env=None):
        return self.run(self.emma_lua, list(arguments), stdin, env, name="emma-lua")

    def fail(self, what, *details):
        self.failures += 1
        print("FAILED: " + what)
        for detail in details:
            print(str(detail).rstrip("\n"))
        print()

    def check(self, condition, what, *details):
        self.checks += 1
        if not condition:
            self.fail(what, *details)
        return bool(condition)

    def same(self, *arguments, stdin=b"", env=None, extra=()):
        """emma-lua, with the `extra` options of its own, does what lua does with these arguments."""
        expected = self.run(self.lua, list(arguments), stdin, env)
        actual = self.run(self.emma_lua, list(extra) + list(arguments), stdin, env)
        self.check(actual == expected, "emma-lua %r differs" % (list(extra) + list(arguments),),
                   "lua: %s" % expected, "emma-lua: %s" % actual)

    def same_script(self, text, *arguments, stdin=b"", env=None):
        """The same for a script: as a file, and with a limit, which must not be noticed."""
        self.write("script.lua", text)
        self.same("script.lua", *arguments, stdin=stdin, env=env)
        expected = self.run(self.lua, ["script.lua"] + list(arguments), stdin, env)
        actual = self.run(self.emma_lua, ["--limit", "16M", "script.lua"] + list(arguments), stdin, env)
        without_arg = (actual.status, actual.out, actual.err) == (expected.status, expected.out, expected.err)
        self.check(without_arg, "emma-lua --limit 16M differs for the script\n" + text, "lua: %s" % expected,
                   "emma-lua: %s" % actual)


# ---- groups ----

def group_arguments(suite):
    show = suite.write("show.lua", "local first = math.mininteger\n"
                       "for i = -20, 20 do if arg[i] then io.write(i, '=', arg[i], ' ') end end\n"
                       "print('...', select('#', ...), ...)\n")
    del show
    suite.write("-dash.lua", "print('dash', ...)")
    for arguments in (
            ["show.lua"], ["show.lua", "a", "b c", ""], ["show.lua", "-e", "x"], ["--", "show.lua", "a"],
            ["-e", "print(1)", "show.lua", "x"], ["-e", "x=1", "-e", "print(x)"], ["-eprint(2)"], ["-e", ""],
            ["-e", "print(#arg, arg[0], arg[-1])"], ["-", "a"], ["-", "-e"], ["--", "-dash.lua", "q"],
            ["-v"], ["-v", "-e", "print(1)"], ["-E", "-v"], ["-W", "-e", "warn('careful')"],
            ["-e", "warn('unheard')"], ["-W", "-e", "warn('@off') warn('a') warn('@on') warn('b', 'c')"],
            ["-e", "warn('@on')", "-e", "warn('heard')"], ["-W", "-e", "warn('@what') warn('x')"],
            ["-v", "--"], ["-W", "-W", "show.lua"], ["-E", "show.lua", "1"], ["--"], ["--", "-"],
            ["-e", "arg = nil", "show.lua"], ["-e", "arg = 5", "show.lua"], ["-e", "arg[1] = 'changed'", "show.lua", "a"],
            ["-e", "arg = {'p', 'q', 'r'}", "show.lua", "a"],
            ["-e", "arg = setmetatable({}, {__len = function() return 1e7 end})", "show.lua"]):
        suite.same(*arguments, stdin=b"print('from stdin', ...)\n")
    for own in (["--limit", "8M"], ["--limit=8M"], ["--limit", "8388608"], ["--limit", "8192k"], ["--limit", "8MiB"],
                ["--limit", "8mb"], ["--soft-limit", "8M"]):
        suite.same("-e", "print(1, ...)", extra=own)
        suite.same("-e", "print(1, ...)", "-", "a", stdin=b"print(...)", extra=own)
    ran = suite.emma("--limit", "8M", "show.lua", "a")
    suite.check(ran.out.startswith("-3=emma-lua -2=--limit -1=8M 0=show.lua 1=a"), "arg holds emma-lua's options", ran)


SCRIPTS = [
    "print(_VERSION, math.type(1), 1 // 2, 7 % -3, 1e15, 2^53, -0.0, 1/0)",
    "print(collectgarbage('incremental'), collectgarbage('generational'))",
    "print(string.format('%q %5.2f %x %s', 'a\\n\\0b', 3.14159, 255, {} ~= nil))",
    "local t = {} for i = 1, 100 do t[#t + 1] = i * i end print(#t, table.concat(t, ',', 90))",
    "print(pcall(error, {code = 1}), select(2, pcall(error, 'x', 0)))",
    "local t <const> = 5 goto done do print('not here') end ::done:: print(t)",
    "print(#arg, arg[0], ...)",
    "print(os.setlocale())",
    "io.write('no end of line')",
    "#!/usr/bin/lua\nprint('after the first line')",
    "\xef\xbb\xbfprint('after a byte order mark')",
    "return 5",
    "",
    "print(debug.traceback('here', 1))",
    "print(debug.getinfo(1, 'S').source, debug.getinfo(1, 'l').currentline)",
    "print(coroutine.isyieldable(), coroutine.running())",
    "print(pcall(coroutine.yield, 1))",
    "print(pcall(os.exit, 'no number'))",
    "print(pcall(os.exit, {}, true))",
    "print(type(os.exit), debug.getinfo(os.exit).what)",
    "for name in pairs(package.loaded) do assert(type(name) == 'string') end print(package.config)",
    "print(#package.path > 0, package.path, package.cpath)",
    "print(load('syntax error here'))",
    "print(require('string') == string, package.loaded.os == os, package.loaded.os.exit == os.exit)",
    "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names) print(table.concat(names, ' '))",
    "local names = {} for name in pairs(os) do names[#names + 1] = name end table.sort(names) print(table.concat(names, ' '))",
    "print(utf8.char(72, 228, 8364, 128512), utf8.len('h\\u{e4}'))",
    "print(string.pack('<i4', 100):byte(1, -1))",
    "print(next({}), rawlen({1, 2}), rawequal('a', 'a'), select(-1, 1, 2, 3))",
    "local f = load(string.dump(function(a) return a + 1 end)) print(f(41))",
]


def group_scripts(suite):
    for text in SCRIPTS:
        suite.same_script(text, "one", "two")
        suite.same("-", stdin=text.encode("latin-1"))
    suite.same(stdin=b"print('no arguments', ...)")
    suite.same(stdin=b"error('in stdin')")
    suite.same("-i", stdin=b"")
    suite.write("binary.luac", b"")
    suite.run(suite.lua, ["-e", "local f = io.open('binary.luac', 'wb') "
                          "f:write(string.dump(function(...) print('precompiled', ...) end)) f:close()"])
    suite.same("binary.luac", "x")
    suite.write("truncated.luac", suite.read("binary.luac")[:40])
    suite.same("truncated.luac")


def group_modules(suite):
    suite.write("first.lua", "print('first is loaded', ...) return {name = 'first'}")
    suite.write("second.lua", "loaded = 'second'")
    suite.write("broken.lua", "return +")
    suite.write("failing.lua", "error('while loading')")
    suite.write("show.lua", "print(first and first.name, f and f.name, loaded, second)")
    for arguments in (["-l", "first"], ["-lfirst"], ["-l", "f=first"], ["-lf=first", "-l", "second"], ["-l", "broken"],
                      ["-l", "missing"], ["-l", "failing"], ["-l", "f="], ["-l", "=first"], ["-l", "f=missing"],
                      ["-e", "first = 1", "-l", "first"], ["-l", "f=first=x"]):
        suite.same(*arguments, "show.lua", env={"LUA_PATH": "./?.lua"})
        suite.same(*arguments, "show.lua", env={"LUA_PATH": "./?.lua", "LUA_CPATH": ";;"}, extra=["--limit", "4M"])


def group_native_modules(suite):
    """Modules in C, which call the Lua that is in the program."""
    if not suite.modules:
        print("no --modules: the tests with a module in C are left out")
        return
    env = {"LUA_CPATH": os.path.join(suite.modules, "?.so")}
    for text in ("local native = require('native') a = native.hold('first') b = native.hold('second')",
                 "a = require('native').hold('at an error') error('stop')",
                 "a = require('native').hold('at os.exit') os.exit(2)",
                 "a = require('native').hold('at a closing os.exit') os.exit(2, true)",
                 "a = require('native').hold('at exit') io.write('buffered ') require('native').leave(6)",
                 "local native = require('native') a = native.hold('in both') "
                 "print(native.fork(function() print('in the child') end))",
                 "local native = require('native') a = native.hold('in both') "
                 "print(native.fork(function() os.exit(3, true) end))",
                 "require('native').hold('early') collectgarbage() print('late')",
                 "print(package.searchpath('native', package.cpath) ~= nil, pcall(require, 'native.missing'))",
                 "print(package.loadlib(package.searchpath('native', package.cpath), 'no_such_function') == nil)"):
        suite.same_script(text, env=env)
        suite.same("-l", "native", "-e", text, env=env)
    suite.write("leave.lua", "require('native').leave(6)")
    suite.write("fork.lua", "print(require('native').fork(function() for i = 1, 1e5 do kept = {kept} end os.exit(4) end))")
    for script, status, known in (("leave.lua", 6, None), ("fork.lua", 0, 0)):
        ran = suite.emma("--report", "report.json", "--stats", script, env=env)
        report = json.loads(suite.read("report.json").decode("utf-8"))
        suite.check(ran.status == status and ran.err.count("memory of this run") == 1 and report["exit_status"] == known,
                    "one report, by the process that started: " + script, ran, report)


def group_errors(suite):
    for text in (
            "error('a message')", "error('a message', 0)", "error('a message', 2)", "error()", "error(nil)", "error({})",
            "error(42)", "error(true)", "error(setmetatable({}, {__tostring = function() return 'I am an object' end}))",
            "error(setmetatable({}, {__tostring = function() return 5 end}))",
            "error(setmetatable({}, {__tostring = function() error('inside') end}))",
            "error(setmetatable({}, {__name = 'My.Type'}))", "error(print)", "error(coroutine.create(print))",
            "local function f() error('deep') end local function g() f() end g()",
            "local function f(n) return n == 0 and error('deep') or 1 + f(n - 1) end f(50)",
            "local t = nil t.x = 1", "x.y.z = 1", "('x'):nomethod()", "local a = {} + 1", "print(#nil)", "for i = 1, 'x' do end",
            "return 1 1", "x = = 1", "for", "x = 'unfinished", "x = [[unfinished", "goto nowhere", "break",
            "local x <close> = 5", "string.rep('x', -1, 5, {}) string.rep()", "string.rep('x', 1 << 60)",
            "coroutine.wrap(function() error('in a coroutine') end)()",
            "coroutine.wrap(function() error({}) end)()", "assert(false)", "assert(nil, 'told')", "assert(false, {})",
            "setmetatable({}, {__index = function() error('index') end}).x = nil local y = setmetatable({}, "
            "{__index = function() error('index') end}).x",
            "table.sort({3, 1, 2, 5, 4}, function() error('compare') end)", "require('no.such.module')",
            "load('error(\"in a chunk\")', '=chunk')()", "print(1) error('x\\0y')", "error('two\\nlines')"):
        suite.same_script(text)
        suite.same("-e", text)
        suite.same("-", stdin=text.encode())
    suite.same("-e", "local function f() return f() + 1 end f()")
    for arguments in (["missing.lua"], ["no/such/dir/x.lua"], ["."], ["missing.lua", "a"], ["-e", "error('x')", "missing.lua"],
                      ["-l", "nope", "-e", "print('never')"], ["-e", "error('x')", "-i"], ["--", "--"], ["--", "missing.lua"]):
        suite.same(*arguments)
    secret = suite.write("secret.lua", "print('read')")
    os.chmod(secret, 0)
    suite.same("secret.lua")
    os.chmod(secret, 0o600)


def group_exits(suite):
    for call in ("os.exit()", "os.exit(true)", "os.exit(false)", "os.exit(0)", "os.exit(3)", "os.exit(256)", "os.exit(-1)",
                 "os.exit(3.0)", "os.exit('7')", "os.exit(nil)", "os.exit(true, true)", "os.exit(false, true)",
                 "os.exit(5, true)", "os.exit(5, false)", "os.exit(nil, true)", "os.exit(3.5)"):
        prologue = ("local x <close> = setmetatable({}, {__close = function() print('closed') end, "
                    "__gc = function() print('collected') end})\nio.write('buffered ')\n")
        suite.same_script(prologue + call)
        suite.same_script(prologue + "coroutine.wrap(function() local y <close> = setmetatable({}, "
                          "{__close = function() print('never closed') end}) " + call + " end)()")
        suite.same_script(prologue + "pcall(function() " + call + " end)")
        suite.same_script("setmetatable({}, {__gc = function() io.write('in a finalizer ') " + call + " end})")
    suite.same_script("return false")
    suite.same_script("print(io.stdout:close())")
    suite.same_script("io.stdout:close() print('lost')")
    suite.same_script("os.exit = nil")
    suite.same_script("os = nil print('no os')")
    suite.same("-e", "os.exit(4)", "missing.lua")


FINALIZERS = [
    "for i = 1, 5 do setmetatable({}, {__gc = function() print('object', i) end}) end",
    "x = setmetatable({}, {__gc = function(o) print('global', o == x) end})",
    "local f = io.open('written.txt', 'w') f:write('not closed by the script')",
    "io.output('written.txt') io.write('not closed either')",
    "local p = io.popen('cat', 'w') p:write('through a pipe\\n')",
    "f = io.open('written.txt', 'w') f:setvbuf('full') f:write(('x'):rep(100000)) os.exit(0)",
    "f = io.open('written.txt', 'w') f:write('y') os.exit(0, true)",
    # objects made by finalizers, resurrected objects, finalizers that fail, finalizers set late
    "setmetatable({}, {__gc = function() setmetatable({}, {__gc = function() print('too late') end}) print('first') end})",
    "setmetatable({}, {__gc = function(o) kept = o print('kept') end}) collectgarbage() "
    "setmetatable(kept, getmetatable(kept))",
    "setmetatable({}, {__gc = function() error('in a finalizer') end}) warn('@on')",
    "warn('@on') setmetatable({}, {__gc = function() error({}) end}) setmetatable({}, {__gc = function() print 'next' end})",
    "setmetatable({}, {__gc = true}) setmetatable({}, {__gc = 'text'}) print('not called')",
    "local mt = {} setmetatable({}, mt) mt.__gc = function() print('set too late') end",
    "local mt = {__gc = true} setmetatable({}, mt) mt.__gc = function() print('set in time') end",
    "local mt = {__gc = function() print('never') end} setmetatable({}, mt) mt.__gc = nil",
    "debug.setmetatable(5, {__gc = print}) debug.setmetatable(print, {__gc = print}) print('numbers have none')",
    "setmetatable(_G, {__gc = function() print('the globals', type(print)) end})",
    "setmetatable(package.loaded, {__gc = function() print('the loaded modules') end})",
    "debug.setmetatable(io.stdout, {__gc = function() print('stdout') end})",
    "setmetatable({}, {__gc = function() collectgarbage() local t = {} for i = 1, 1e4 do t[i] = {i} end print(#t) end})",
    "setmetatable({}, {__gc = function() print(pcall(error, 'caught')) print(select(2, load('1'))) end})",
    "setmetatable({}, {__gc = function() coroutine.wrap(function() print('in a coroutine') end)() end})",
    "setmetatable({}, {__gc = function() print(pcall(coroutine.yield)) end})",
    "collectgarbage('stop') for i = 1, 3 do setmetatable({}, {__gc = function() print(i) end}) end",
    "collectgarbage('incremental') for i = 1, 3 do setmetatable({}, {__gc = function() print(i) end}) end",
    "collectgarbage('generational') old = setmetatable({}, {__gc = function() print('old') end}) collectgarbage() "
    "collectgarbage() young = setmetatable({}, {__gc = function() print('young') end})",
    "collectgarbage('stop') for i = 1, 1000 do setmetatable({}, {__gc = function() count = (count or 0) + 1 end}) end "
    "local last = setmetatable({}, {__gc = function() print('before the others', count) end})",
    "collectgarbage('stop') first = setmetatable({}, {__gc = function() print('after the others', count) end}) "
    "collectgarbage('stop') for i = 1, 1000 do setmetatable({}, {__gc = function() count = (count or 0) + 1 end}) end",
    # the end by an error, and __close
    "setmetatable({}, {__gc = function() print('collected') end}) error('at the end')",
    "local c <close> = setmetatable({}, {__close = function(_, e) print('closed', e) end}) error('at the end', 0)",
    "local c <close> = setmetatable({}, {__close = function(_, e) print('closed', e) end}) os.exit(1, true)",
    "local function close(name) return setmetatable({}, {__close = function() print('close ' .. name) end}) end "
    "local a <close> = close('a') do local b <close> = close('b') end local c <close> = close('c')",
    "co = coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() print('no') end}) "
    "coroutine.yield() end) co()",
    # scripts that get at the registry
    "for key, value in pairs(debug.getregistry()) do if type(value) == 'userdata' then debug.getregistry()[key] = nil end end "
    "collectgarbage() setmetatable({}, {__gc = function() print('still called') end})",
    "for _, value in pairs(debug.getregistry()) do if type(value) == 'userdata' then debug.setmetatable(value, nil) end end "
    "setmetatable({}, {__gc = function() print('still called') end})",
    "for _, value in pairs(debug.getregistry()) do if type(value) == 'userdata' then local mt = debug.getmetatable(value) "
    "if mt and mt.__gc then pcall(mt.__gc, value) end end end setmetatable({}, {__gc = function() print('still called') end})",
    "local registry = debug.getregistry() setmetatable({}, {__gc = function() for key in pairs(registry) do registry[key] = nil "
    "end collectgarbage() print('emptied') end}) setmetatable({}, {__gc = function() print('before') end})",
]


def group_finalizers(suite):
    for text in FINALIZERS:
        for name in ("written.txt",):
            suite.write(name, "")
        suite.same_script(text)
        suite.write("written.txt", "")
        suite.run(suite.lua, ["script.lua"])
        expected = suite.read("written.txt")
        suite.write("written.txt", "")
        suite.run(suite.emma_lua, ["script.lua"])
        suite.check(suite.read("written.txt") == expected, "a file written by\n" + text, len(expected))
        suite.same("-e", text, "-e", "print('second')")
    suite.write("many.lua", "local kept = {} for i = 1, 2e5 do kept[i] = setmetatable({}, {__gc = function() n = n - 1 end}) end\n"
                "n = #kept setmetatable(kept, nil) first = nil\n")
    ran = suite.emma("-e", "done = setmetatable({}, {__gc = function() print(n) end})", "many.lua")
    suite.check((ran.status, ran.out) == (0, "0\n"), "200,000 finalizers, the first object's last", ran)


def group_streams(suite):
    suite.same_script("print(io.read('n', 'l', 'L', 'a'))", stdin=b"12 rest\nline\nall\nof it")
    suite.same_script("for line in io.lines() do io.write('[', line, ']') end", stdin=b"a\nb\nc")
    suite.same_script("io.stderr:write('to stderr\\n') io.stdout:write('to stdout\\n')")
    suite.same_script("io.stdout:setvbuf('full', 1 << 20) io.write(('x'):rep(5000), '\\n')")
    suite.same_script("local p = io.popen('echo from a pipe; exit 3') print(p:read('a'), p:close())")
    suite.same_script("print(os.execute('exit 4')) print(os.execute())")
    suite.same_script("print(io.open('missing', 'r'))")
    suite.same_script("print(pcall(io.lines, 'missing'))")
    suite.same_script("local f = io.tmpfile() f:write('abc') f:seek('set') print(f:read('a'))")
    suite.same("-", stdin=b"print(io.read())\nthe line behind the script")
    suite.same(stdin=b"#! first line\nprint(1)")


def strip_terminal(raw):
    """What a terminal would show, line by line: without escape sequences."""
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9A-B]?", b"", raw)
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"")
    return plain(text)


def has_terminals():
    """Whether a pseudo-terminal can be had: a bare chroot has none."""
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError:
        return False
    return True


def run_terminal(suite, program, arguments, keys, env=None):
    """Types each of `keys` when the program waits for input (a prompt at the end of what it wrote)."""
    master, slave = pty.openpty()
    child = subprocess.Popen(["lua"] + arguments, executable=program, stdin=slave, stdout=slave, stderr=slave,
                             cwd=suite.directory, env=suite.environment(env), start_new_session=True, close_fds=True,
                             preexec_fn=lambda: os.system("") or None)
    os.close(slave)
    seen, pending, deadline = b"", list(keys), time.monotonic() + DIALOGUE_SECONDS
    typed_at = 0
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                part = os.read(master, 65536)
            except OSError:
                part = b""
            if not part:
                break
            seen += part
        shown = strip_terminal(seen[typed_at:])
        if pending and re.search(r"(^|\n)(>|>>|\?|\$|made>) $", shown):
            key = pending.pop(0)
            typed_at = len(seen)
            os.write(master, key)
        elif child.poll() is not None and not ready:
            break
    if child.poll() is None:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            suite.fail("a terminal dialogue hangs: %r" % keys, strip_terminal(seen))
    os.close(master)
    return child.wait(), strip_terminal(seen)


DIALOGUES = [
    [b"print(1)\n", b"\x04"],
    [b"1 + 1\n", b"= 2 * 3\n", b"=nil\n", b"1, 'two', nil\n", b"\x04"],
    [b"for i = 1, 2 do\n", b"print(i)\n", b"end\n", b"\x04"],
    [b"x = 5\n", b"x\n", b"function f()\n", b"return 'f'\n", b"end\n", b"f()\n", b"\x04"],
    [b"error('oops')\n", b"error({})\n", b"x = = 1\n", b"nil + 1\n", b"local t = nil; t.x = 1\n", b"\x04"],
    [b"_PROMPT = '? '\n", b"1\n", b"_PROMPT2 = '$ '\n", b"do\n", b"end\n", b"\x04"],
    [b"_PROMPT = setmetatable({}, {__tostring = function() return 'made> ' end})\n", b"1\n", b"\x04"],
    [b"print = nil\n", b"1\n", b"print = function() error('no') end\n", b"1\n", b"\x04"],
    [b"\n", b"   \n", b"-- a comment\n", b"return\n", b"return 7, 8\n", b"\x04"],
    [b"'text\\\n", b"more'\n", b"[[long\n", b"string]]\n", b"\x04"],
    [b"os.exit(3)\n"],
    [b"goto done\n", b"::done::\n", b"break\n", b"\x04"],
    [b"setmetatable({}, {__gc = function() print('collected') end})\n", b"\x04"],
    [b"local a <close> = setmetatable({}, {__close = function() print('closed') end})\n", b"\x04"],
    [b"first = 1\n", b"first + 1\n", b"\x10\x10\n", b"\x04"],  # the line before the last, from the history
    [b"abc\x7f\x7f\x7f4 + 4\n", b"12\x01-\n", b"\x04"],       # editing within a line
    [b"coroutine.wrap(function() error('within') end)()\n", b"\x04"],
]


def group_interactive(suite):
    suite.write("before.lua", "print('before', ...) set = 'by the script'")
    for keys in DIALOGUES:
        for arguments in ([], ["-i"]):
            expected = run_terminal(suite, suite.lua, arguments, keys)
            actual = run_terminal(suite, suite.emma_lua, arguments, keys)
            suite.check(actual == expected, "a dialogue differs: %r" % keys, "lua: exit status %s\n%s" % expected,
                        "emma-lua: exit status %s\n%s" % actual)
    for arguments in (["-i", "before.lua", "x"], ["-i", "-e", "set = 1"], ["-i", "missing.lua"], ["-v", "-i"], ["-e", "print(2)"],
                      ["-v"], ["-W", "-i"]):
        keys = [b"set\n", b"warn('heard?')\n", b"\x04"]
        expected = run_terminal(suite, suite.lua, arguments, keys)
        actual = run_terminal(suite, suite.emma_lua, arguments, keys)
        suite.check(actual == expected, "a dialogue differs: %r" % arguments, "lua: exit status %s\n%s" % expected,
                    "emma-lua: exit status %s\n%s" % actual)
    greedy = b"t = {} for i = 1, 1e9 do t[i] = {i} end\n"
    status, shown = run_terminal(suite, suite.emma_lua, ["--limit", "4M", "-i"],
                                 [greedy, b"t = nil\n", greedy, b"t = nil collectgarbage()\n", b"6 * 7\n", b"\x04"])
    suite.check(status == 0 and shown.count("\nnot enough memory\n") == 2 and "\n42\n" in shown,
                "the dialogue goes on after the limit", status, shown)


def run_interrupted(suite, program, text, signals, arguments=()):
    """Sends SIGINT each time the script has written a line, `signals` times in all, or twice at once for 2."""
    suite.write("script.lua", text)
    child = subprocess.Popen(["lua", *arguments, "script.lua"], executable=program, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=suite.directory,
                             env=suite.environment(None))
    out = b""
    for _ in range(signals):
        out += child.stdout.readline()
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
    try:
        rest, err = child.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        rest, err = child.communicate()
        err += b"(killed: it did not end)"
    return Result(child.returncode, plain(out + rest), plain(err))


def group_interrupts(suite):
    said = "io.stdout:setvbuf('no') print('running') "
    endless = "while true do end"
    for text, signals in (
            (said + endless, 1),
            (said + "local function f() " + endless + " end f()", 1),
            (said + "repeat local t = {} until false", 1),
            (said + "print(pcall(function() " + endless + " end)) print('after')", 1),
            (said + "pcall(function() " + endless + " end) print('again') " + endless, 2),
            (said + "local s = ('a'):rep(60) s:find(('a-'):rep(30) .. 'b')\nprint('never')", 1),
            (said + "local c <close> = setmetatable({}, {__close = function() print('closed') end}) " + endless, 1),
            (said + "setmetatable({}, {__gc = function() print('collected') end}) " + endless, 1)):
        if "find" in text:  # one interrupt cannot stop a C function: the second ends the process
            results = []
            for program in (suite.lua, suite.emma_lua):
                suite.write("script.lua", text)
                child = subprocess.Popen(["lua", "script.lua"], executable=program, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, cwd=suite.directory, env=suite.environment(None))
                line = child.stdout.readline()
                for _ in range(2):
                    time.sleep(0.3)
                    child.send_signal(signal.SIGINT)
                rest, err = child.communicate(timeout=SECONDS)
                results.append(Result(child.returncode, plain(line + rest), plain(err)))
            expected, actual = results
        else:
            expected = run_interrupted(suite, suite.lua, text, signals)
            actual = run_interrupted(suite, suite.emma_lua, text, signals)
        # The line that was being run when the signal came, and what it called, are a matter of chance.
        for result in (expected, actual):
            result.err = re.sub(r"\n\t\[C\]: in (function '[^']*'|for iterator.*)(?=\n\tscript)", "", result.err)
        suite.check(actual == expected, "interrupted: " + text, "lua: %s" % expected, "emma-lua: %s" % actual)
    limited = run_interrupted(suite, suite.emma_lua, said + "local t = {} repeat t = {t, {}} if #t == 3 then break end "
                              "if collectgarbage('count') > 2000 then t = {} end until false", 1, ["--limit", "16M"])
    suite.check(limited.status == 1 and "interrupted!" in limited.err, "interrupted while it allocates", limited)


def group_environment(suite):
    suite.write("init.lua", "print('init file', ...) initialised = true")
    suite.write("bad.lua", "error('bad init')")
    for env in ({"LUA_INIT": "print('init')"}, {"LUA_INIT_5_4": "print('init 5.4')", "LUA_INIT": "print('init')"},
                {"LUA_INIT": "@init.lua"}, {"LUA_INIT_5_4": "@init.lua"}, {"LUA_INIT": "@missing.lua"},
                {"LUA_INIT": "@bad.lua"}, {"LUA_INIT": "error('bad')"}, {"LUA_INIT": "x = = 1"}, {"LUA_INIT": ""},
                {"LUA_INIT": "@"}, {"LUA_INIT_5_4": ""}, {"LUA_INIT": "os.exit(9)"}, {"LUA_INIT": "warn('@on') warn('w')"},
                {"LUA_PATH": "mine/?.lua"}, {"LUA_PATH_5_4": "five/?.lua", "LUA_PATH": "mine/?.lua"},
                {"LUA_PATH": "first/?.lua;;"}, {"LUA_CPATH": "mine/?.so"}, {"LUA_INIT": "arg[1] = 'set'"}):
        for arguments in (["-e", "print(initialised, arg[1], package.path, package.cpath)"],
                          ["-E", "-e", "print(initialised, package.path, package.cpath)"],
                          ["-i"], ["-v"], ["-"], []):
            suite.same(*arguments, env=env, stdin=b"" if "-i" in arguments else b"print(...)")
    suite.same("-e", "print(1)", env={"LUA_INIT": "print('init')"}, extra=["--limit", "8M"])


GREEDY = "local t = {} for i = 1, 1e9 do t[i] = {i} end"


def group_limits(suite):
    def limited(limit, *arguments):
        return suite.emma("--limit", limit, *arguments)

    ran = limited("8M", "-e", GREEDY)
    suite.check(ran.status == 1 and ran.out == "", "an uncaught memory error ends with status 1", ran)
    suite.check(re.fullmatch(r"emma-lua: not enough memory\nemma-lua: the limit of 8\.0 MiB \(--limit\) was reached: .*\n",
                             ran.err), "and says which limit it was", ran)
    suite.write("script.lua", "local ok, message = pcall(function() %s end)\nprint(ok, message)\n"
                "local u = {} for i = 1, 1000 do u[i] = {i} end print(#u)\n" % GREEDY)
    ran = limited("8M", "script.lua")
    suite.check((ran.status, ran.out, ran.err) == (0, "false\tnot enough memory\n1000\n", ""),
                "a caught one leaves a script that goes on", ran)
    ran = limited("8M", "-e", "local s = 'x' while true do s = s .. s end")
    suite.check(ran.status == 1 and "not enough memory" in ran.err, "one that a string meets", ran)
    ran = limited("8M", "-e", "print(select(2, pcall(string.rep, 'x', 1 << 30)))")
    suite.check((ran.status, ran.out) == (0, "not enough memory\n"), "one block above the limit", ran)

    # An error message and its traceback are made although the script has left nothing.
    suite.write("full.lua", "local kept, sizes = {}, {1 << 20, 1 << 16, 1 << 12, 1 << 10, 256, 64, 16}\n"
                "for _, size in ipairs(sizes) do\n"
                "    while pcall(function() kept = {kept, ('x'):rep(size - 32 + #tostring(kept) * 0)} end) do end\n"
                "end\n"
                # No deeper than the loop was: the call of the message handler finds its frame there.
                "local function fail() error('the heap is full', 0) end\n"
                "fail()\n")
    ran = limited("4M", "full.lua")
    suite.check(ran.status == 1 and "emma-lua: the heap is full\nstack traceback:\n" in ran.err and "in main chunk" in ran.err,
                "a traceback is made in a full instance", ran)
    suite.write("gc.lua", "setmetatable({}, {__gc = function() local t = {} for i = 1, 100 do t[i] = {i} end "
                "print('finalizer', #t) end})\nlocal kept = {}\ncollectgarbage('stop')\n" +
                "for _, size in ipairs{1 << 16, 1 << 10, 64} do while pcall(function() kept = {kept, ('y'):rep(size)} end) do end end\n"
                "hold = kept\n")
    ran = limited("4M", "gc.lua")
    suite.check((ran.status, ran.out) == (0, "finalizer\t100\n"), "finalizers at the end have the spare part", ran)

    # Creation under small limits: a clean error or a working program, and no crash.
    worked = []
    for kib in list(range(16, 200, 4)) + [256, 512, 1024]:
        ran = limited("%dK" % kib, "-e", "print('works')")
        if ran.status == 0:
            suite.check(ran.out == "works\n" and ran.err == "", "with %d KiB" % kib, ran)
            worked.append(kib)
        else:
            suite.check(ran.status == 1 and "not enough memory" in ran.err and ran.out == "", "with %d KiB" % kib, ran)
    suite.check(worked and worked[0] <= 96, "the interpreter starts under small limits", worked[:3])
    suite.check(worked == [kib for kib in list(range(16, 200, 4)) + [256, 512, 1024] if kib >= worked[0]],
                "and under every greater one", worked)

    # The soft limit: one warning with the figures, however often it is crossed.
    up_and_down = "for round = 1, 3 do local t = {} for i = 1, 1e5 do t[i] = {i} end t = nil collectgarbage() end"
    ran = suite.emma("--soft-limit", "2M", "-e", up_and_down)
    suite.check(ran.status == 0 and re.fullmatch(
        r"emma-lua: warning: over the soft limit of 2\.0 MiB: footprint 2\.\d MiB, live \d\.\d MiB, limit none\n", ran.err),
        "a soft limit warns once", ran)
    ran = suite.emma("--soft-limit", "2M", "--limit", "64M", "-e", up_and_down)
    suite.check(ran.err.count("soft limit") == 1 and "limit 64.0 MiB" in ran.err, "and names the hard limit", ran)
    ran = suite.emma("--soft-limit", "1G", "-e", up_and_down)
    suite.check((ran.status, ran.err) == (0, ""), "and not when it is not crossed", ran)

    # Errors that are not about memory do not speak of the limit.
    ran = limited("8M", "-e", "error('not enough memory')")
    suite.check(ran.status == 1 and "--limit" not in ran.err, "a message of the script's own", ran)
    ran = limited("8M", "-e", GREEDY.replace("for", "pcall(function() for") + " end)", "-e",
                  "error('there is not enough memory', 0)")
    suite.check(ran.status == 1 and "--limit" not in ran.err, "one that speaks of memory, where some was refused", ran)
    ran = limited("8M", "-e", "pcall(function() %s end) error('not enough memory for this picture', 0)" % GREEDY)
    suite.check(ran.status == 1 and "--limit" not in ran.err, "one that begins as Lua's own", ran)
    ran = limited("8M", "-e", "pcall(function() %s end) error('picture 1: not enough memory', 0)" % GREEDY)
    suite.check(ran.status == 1 and "--limit" not in ran.err, "one that ends as Lua's own", ran)
    ran = limited("8M", "-e", "assert(pcall(function() %s end))" % GREEDY)
    suite.check(ran.status == 1 and "the limit of 8.0 MiB" in ran.err, "a memory error that was caught and raised again", ran)
    ran = limited("8M", "-e", "coroutine.wrap(function() %s end)()" % GREEDY)
    suite.check(ran.status == 1 and "the limit of 8.0 MiB" in ran.err, "a coroutine at the limit", ran)
    # One request that is too large for all that is left.
    ran = limited("8M", "-e", "local s = ('x'):rep(1 << 30)")
    suite.check(ran.status == 1 and re.search(r"\nemma-lua: one request was larger than what the limit of 8\.0 MiB \(--limit\) leaves: "
                                              r"peak footprint \d+\.\d KiB, 128\.0 KiB held back for error paths\n$", ran.err),
                "one request above the limit", ran)
    ran = suite.emma("-e", "io.read(1 << 40)")
    suite.check(ran.status == 1 and re.search(r"\nemma-lua: one request was larger than what the reserved address space of \S+ GiB "
                                              r"leaves, or the system refused it: peak footprint \d+\.\d KiB\n$", ran.err),
                "one request above the address space", ran)
    # Nothing is held back of a limit that leaves no page for it.
    for arguments in (["--limit", "16385"], ["--limit", "16385", "--stats"], ["--stats", "-e", "x = 1"]):
        ran = suite.emma(*arguments)
        suite.check("held back" not in ran.err and "kept for error paths" not in ran.err, "%r: no spare part" % (arguments,), ran)

    greedy = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end"  # few blocks: audits are slow
    # The address space, not the limit, is what a limit of the system's leaves too little of.
    for arguments, told in ((["--limit", "190M"], ", less than the limit of 190.0 MiB (--limit)\n"), ([], "\n")):
        ran = subprocess.run(["sh", "-c", 'ulimit -v 200000 && exec "$0" "$@"', suite.emma_lua, *arguments, "-e", greedy],
                             capture_output=True, timeout=SECONDS, check=False)
        if "sanitizer" in plain(ran.stderr).lower():
            break  # it takes address space for itself
        suite.check(ran.returncode == 1 and re.search(
            rb"\n\S+emma-lua: the reserved address space of \d+\.\d MiB is full: peak footprint \d+\.\d MiB; "
            rb"the system gave no more address space \(ulimit -v\)" + re.escape(told.encode()) + b"$", ran.stderr),
            "full address space, %r" % arguments, plain(ran.stderr))
    # Under a limit of the system's, without --limit.
    ran = subprocess.run(["sh", "-c", 'ulimit -v 400000 && exec "$0" "$@"', suite.emma_lua, "-e", "print(pcall(function() %s end))"
                          % GREEDY], capture_output=True, timeout=SECONDS, check=False)
    if "sanitizer" not in plain(ran.stderr).lower():
        suite.check((ran.returncode, ran.stdout) == (0, b"false\tnot enough memory\n"), "address space limited by the system",
                    ran.stdout, ran.stderr)


def group_statistics(suite):
    text = "local kept = {} for i = 1, 1e5 do kept[i] = {i} end hold = kept print('done')"
    for arguments, status in ((["-e", text], 0), (["-e", text + " os.exit(3)"], 3), (["-e", text + " os.exit(4, true)"], 4),
                              (["-e", text + " error('x')"], 1)):
        ran = suite.emma("--stats", "--limit", "64M", "--soft-limit", "32M", *arguments)
        suite.check(ran.status == status and ran.out == "done\n", "--stats leaves status and stdout alone", ran)
        for pattern in (r"limit +64\.0 MiB", r"soft limit +32\.0 MiB", r"peak footprint +\d+\.\d MiB", r"live +\d+\.\d MiB +in \d+ blocks",
                        r"metadata +[\d.]+ (KiB|MiB)", r"retained +[\d.]+ (bytes|KiB|MiB)", r"moved +[\d.]+ (bytes|KiB|MiB)",
                        r"requests refused +0\b", r"exit status +%d\n" % status, r"run time +\d+\.\d{3} s",
                        r"block size +live blocks +free blocks +slabs +footprint +waste\n"):
            suite.check(re.search(pattern, ran.err), "--stats shows %s" % pattern, ran.err)
        suite.check(ran.err.count("memory of this run") == 1, "--stats prints once", ran.err)
        rows = re.findall(r"^ +(\d+) +(\d+) +\d+ +\d+ +\S+ \S+ +\S+ \S+$", ran.err, re.M)
        most = max([int(live) for size, live in rows if 56 <= int(size) <= 80], default=0)
        suite.check(most >= 100000, "--stats counts 100,000 tables in one class", ran.err)
    ran = suite.emma("--stats", "--limit", "8M", "-e", "pcall(function() %s end)" % GREEDY)
    refused = re.search(r"requests refused +(\d+) ", ran.err)
    suite.check(refused and int(refused.group(1)) > 0, "--stats counts what was refused", ran.err)
    ran = suite.emma("--stats", "--limit", "16K", "-e", "1")
    suite.check(ran.status == 1 and "not enough memory" in ran.err, "--stats where nothing could start", ran)


@contextlib.contextmanager
def unprivileged(suite):
    """Gives a function as suite.emma, whose program has no privileges: a copy, as its own folder may be closed to others."""
    if os.geteuid() != 0:
        yield suite.emma
        return
    os.chmod(suite.directory, 0o777)
    copy = os.path.join(suite.directory, "emma-lua-copy")
    shutil.copy(suite.emma_lua, copy)

    def run(*arguments):
        ran = subprocess.run(["emma-lua", *arguments], executable=copy, capture_output=True, cwd=suite.directory, user=65534,
                             group=65534, extra_groups=[], env=suite.environment(None), timeout=SECONDS, check=False)
        return Result(ran.returncode, plain(ran.stdout), plain(ran.stderr))

    yield run
    os.unlink(copy)
    os.chmod(suite.directory, 0o700)


def group_reports(suite):
    def report(name="report.json"):
        return json.loads(suite.read(name).decode("utf-8"))

    def left_over():
        return [name for name in os.listdir(suite.directory) if name.startswith(".emma-report")]

    def refused(ran, place, why):
        told = "emma-lua: --report: cannot write '%s': %s\n" % (place, why)
        suite.check(ran.status == 1 and ran.out == "" and told in ran.err, "%r is refused before the script runs" % place, ran)

    path = os.path.join(suite.directory, "report.json")
    suite.write("script.lua", "print('out') setmetatable({}, {__gc = function() print('gc') end}) os.exit(tonumber(arg[1]), arg[2])")
    for arguments, status in ((["0"], 0), (["7"], 7), (["9", "close"], 9), (["256"], 0), (["-1"], 255), (["259", "close"], 3)):
        ran = suite.emma("--report", "report.json", "--limit", "64M", "script.lua", *arguments)
        suite.check(ran.status == status and ran.err == "", "--report is silent", ran)
        figures = report()
        suite.check(figures["exit_status"] == status and figures["script"] == "script.lua", "the report's frame", figures)
        suite.check(figures["limit_bytes"] == 64 * MIB and figures["soft_limit_bytes"] is None, "the limits", figures)
        parts = figures["live_bytes"] + figures["metadata_bytes"] + figures["retained_bytes"]
        suite.check(parts <= figures["footprint_bytes"] <= figures["peak_footprint_bytes"] <= 64 * MIB, "the sums", figures)
        suite.check(figures["live_blocks"] > 300 and figures["classes"] and figures["run_seconds"] > 0, "the counts", figures)
        in_classes = sum(row["live_blocks"] * row["block_bytes"] for row in figures["classes"])
        suite.check(in_classes + figures["large_bytes"] == figures["live_bytes"], "the classes add up to the live bytes", figures)
        suite.check(not left_over(), "no temporary file stays", left_over())
        os.unlink(path)
    for text, status in (("error('x')", 1), ("x = = 1", 1), ("%s" % GREEDY, 1), ("local f <close> = nil", 0)):
        suite.emma("--report=report.json", "--limit", "8M", "-e", text)
        suite.check(report()["exit_status"] == status and report()["script"] is None, "a report after %r" % text, report())
        os.unlink(path)

    # Places that cannot be written: told before the script runs, with lua's status, and nothing is left or changed.
    os.mkdir(os.path.join(suite.directory, "folder"))
    locked = suite.write("locked.json", "as it was")
    os.chmod(locked, 0o400)
    places = ["missing/report.json", "folder", "folder/", "", "new/", "script.lua/x", "-", "n" * 256]
    if os.geteuid() != 0:
        places.append("locked.json")
    for place in places:
        before = sorted(os.listdir(suite.directory))
        ran = suite.emma("--report=" + place, "-e", "print('ran')")
        suite.check(ran.status == 1 and ran.out == "" and ran.err.startswith("emma-lua: --report: cannot write '%s': " % place),
                    "an unwritable place: %r" % place, ran)
        suite.check(sorted(os.listdir(suite.directory)) == before, "it leaves nothing: %r" % place)
    suite.check(suite.read("locked.json") == b"as it was", "a locked file keeps its contents")

    # Whole or not at all.
    suite.emma("--report", "report.json", "-e", "x = 1")
    before = suite.read("report.json")
    child = subprocess.Popen([suite.emma_lua, "--report", "report.json", "-e", "io.write('up\\n') io.flush() while true do end"],
                             stdout=subprocess.PIPE, cwd=suite.directory, env=suite.environment(None))
    child.stdout.readline()
    suite.check(suite.read("report.json") == before and not left_over(), "nothing is written while it runs", left_over())
    child.kill()
    child.communicate()
    suite.check(suite.read("report.json") == before and not left_over(), "a killed run leaves the old one", left_over())
    suite.emma("--report", "report.json", "-e", "x = 1")
    suite.check(report()["exit_status"] == 0, "a report replaces the one before", report())

    # Where the FILE was forgotten, the script's name stands in its place.
    ran = suite.emma("--report", "script.lua")
    suite.check(ran.status == 1 and "cannot write 'script.lua': the file is there and is no report" in ran.err,
                "a script in the report's place", ran)
    suite.check(suite.read("script.lua").startswith(b"print("), "the script is left alone")

    # Nor is any other file replaced that only looks like a report, whenever it came.
    suite.write("data.json", '{"data": 1}')
    refused(suite.emma("--report", "data.json", "-e", "print('ran')"), "data.json", "the file is there and is no report")
    suite.check(suite.read("data.json") == b'{"data": 1}', "another's JSON is left alone")
    for made in ("io.open('made.json', 'w'):write('the script made it')", "assert(os.rename('data.json', 'made.json'))",
                 "kept = io.open('made.json', 'w') kept:write('not closed') os.exit(0)"):
        ran = suite.emma("--report", "made.json", "-e", made)
        suite.check(ran.status == 1 and "cannot write 'made.json': another file has come there since the start" in ran.err,
                    "a file that the script makes in the report's place: " + made, ran)
        suite.check(suite.read("made.json") in (b"the script made it", b'{"data": 1}', b"not closed"), "it is left alone: " + made)
        os.unlink(os.path.join(suite.directory, "made.json"))
    ran = suite.emma("--report", "report.json", "-e", "io.open('report.json', 'w'):write('the script wrote here')")
    suite.check(ran.status == 1 and suite.read("report.json") == b"the script wrote here" and not left_over(),
                "a report that the script wrote over", ran, left_over())
    suite.emma("--report", "report.json", "-e", "x = 1")
    suite.check(suite.read("report.json") == b"the script wrote here", "which is none any more")
    suite.write("report.json", "")
    suite.emma("--report", "report.json", "-e", "os.exit(6)")
    suite.check(report()["exit_status"] == 6, "an empty file is replaced", report())

    # A file keeps its mode; a new one has the user's.
    for mode in (0o600, 0o640, 0o604):
        os.chmod(path, mode)
        suite.emma("--report", "report.json", "-e", "x = 1")
        suite.check(os.stat(path).st_mode & 0o777 == mode, "a report keeps its mode %o" % mode, os.stat(path))
    ran = subprocess.run(["sh", "-c", 'umask 027 && exec "$0" --report made.json -e "x = 1"', suite.emma_lua], cwd=suite.directory,
                         check=False, timeout=SECONDS)
    suite.check(os.stat(os.path.join(suite.directory, "made.json")).st_mode & 0o777 == 0o640, "a new one obeys the umask")
    longest = "n" * 250 + ".json"
    suite.emma("--report", longest, "-e", "x = 1")
    suite.check(report(longest)["exit_status"] == 0, "the longest name")
    os.unlink(os.path.join(suite.directory, longest))

    # What only another user may not do.
    with unprivileged(suite) as run:
        for name, mode, why in (("secret.json", 0o222, "the file is there and cannot be read, so it may be no report"),
                                ("readonly.json", 0o444, "Permission denied")):
            suite.write(name, "")
            os.chmod(os.path.join(suite.directory, name), mode)
            refused(run("--report", name, "-e", "print('ran')"), name, why)
        with open(os.path.join(suite.directory, "folder", "report.json"), "w", encoding="ascii"):
            pass
        os.chmod(os.path.join(suite.directory, "folder", "report.json"), 0o666)
        os.chmod(os.path.join(suite.directory, "folder"), 0o555)
        refused(run("--report", "folder/report.json", "-e", "print('ran')"), "folder/report.json",
                "no file can be made in '%s': Permission denied" % os.path.join(os.path.realpath(suite.directory), "folder"))
        os.chmod(os.path.join(suite.directory, "folder"), 0o755)

    # No room: the old report stays, and nothing else.
    suite.emma("--report", "report.json", "-e", "os.exit(8)")
    ran = subprocess.run([suite.emma_lua, "--report", "report.json", "-e", "x = 1"], capture_output=True, cwd=suite.directory,
                         env=dict(os.environ, GCOV_PREFIX=os.devnull),  # nor may a coverage build write its counters
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)), timeout=SECONDS, check=False)
    suite.check(ran.returncode == 1 and b"cannot write 'report.json': File too large" in ran.stderr, "a limit on files' sizes", ran)
    suite.check(report()["exit_status"] == 8 and not left_over(), "which leaves the old report alone", left_over())

    # What is no regular file, or is a stream of this process, is written into; a strange name is valid JSON.
    ran = suite.emma("--report", "/dev/stdout", "-e", "print('first')")
    suite.check(ran.out.startswith("first\n{") and json.loads(ran.out[6:])["exit_status"] == 0, "a report to stdout", ran)
    suite.emma("--report", "/dev/null", "-e", "x = 1")
    suite.check(not os.path.isfile("/dev/null"), "/dev/null stays what it was")
    for place, redirected in (("/dev/stdout", "stdout"), ("/dev/stderr", "stderr"), ("output.txt", "stdout"), ("./output.txt", "stderr"),
                              ("/proc/self/fd/1", "stdout"), ("link.txt", "stdout")):
        if place == "link.txt":
            os.symlink("output.txt", os.path.join(suite.directory, place))
        with open(os.path.join(suite.directory, "output.txt"), "wb") as file:
            file.write(b"before\n")
            file.flush()
            script = "io.%s:write('first\\n'):flush() os.execute('echo second >&2; echo second')" % redirected
            subprocess.run([suite.emma_lua, "--report", place, "-e", script], timeout=SECONDS, check=False, cwd=suite.directory,
                           **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, redirected: file})
        written = suite.read("output.txt").decode()
        suite.check(written.startswith("before\nfirst\nsecond\n{") and json.loads(written[written.index("{"):])["exit_status"] == 0,
                    "%s as %s, a file: what else is written there stays" % (place, redirected), written)

    # A link is followed, or refused where it leads nowhere.
    link = os.path.join(suite.directory, "link.json")
    os.symlink("report.json", link)
    suite.emma("--report", "link.json", "-e", "os.exit(5)")
    suite.check(os.path.islink(link) and report()["exit_status"] == 5, "a link is followed")
    for target in ("nowhere.json", "/proc/self/fd/1"):
        os.unlink(link)
        os.symlink(target, link)
        ran = subprocess.run(["sh", "-c", 'exec "$0" --report link.json -e "io.stderr:write([[ran]])" >&-', suite.emma_lua],
                             capture_output=True, cwd=suite.directory, timeout=SECONDS, check=False)
        suite.check(ran.returncode == 1 and b"cannot write 'link.json': it is a link to a file that is not there" in ran.stderr,
                    "a link to %s, which is not there" % target, ran)
        suite.check(os.path.islink(link) and not os.path.exists(os.path.join(suite.directory, "nowhere.json")), "it stays a link")
    for there in (True, False):  # the link may get the number of the file that it replaces
        suite.check(os.path.exists(os.path.join(suite.directory, "made.json")) == there, "the report's place")
        ran = suite.emma("--report", "made.json", "-e", "os.remove('made.json') assert(os.execute('ln -s report.json made.json'))")
        suite.check(ran.status == 1 and os.path.islink(os.path.join(suite.directory, "made.json")),
                    "a link that has come to the report's place", ran)
        os.unlink(os.path.join(suite.directory, "made.json"))

    # A pipe by name: without a reader it is refused; with one, whatever stdout is, it has the report alone.
    fifo = os.path.join(suite.directory, "fifo")
    os.mkfifo(fifo)
    refused(suite.emma("--report", "fifo", "-e", "print('ran')"), "fifo", "nothing reads from this pipe")
    for script in ("print('not into the pipe')", "os.execute('echo not into the pipe')"):
        reader = subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE)
        while subprocess.run(["sh", "-c", 'exec "$0" --report fifo -e "$1" >&-', suite.emma_lua, script], stderr=subprocess.PIPE,
                             cwd=suite.directory, timeout=SECONDS, check=False).returncode != 0 and reader.poll() is None:
            time.sleep(0.05)  # it has not come yet
        read, _ = reader.communicate(timeout=SECONDS)
        suite.check(read.startswith(b"{") and json.loads(read)["exit_status"] == 0, "a pipe by name", read)
    reader = subprocess.Popen(["sh", "-c", "exec sleep 60 <fifo"], cwd=suite.directory)
    for _ in range(100):
        ran = suite.emma("--report", "fifo", "-e", "os.execute('kill %d; sleep 0.2') print('ran')" % reader.pid)
        if ran.out:
            break
        time.sleep(0.05)
    reader.wait(timeout=SECONDS)
    suite.check(ran.status == 1 and ran.out == "ran\n" and "cannot write 'fifo': Broken pipe" in ran.err, "a reader that has gone", ran)
    strange = b"a\"b\\c\n\xff\xc3\xa9.lua"
    with open(os.path.join(suite.directory.encode(), strange), "w", encoding="ascii") as file:
        file.write("x = 1")
    subprocess.run([suite.emma_lua.encode(), b"--report", b"report.json", strange], cwd=suite.directory, check=True,
                   timeout=SECONDS)
    suite.check(report()["script"] == "a\"b\\c\n\ufffd\u00e9.lua", "a strange name", report())

    # A full disk at the end, and a report in a process that forks.
    if os.path.exists("/dev/full"):
        ran = suite.emma("--report", "/dev/full", "-e", "print('ran')")
        suite.check(ran.status == 1 and ran.out == "ran\n" and "cannot write '/dev/full'" in ran.err, "a full disk", ran)
    suite.emma("--report", "report.json", "-e", "os.execute('true') local p = io.popen('cat', 'w') p:write('')")
    suite.check(report()["exit_status"] == 0 and not left_over(), "with child processes")


def group_bad_options(suite):
    def refused(arguments, message, usage=False):
        ran = suite.emma(*arguments, "-e", "print('ran')")
        suite.check(ran.status == 1 and ran.out == "", "%r is refused" % (arguments,), ran)
        first = ran.err.split("\n")[0]
        suite.check(first == "emma-lua: " + message, "%r: the message" % (arguments,), "expected: " + message, "printed: " + first)
        suite.check(("usage: emma-lua " in ran.err) == usage and ran.err.count("\n") == 1 + 18 * usage, "%r: usage" % (arguments,), ran.err)

    for size in ("12Q", "", "M", "-", "1.5M", "12 M", " 12M", "12M ", "0x1000", "1e6", "12MM", "12KiBs", "12i", "12MiBB", "+5M", "12M5"):
        refused(["--limit=" + size], "--limit: '%s' is not a size (use bytes or K, M, G)" % size)
    refused(["--soft-limit=12Q"], "--soft-limit: '12Q' is not a size (use bytes or K, M, G)")
    for size in ("0", "1", "16383", "15K", "0G", "00000"):
        refused(["--limit", size], "--limit: '%s' is below the minimum of 16384 bytes" % size)
    refused(["--soft-limit", "0"], "--soft-limit: '0' is below the minimum of 16384 bytes")
    for size in ("99999999999999999999999", "18446744073709551615", "18446744073709551616", "9223372036854775808",
                 "9007199254740992K", "8796093022208M", "8589934592G", "99999999999G"):
        refused(["--limit", size], "--limit: '%s' is too large" % size)
    refused(["--limit", "1M", "--soft-limit", "2M"], "--soft-limit: '2M' is above the --limit of '1M'")
    refused(["--soft-limit", "2M", "--limit", "1M"], "--soft-limit: '2M' is above the --limit of '1M'")
    for word in ("--limit", "--soft-limit", "--report"):
        for given in ("-1", "-", "-x", "--stats", "--"):
            refused([word, given], "'%s' needs argument, and '%s' is taken for an option" % (word, given), usage=True)
        ran = suite.emma(word)
        suite.check(ran.status == 1 and ran.err.startswith("emma-lua: '%s' needs argument\n" % word), "%s at the end" % word, ran)
    for word in ("--stats=1", "--limits", "--limi", "--unknown", "---", "--limit5M", "-x", "-vv", "-ii", "-E1", "-Wx", "--stat", "--export=1"):
        refused([word], "unrecognized option '%s'" % word, usage=True)

    # What lua refuses too, with its first line.
    for arguments in (["-x"], ["-e"], ["-l"], ["-e", "-v"], ["-l", "-v"], ["-vx"], ["-Ex"], ["-ix"], ["-Wx"], ["--x"], ["-1"],
                      ["-e", "print(1)", "-x"], ["-v", "-x"]):
        expected = suite.run(suite.lua, arguments)
        actual = suite.run(suite.emma_lua, arguments)
        suite.check((actual.status, actual.out, actual.err.split("\n")[:2]) ==
                    (expected.status, expected.out, expected.err.split("\n")[:2]), "%r" % arguments, expected, actual)
    # The last one counts.
    ran = suite.emma("--limit", "16K", "--limit", "8M", "-e", "print('ran')")
    suite.check((ran.status, ran.out) == (0, "ran\n"), "a later --limit replaces an earlier one", ran)


def find_programs():
    """Every program of the tests, the examples and the benchmarks, with arguments that make it quick."""
    found = []
    for folder in (os.path.join(HERE, "programs"), os.path.join(ROOT, "tests", "bench", "lua"),
                   os.path.join(ROOT, "examples", "lua")):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if not name.endswith(".lua") or name.startswith("row_"):
                continue
            with open(path, encoding="utf-8") as file:
                sizes = re.search(r"^-- sizes:.*\bquick=(\S+)", file.read(), re.M)
            found.append((path, [sizes.group(1)] if sizes else []))
    return found


def group_programs(suite):
    programs = find_programs()
    suite.check(len(programs) >= 5, "there are programs to run", programs)
    for path, arguments in programs:
        expected = suite.run(suite.lua, [path] + arguments)
        if not suite.check(expected.status == 0, "lua runs %s" % path, expected):
            continue
        actual = suite.run(suite.emma_lua, ["--report", "report.json", path] + arguments)
        suite.check(actual == expected, "%s differs" % path, "lua: %s" % expected, "emma-lua: %s" % actual)
        peak = json.loads(suite.read("report.json"))["peak_footprint_bytes"]
        # A limit that is just enough, its spare included; then one that has Lua collect before it is refused, or fail cleanly.
        enough = max(peak * 9 // 8 + 8 * 65536, 256 << 10)
        actual = suite.run(suite.emma_lua, ["--limit", str(enough), path] + arguments)
        suite.check(actual == expected, "%s differs with a limit of %d (peak %d)" % (path, enough, peak),
                    "lua: %s" % expected, "emma-lua: %s" % actual)
        for part in (8, 6, 4, 2):
            limit = max(peak * part // 10, 64 << 10)
            actual = suite.run(suite.emma_lua, ["--limit", str(limit), path] + arguments)
            # table.unpack takes a stack that cannot grow for too many results, whatever the reason.
            refused = actual.status == 1 and ("too many results to unpack" in actual.err or
                                              "not enough memory" in actual.err and "(--limit)" in actual.err)
            suite.check(actual == expected or (refused and expected.out.startswith(actual.out)),
                        "%s with a limit of %d (peak %d)" % (path, limit, peak), actual)


def main():
    groups = {name[len("group_"):]: function for name, function in globals().items() if name.startswith("group_")}
    parser = argparse.ArgumentParser(description="Compares emma-lua with lua.")
    parser.add_argument("--emma-lua", required=True)
    parser.add_argument("--lua", required=True)
    parser.add_argument("--modules", help="the folder of the module native")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="one of: " + ", ".join(groups))
    options = parser.parse_args()
    for name in options.groups:
        if name not in groups:
            parser.error("no group %r" % name)
    suite = Suite(options.emma_lua, options.lua, options.modules)
    version = subprocess.run([suite.lua, "-v"], capture_output=True, check=True, timeout=SECONDS).stdout
    own = subprocess.run([suite.emma_lua, "-v"], capture_output=True, check=True, timeout=SECONDS).stdout
    if version != own:
        print("skipped: lua is %r and emma-lua %r" % (version, own))
        return SKIPPED
    if options.groups == ["interactive"] and not has_terminals():
        print("skipped: there is no pseudo-terminal here (is /dev/pts mounted?)")
        return SKIPPED
    for name in options.groups or groups:
        with tempfile.TemporaryDirectory(prefix="emma-lua-") as suite.directory:
            before = suite.failures
            started, checks = time.monotonic(), suite.checks
            groups[name](suite)
            print("%-12s %4d checks, %d failed, %.1f s" % (name, suite.checks - checks, suite.failures - before,
                                                          time.monotonic() - started))
    return 1 if suite.failures else 0


if __name__ == "__main__":
    sys.exit(main())
