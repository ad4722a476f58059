-- The Lua module: sandboxes, pools and instances from Lua. Each test is a function; the first failure ends it all.
local emma = require "emma"
local core = require "emma.core"

local PRELUDE = [[
function id(...) return ... end
function spin() while true do end end
function grow() local t = {} for i = 1, math.huge do t[i] = {} end end
]]

local function make(options)
    local box = emma.sandbox(options)
    assert(box:load(PRELUDE, "prelude"))
    return box
end

local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
    for k, v in pairs(a) do if not same(v, b[k]) then return false end end
    for k in pairs(b) do if a[k] == nil then return false end end
    return true
end

local function equal(got, wanted)
    if not same(got, wanted) then error(("got %s, not %s"):format(tostring(got), tostring(wanted)), 2) end
end

--- The call raises an error that has this text in it.
local function raises(text, f, ...)
    local ok, message = pcall(f, ...)
    if ok then error(("no error, where %q was due"):format(text), 2) end
    if not tostring(message):find(text, 1, true) then error(("%s: not %q"):format(tostring(message), text), 2) end
end

local tests = {}

function tests.values()
    local box <close> = make()
    for _, value in ipairs { true, false, 0, -1, math.maxinteger, math.mininteger, 0.5, 1.0, math.huge, "", "a\0b\xff",
                             { 1, 2, 3 }, { a = { { b = "c" } }, [1] = "x", [2.5] = true, [true] = 1 }, {} } do
        local ok, back = box:call("id", value)
        assert(ok)
        equal(back, value)
    end
    equal(table.pack(box:call("id", 1, nil, "x", nil)), { true, 1, nil, "x", nil, n = 5 })
    equal(table.pack(box:call("id")), { true, n = 1 })
    equal(select(2, box:load("return ('x'):rep(10)")), "xxxxxxxxxx")
end

function tests.values_refused()
    local box <close> = make { value_depth = 3, value_bytes = "64K" }
    local loop = {}
    loop[1] = loop
    raises("argument 2: only nil", box.call, box, "id", 1, print)
    raises("argument 1: only nil", box.call, box, "id", { { coroutine.create(print) } })
    raises("argument 1: more tables in tables", box.call, box, "id", loop)
    raises("argument 1: more tables in tables", box.call, box, "id", { { { { 1 } } } })
    local small <close> = make { memory = "64K" }
    raises("argument 1: it is more than", small.call, small, "id", table.pack(("x"):rep(1000000):byte(1, 40000)))
    raises("too many arguments", box.call, box, "id", table.unpack({}, 1, 40000))
    raises("value: only nil", box.set, box, "x", print)
    local ok, e = box:load("return print")
    assert(not ok and e.kind == "error" and e.message:find("a result is or has a function", 1, true))
    ok, e = box:load("return ('x'):rep(100000)")
    assert(not ok and e.message:find("value_bytes", 1, true))
    assert(box:call("id", 1))
end

function tests.ends()
    local box <close> = make { memory = "2M", instructions = 1e6, deadline = 5 }
    local level = box:checkpoint()
    local ok, e = box:call("spin")
    equal({ ok, e.kind }, { false, "instructions" })
    box:set_budget(nil, 0.02)
    ok, e = box:call("spin")
    equal({ ok, e.kind }, { false, "deadline" })
    box:rollback(level) -- a machine that is busy elsewhere may leave the call in the middle
    box:set_budget()
    ok, e = box:call("grow")
    equal({ ok, e.kind, tostring(e) }, { false, "memory", "not enough memory" })
    ok, e = box:load("error('boom')", "bad.lua")
    equal({ ok, e.kind, e.message, tostring(e) }, { false, "error", "bad.lua:1: boom", "bad.lua:1: boom" })
    assert(e.traceback:find("bad.lua:1: in main chunk", 1, true))
    box:rollback(level)
    equal({ box:call("id", 7) }, { true, 7 })
    box:set_memory("16M")
    assert(box:load("x = ('x'):rep(3 << 20)"))
    local counts = box:stats().calls
    equal({ counts.instructions, counts.deadline, counts.memory, counts.error }, { 1, 1, 1, 1 })
end

function tests.broken()
    local box <close> = make { deadline = 0.02 }
    local level = box:checkpoint()
    local ok, e = box:load("return (('a'):rep(60):find(('a*'):rep(60) .. 'b'))")
    equal({ ok, e.kind }, { false, "deadline" })
    ok, e = box:call("id")
    equal({ ok, e.kind }, { false, "broken" })
    raises("left in the middle", box.set, box, "x", 1)
    box:rollback(level)
    assert(box:call("id"))
end

function tests.functions()
    local box <close> = make()
    local seen
    box:register("game.see", function(...) seen = table.pack(...) end)
    box:register("back", function(...) return ... end)
    assert(box:load("game.see(1, nil, { x = { 'y' } })"))
    equal(seen, { 1, nil, { x = { "y" } }, n = 3 })
    equal({ box:load("return back(1, { 2 }, 'z')") }, { true, 1, { 2 }, "z" })
    box:register("bad", function() return print end)
    equal({ box:load("return pcall(bad)") }, { true, false, "argument 1: only nil, booleans, numbers, strings and tables can be handed over" })
    local ok, e = box:load("back(print)")
    assert(not ok and e.message:find("an argument is or has a function", 1, true))
end

function tests.functions_again()
    local box <close> = make()
    do
        local function one() return 1 end
        box:register("f", one)
        collectgarbage()
        local before = collectgarbage("count")
        for _ = 1, 10000 do box:register("f", one) end
        collectgarbage()
        assert(collectgarbage("count") - before < 50, "it is kept once")
    end
    -- One whose name another takes: the script may have it, and a rollback brings it back.
    assert(box:load("kept = f"))
    local level = box:checkpoint()
    box:register("f", function() return 2 end)
    collectgarbage()
    equal({ box:load("return f(), kept()") }, { true, 2, 1 })
    box:rollback(level)
    equal({ box:load("return f(), kept()") }, { true, 1, 1 })
end

function tests.errors_are_the_same()
    local box <close> = make()
    local odd = setmetatable({}, { __tostring = function() return "odd one" end })
    box:register("fail", function(what) error(what == 1 and odd or "text", 0) end)
    local ok, e = box:load("local function f() fail(1) end f()")
    assert(not ok and rawequal(e, odd))
    equal({ box:load("return pcall(fail, 1)") }, { true, false, "odd one" })
    ok, e = box:load("fail(2)")
    equal({ ok, e }, { false, "text" })
    ok, e = box:load("local ok, e = pcall(fail, 1) error('wrapped: ' .. e)")
    assert(not ok and e.kind == "error" and e.message:find("wrapped: odd one", 1, true))
    ok, e = box:load("pcall(fail, 1) error('another')")
    equal({ ok, e.message }, { false, "script:1: another" })
end

function tests.errors_with_null_characters()
    local box <close> = make()
    local ok, e = box:load("error('a\\0b')")
    equal({ ok, e.message, tostring(e) }, { false, "script:1: a\0b", "script:1: a\0b" })
    box:register("fail", function() error("a\0b", 0) end)
    equal({ box:load("return pcall(fail)") }, { true, false, "a\\0b" })
    equal({ box:load("fail()") }, { false, "a\0b" })
end

function tests.errors_wait_for_others()
    local box <close> = make()
    local odd = setmetatable({}, { __tostring = function() return "odd one" end })
    box:register("fail", function() error(odd) end)
    box:register("fine", function() return 1 end)
    local ok, e = box:load("local ok, e = pcall(fail) fine() error(e, 0)")
    assert(not ok and rawequal(e, odd))
end

function tests.calls_inside()
    local box <close> = make()
    local other <close> = make()
    box:register("inside", function()
        raises("in use", box.call, box, "id")
        raises("in use", box.close, box)
        raises("in use", box.stats, box)
        local ok, e = other:load("error('inner')")
        assert(not ok and e.message == "script:1: inner")
        return select(2, other:call("id", 5))
    end)
    equal({ box:load("return inside()") }, { true, 5 })
    box:register("raises", function() assert(other:load("error('inner')")) end)
    local ok, e = box:load("raises()")
    equal({ ok, e.kind, e.message }, { false, "error", "script:1: inner" })
    local killed <close> = make()
    killed:register("kill", function() killed:kill() end)
    ok, e = killed:load("kill() while true do end")
    equal({ ok, e.kind }, { false, "killed" })
    box:register("yields", function() coroutine.yield() end)
    local co = coroutine.wrap(function() return box:load("yields()") end)
    ok, e = co()
    assert(not ok and tostring(e):find("yield", 1, true))
end

function tests.from_coroutines()
    local box <close> = make()
    box:register("here", function() return (coroutine.running()) ~= nil end)
    for _ = 1, 100 do
        local co = coroutine.wrap(function(x) return box:call("id", x) end)
        equal({ co("x") }, { true, "x" })
    end
    equal({ coroutine.wrap(function() return box:load("return here()") end)() }, { true, true })
end

function tests.print_lines()
    local lines = {}
    local box <close> = emma.sandbox { print = function(line) lines[#lines + 1] = line end }
    assert(box:load("print('a', 1, nil) print() print('two\\nlines')"))
    equal(lines, { "a\t1\tnil", "", "two\nlines" })
    local bad <close> = emma.sandbox { print = function(line) error("no " .. line, 0) end }
    equal({ bad:load("while true do pcall(print, 'x') end") }, { false, "no x" })
    equal({ bad:load("return 1") }, { true, 1 })
end

function tests.options_refused()
    raises("options: a table", emma.sandbox, 3)
    raises("memroy: there is no such option", emma.sandbox, { memroy = 1 })
    raises("memory: ", emma.sandbox, { memory = "x" })
    raises("memory: ", emma.sandbox, { memory = -1 })
    raises("limit_bytes", emma.sandbox, { memory = 1 })
    raises("instructions: a whole number", emma.sandbox, { instructions = 0 })
    raises("instructions: a whole number", emma.sandbox, { instructions = 1.5 })
    raises("deadline: seconds", emma.sandbox, { deadline = "1" })
    raises("deadline: seconds", emma.sandbox, { deadline = 0 / 0 })
    raises("libraries: bass is no library", emma.sandbox, { libraries = { "bass" } })
    raises("libraries: killed is no library", emma.sandbox, { libraries = { "killed" } })
    raises("libraries: a list", emma.sandbox, { libraries = "base" })
    raises("print: a function", emma.sandbox, { print = 3 })
    raises("name: a string", emma.sandbox, { name = 3 })
    raises("checkpoints: a boolean", emma.sandbox, { checkpoints = 1 })
    raises("value_depth", emma.sandbox, { value_depth = 101 })
end

function tests.arguments_refused()
    local box <close> = make()
    raises("source: a string", box.load, box, 3)
    raises("function: a string", box.call, box, 3)
    raises("function: a string without", box.call, box, "a\0b")
    raises("name: a string", box.load, box, "", 3)
    raises("function: a function", box.register, box, "f", 3)
    raises("level: there is no checkpoint 77", box.rollback, box, 77)
    raises("level: a number", box.rollback, box, "1")
    raises("level: -1 is not", box.rollback, box, -1)
    raises("level: 1.5 is not", box.rollback, box, 1.5)
    raises("visit: a function", box.walk, box, 3)
    local ok, e = box:call("no")
    assert(not ok and e.message:find("there is no function 'no'", 1, true))
    -- Errors name the place of the caller.
    local _, message = pcall(function() box:rollback(77) end)
    assert(message:find("module.lua:%d+: level"), message)
end

function tests.metatables_are_hidden()
    local box <close> = make()
    local pool <close> = emma.pool { size = 1 }
    local one <close> = emma.instance {}
    for _, owner in ipairs { box, pool, one } do
        equal(getmetatable(owner.handle), false)
    end
end

function tests.after_close()
    local box = make()
    box:close()
    box:close()
    assert(box:is_closed() and tostring(box):find("closed", 1, true))
    for _, name in ipairs { "kill", "checkpoint", "stats", "types", "memory", "classes", "check", "trim" } do
        raises("closed", box[name], box)
    end
    raises("closed", box.call, box, "id")
    raises("closed", box.load, box, "")
    raises("closed", box.set, box, "x", 1)
    raises("closed", box.register, box, "x", print)
    raises("closed", box.rollback, box, 1)
end

function tests.the_core_itself()
    raises("", core.Sandbox)
    raises("", core.Sandbox, nil, nil, nil)
    raises("", core.Sandbox, core.Options(), nil, nil)
    raises("", core.Instance, 3, nil)
    local box <close> = make()
    raises("", box.handle.call, nil, "id", {})
    raises("", box.handle.call, box.handle, "id", 3)
    raises("", box.handle.call, core.Options(), "id", {})
    raises("", box.handle.call, io.stdout, "id", {})
end

function tests.looks()
    local box <close> = make { memory = "8M" }
    local before = box:stats()
    assert(box:load("kept = {} for i = 1, 1000 do kept[i] = { i } end"))
    local after = box:stats()
    assert(after.live_bytes > before.live_bytes + 50000 and math.type(after.live_bytes) == "integer")
    assert(box:types().tables > 50000)
    equal(box:memory().live_bytes, box:stats().live_bytes)
    assert(#box:classes() > 3)
    local sum = 0
    assert(box:walk(function(_, bytes) sum = sum + bytes end))
    assert(sum > 50000 and sum <= box:stats().live_bytes) -- less where blocks have guards behind them
    local count = 0
    equal(box:walk(function() count = count + 1 return count < 3 end), false)
    equal(count, 3)
    raises("enough", box.walk, box, function() error("enough") end)
    raises("in use", box.walk, box, function() box:stats() end)
    box:check()
    assert(box:trim() >= 0)
end

function tests.collected()
    local gone = setmetatable({}, { __mode = "k" })
    for _ = 1, 5 do
        local box = make()
        box:register("me", function() return box and 1 end)
        gone[box] = true
    end
    collectgarbage()
    collectgarbage()
    equal(next(gone), nil)
    -- Functions live as long as their sandbox, whatever else goes.
    local box <close> = make()
    box:register("f", function() return "here" end)
    local level = box:checkpoint()
    box:register("f", function() return "new" end)
    collectgarbage()
    equal({ box:load("return f()") }, { true, "new" })
    box:rollback(level)
    collectgarbage()
    equal({ box:load("return f()") }, { true, "here" })
end

function tests.pools()
    local log = {}
    local pool <close> = emma.pool { prelude = "n = 0 function hit(x) n = n + 1 log(x) return n end", size = 2, memory = "1M",
                                     deadline = 1, functions = { log = function(x) log[#log + 1] = x end } }
    for i = 1, 5 do
        local box <close> = pool:acquire()
        equal({ box:call("hit", i) }, { true, 1 })
    end
    equal(log, { 1, 2, 3, 4, 5 })
    local stats = pool:stats()
    equal({ stats.acquired_count, stats.idle, stats.sandboxes_max }, { 5, 1, 2 })
    local box = pool:acquire()
    raises("in use", pool.close, pool)
    box:close()
    raises("closed", box.call, box, "hit")
    pool:prepare(2)
    equal(pool:stats().idle, 2)
    local first <close> = pool:acquire()
    local second <close> = pool:acquire()
    raises("all sandboxes of the pool are leased", pool.acquire, pool)
    first:close()
    second:close()
    raises("prelude:1: no", emma.pool, { prelude = "error('no')" })
    raises("size: a whole number", emma.pool, { size = 0 })
    raises("functions: f", emma.pool, { functions = { f = 3 } })
    raises("ahead: another thread", emma.pool, { ahead = 1, functions = { f = print } })
    pool:close()
    raises("closed", pool.acquire, pool)
    local ahead <close> = emma.pool { prelude = "x = 5", ahead = 1 }
    local other <close> = ahead:acquire()
    equal({ other:load("return x") }, { true, 5 })
end

function tests.pool_dropped_while_leased()
    local box = emma.pool { prelude = "x = 7", functions = { f = function() return 8 end } }:acquire()
    collectgarbage()
    collectgarbage()
    equal({ box:load("return x, f()") }, { true, 7, 8 })
    box:close()
end

function tests.instances()
    local instance <close> = emma.instance { limit = "1M", checkpoints = true }
    local address = instance:malloc(100)
    assert(instance:usable_size(address) >= 100)
    assert(instance:owns(address) and not instance:owns(16))
    equal({ instance:stats().live_blocks, instance:stats().limit_bytes }, { 1, 1 << 20 })
    equal(instance:classes()[1].live_blocks, 1)
    raises("no block begins", instance.free, instance, address + 16)
    raises("refuses", instance.malloc, instance, "8M")
    local level = instance:checkpoint()
    instance:malloc(1000)
    instance:rollback(level)
    equal(instance:stats().live_blocks, 1)
    instance:free(address)
    raises("no block begins", instance.free, instance, address)
    instance:reset()
    instance:set_limit(nil)
    equal(instance:stats().limit_bytes, nil)
    instance:check()
    raises("limit: ", emma.instance, { limit = {} })
    raises("options", emma.instance, { shared = true, checkpoints = true })
end

function tests.sizes()
    for text, bytes in pairs { ["8"] = 8, ["8k"] = 8192, ["8M"] = 8 << 20, ["1 GiB"] = 1 << 30, ["2KB"] = 2048 } do
        equal(emma.parse_size(text), bytes)
    end
    equal(emma.parse_size(1e7), 10000000)
    for _, wrong in ipairs { "", "x", "8T", "-1", "1.5M", "8b", -1, 1.5, {}, "99999999999G", true } do
        raises("size", emma.parse_size, wrong)
    end
end

--- The calling state refuses memory in a function of its own: an error like others.
function tests.no_memory_outside()
    local box <close> = make()
    box:register("big", function() return ("x"):rep(1 << 40) end)
    local ok, e = box:load("big()")
    assert(not ok and tostring(e):find("memory", 1, true) or tostring(e):find("large", 1, true))
    equal({ box:call("id", 1) }, { true, 1 })
end

local names = {}
for name in pairs(tests) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
    local ok, message = xpcall(tests[name], debug.traceback)
    print(("%-28s %s"):format(name, ok and "ok" or message))
    if not ok then os.exit(1) end
end
collectgarbage()
