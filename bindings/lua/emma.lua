--- emma: capped Lua interpreters in a Lua program, and instances of the allocator.
--
--     local emma = require "emma"
--     local box <close> = emma.sandbox{memory = "8M", instructions = 1e7, deadline = 0.5}
--     box:load "function f(n, t) return n + t.a end"
--     local ok, r = box:call("f", 1, {a = 2})     -- true, 3
--
-- What runs in a sandbox ends with `true` and its results, or with `false` and an error: an object with the fields
-- `kind` ("error", "memory", "instructions", "deadline", "killed", "broken"), `message` and `traceback`, which as a
-- string is its message; or what a function given to the script raised, as it was. Everything else raises errors
-- that name what is wrong.
--
-- Sizes are bytes, or strings such as "8M". Values that go in and out are nil, booleans, numbers, strings and tables of
-- those, by copy. A sandbox belongs to the thread of the process that uses it.
local core = require "emma.core"

local emma = { version = core.version() }

local SHIFTS = { [""] = 0, K = 10, M = 20, G = 30 }

--- Bytes of a size: a whole number, or a string of a number and K, M or G (KB, KiB and so on; 1024 each time).
function emma.parse_size(size)
    if math.type(size) == "float" then size = math.tointeger(size) or size end
    if type(size) == "string" then
        local number, unit, rest = size:match "^%s*(%d+)%s*([kKmMgG]?)([iI]?[bB]?)%s*$"
        if not number or (unit == "" and #rest > 0) then
            error(("%q is not a size (use bytes or K, M, G)"):format(size), 2)
        end
        local value, shift = math.tointeger(tonumber(number)), SHIFTS[unit:upper()]
        if not value or value > math.maxinteger >> shift then
            error(("the size %q is too large"):format(size), 2)
        end
        return value << shift
    end
    if math.type(size) ~= "integer" then error(("a size is a number or a string, not %s"):format(size), 2) end
    if size < 0 then error(("a size cannot be negative: %d"):format(size), 2) end
    return size
end

--- Shows the sandboxes and instances that are made from now on to `emma top`.
function emma.export() core.show() end

-- ---- Options ----

local readers = {}

--- Nothing: no limit.
function readers.size(value)
    if value == nil then return nil end
    return emma.parse_size(value)
end

function readers.count(value)
    local count = math.type(value) and math.tointeger(value)
    if not count or count < 1 then error("a whole number from 1 on, not " .. tostring(value), 0) end
    return count
end

function readers.number(value)
    local count = math.type(value) and math.tointeger(value)
    if not count or count < 0 then error("a whole number from 0 on, not " .. tostring(value), 0) end
    return count
end

function readers.microseconds(value)
    if type(value) ~= "number" or not (value >= 1e-6 and value < 1e12) then
        error("seconds from 1e-6 to 1e12, not " .. tostring(value), 0)
    end
    return math.floor(value * 1e6 + 0.5)
end

local LIBRARIES = {}
for _, name in ipairs { "base", "coroutine", "table", "string", "math", "utf8", "io", "os", "package", "debug" } do
    LIBRARIES[name] = core["EMMA_SANDBOX_" .. name:upper()]
end

function readers.libraries(value)
    if type(value) ~= "table" then error("a list of names, not " .. type(value), 0) end
    local bits = 0
    for _, name in ipairs(value) do
        if not LIBRARIES[name] then error(("%s is no library"):format(tostring(name)), 0) end
        bits = bits | LIBRARIES[name]
    end
    return bits
end

local function typed(kind)
    return function(value)
        if type(value) ~= kind then error(("a %s, not %s"):format(kind, type(value)), 0) end
        return value
    end
end
readers.boolean, readers.string, readers.callback, readers.table =
    typed "boolean", typed "string", typed "function", typed "table"

--- What is asked for, by name; an error names what is wrong.
local function read(asked, known, level)
    if type(asked) ~= "table" then error(("options: a table, not %s"):format(type(asked)), level + 1) end
    local values = {}
    for name, value in pairs(asked) do
        if not known[name] then error(("%s: there is no such option"):format(tostring(name)), level + 1) end
        local good, read_value = pcall(readers[known[name]], value)
        if not good then error(("%s: %s"):format(name, (tostring(read_value):gsub("^[^ ]*:%d+: ", ""))), level + 1) end
        values[name] = read_value
    end
    return values
end

local SANDBOX_OPTIONS = {
    memory = "size", instructions = "count", deadline = "microseconds", libraries = "libraries", spare = "size",
    reserve = "size", collect_after = "size", value_bytes = "size", value_depth = "number", name = "string",
    print = "callback", checkpoints = "boolean", bytecode = "boolean", finalizers = "boolean", catch_memory = "boolean",
    limit_all = "boolean", incremental = "boolean",
}
local FIELDS = {
    memory = "limit_bytes", instructions = "instructions", deadline = "deadline_us", libraries = "libraries",
    spare = "spare_bytes", reserve = "reserve_bytes", collect_after = "collect_after_bytes",
    value_bytes = "value_bytes", value_depth = "value_depth",
}
local FLAGS = { "checkpoints", "bytecode", "finalizers", "catch_memory", "limit_all", "incremental" }

--- Writes what was asked for into options of the core's.
local function fill(options, values)
    for name, field in pairs(FIELDS) do
        if values[name] ~= nil then options[field] = values[name] end
    end
    local flags = 0
    for _, name in ipairs(FLAGS) do
        local set = values[name]
        if set == nil then set = name == "checkpoints" end
        if set then flags = flags | core["EMMA_SANDBOX_" .. name:upper()] end
    end
    options.flags = flags
    return options
end

--- A table of the fields that an object of the core's has.
local function copy(object, names)
    local fields = {}
    for _, name in ipairs(names) do fields[name] = object[name] end
    return fields
end

local MEMORY_FIELDS = {
    "limit_bytes", "soft_limit_bytes", "spare_bytes", "reserve_bytes", "footprint_bytes", "peak_footprint_bytes",
    "metadata_bytes", "retained_bytes", "live_bytes", "live_blocks", "large_bytes", "large_blocks", "mapping_count",
    "moved_bytes", "returned_bytes", "refused_count", "reentered_count", "checkpoint_bytes",
    "abandoned_bytes",
}
local SANDBOX_FIELDS = {
    "limit_bytes", "live_bytes", "footprint_bytes", "peak_footprint_bytes", "checkpoint_bytes", "resource_count",
    "instructions", "total_instructions", "microseconds", "total_microseconds", "broken_count", "rollback_count",
}
local TYPE_FIELDS = { "strings", "tables", "functions", "userdata", "threads", "rest" }
local POOL_FIELDS = {
    "sandboxes", "idle", "sandboxes_max", "footprint_bytes", "prepared_count", "failed_count", "acquired_count",
    "waited_count", "demanded_count", "replaced_count", "broken_count", "microseconds",
}
local CLASS_FIELDS = { "block_bytes", "live_blocks", "free_blocks", "slabs", "footprint_bytes" }
local ENDS = { "done", "error", "memory", "instructions", "deadline", "killed" }

-- ---- What sandboxes and instances have in common ----

local Heap = {}

--- Takes a checkpoint; returns its level.
function Heap:checkpoint() return self.handle:checkpoint() end

--- Brings all that is in it back to a checkpoint; later ones are dropped.
function Heap:rollback(level) self.handle:rollback(level) end

--- Drops a checkpoint and all later ones.
function Heap:drop(level) self.handle:drop(level) end

--- The figures of the size classes that have slabs.
function Heap:classes()
    local classes = {}
    for index = 0, math.huge do
        local class = self.handle:class_stats(index)
        if class.block_bytes == 0 then return classes end
        if class.slabs > 0 then classes[#classes + 1] = copy(class, CLASS_FIELDS) end
    end
end

--- Calls a function with each block's address and size, until it returns false; whether all were visited.
function Heap:walk(visit) return self.handle:walk(visit) end

--- Verifies the heap; an error if it is damaged.
function Heap:check() self.handle:check() end

--- Gives free memory back to the system; returns how many bytes.
function Heap:trim() return self.handle:trim() end

--- Throws it away, with all that is in it; a sandbox of a pool's goes back.
function Heap:close() self.handle:close() end

Heap.__close = Heap.close

--- A class of objects with these methods, and more.
local function class_of_heaps(name)
    local class = { __name = name }
    for method, body in pairs(Heap) do class[method] = body end
    class.__index = class
    return class
end

-- ---- Sandboxes ----

local Sandbox = class_of_heaps "emma.sandbox"

--- `functions` has what the handle refers to weakly as its keys or values.
local function wrap(handle, functions)
    return setmetatable({ handle = handle, functions = functions }, Sandbox)
end

--- Makes a sandbox. Options: memory (a size), instructions and deadline (seconds) of each call; libraries (a list of
-- names), print (a function for each line), name; and those of emma_sandbox.h.
function emma.sandbox(options)
    local values = read(options or {}, SANDBOX_OPTIONS, 2)
    local functions = { values.print }
    return wrap(core.Sandbox(fill(core.SandboxOptions(), values), values.name, values.print), functions)
end

--- Compiles a text and runs it; `name` is what messages call it.
function Sandbox:load(source, name)
    if type(source) ~= "string" then error(("source: a string, not %s"):format(type(source)), 2) end
    return self.handle:run(source, name)
end

--- Calls a global function, or one in a table ("game.on_join").
function Sandbox:call(name, ...)
    return self.handle:call(name, table.pack(...))
end

--- Sets a global, or a field ("game.config"; tables on the way are made).
function Sandbox:set(name, value) self.handle:set(name, value) end

--- The same with a function: it gets and returns values; an error that it raises is the script's. The sandbox keeps
-- it until it is closed, also where another one takes its name: scripts may have it, and a rollback brings it back.
function Sandbox:register(name, callback)
    self.handle:provide(name, callback)
    self.functions[callback] = true
end

--- Stops the call that goes on, from a function that it called; or the next one.
function Sandbox:kill() self.handle:kill() end

--- Changes what scripts may take from now on; nil: any memory.
function Sandbox:set_memory(size) self.handle:set_limit(read({ memory = size }, SANDBOX_OPTIONS, 2).memory) end

--- Changes what each call may take: instructions and seconds; nil: any.
function Sandbox:set_budget(instructions, deadline)
    local values = read({ instructions = instructions, deadline = deadline }, SANDBOX_OPTIONS, 2)
    self.handle:set_budget(values.instructions or 0, values.deadline or 0)
end

--- The figures, as in emma_sandbox_stats; `calls` by how they ended.
function Sandbox:stats()
    local raw = self.handle:stats()
    local stats, counts = copy(raw, SANDBOX_FIELDS), raw.calls
    stats.calls = {}
    for i, name in ipairs(ENDS) do stats.calls[name] = counts[i] end
    return stats
end

--- Bytes of what the script can reach, by type.
function Sandbox:types() return copy(self.handle:types(), TYPE_FIELDS) end

--- The figures of its memory, as in emma_stats.
function Sandbox:memory() return copy(self.handle:memory(), MEMORY_FIELDS) end

function Sandbox:is_closed() return self.handle:is_closed() end

function Sandbox:__tostring() return ("emma.sandbox (%s)"):format(self:is_closed() and "closed" or "open") end

-- ---- Pools ----

local Pool = {}
Pool.__index = Pool
Pool.__name = "emma.pool"

local POOL_OPTIONS = {
    prelude = "string", prelude_name = "string", prelude_deadline = "microseconds", size = "count", ahead = "number",
    functions = "table",
}
for name, reader in pairs(SANDBOX_OPTIONS) do POOL_OPTIONS[name] = reader end

--- Makes a pool. Options: prelude (a text), prelude_name, prelude_deadline (seconds), size (how many sandboxes at
-- once), ahead (how many a thread keeps ready), functions (by name), and those of a sandbox.
function emma.pool(options)
    local values = read(options or {}, POOL_OPTIONS, 2)
    local asked, functions = core.PoolOptions(), { values.print }
    if (values.ahead or 0) > 0 and (values.print or next(values.functions or {})) then
        error("ahead: another thread would call print and functions, which are this one's", 2)
    end
    asked.sandbox = fill(core.SandboxOptions(), values)
    if values.size then asked.sandboxes_max = values.size end
    if values.ahead then asked.ahead = values.ahead end
    if values.prelude_deadline then asked.prelude_us = values.prelude_deadline end
    local handle = core.Pool(values.print)
    for name, callback in pairs(values.functions or {}) do
        if type(name) ~= "string" or type(callback) ~= "function" then
            error(("functions: %s: a name and a function are needed"):format(tostring(name)), 2)
        end
        handle:provide(name, callback)
        functions[#functions + 1] = callback
    end
    handle:open(asked, values.name, values.prelude, values.prelude_name)
    return setmetatable({ handle = handle, functions = functions }, Pool)
end

--- Leases a sandbox; it goes back when it is closed (local box <close> = pool:acquire()). An error
-- where all are leased: nobody else could give one back meanwhile.
function Pool:acquire()
    local handle = self.handle:acquire(0)
    if not handle then error("all sandboxes of the pool are leased", 2) end
    return wrap(handle, { self.functions })
end

--- Prepares sandboxes until so many are idle.
function Pool:prepare(count) self.handle:prepare(count) end

--- The figures, as in emma_sandbox_pool_stats.
function Pool:stats() return copy(self.handle:stats(), POOL_FIELDS) end

--- Ends it; an error while sandboxes are leased.
function Pool:close() self.handle:close() end

function Pool:is_closed() return self.handle:is_closed() end

Pool.__close = Pool.close

function Pool:__tostring() return ("emma.pool (%s)"):format(self:is_closed() and "closed" or "open") end

-- ---- Instances ----

local Instance = class_of_heaps "emma.instance"

local INSTANCE_OPTIONS = {
    limit = "size", soft_limit = "size", spare = "size", reserve = "size", name = "string", shared = "boolean",
    checkpoints = "boolean", align8 = "boolean",
}

--- Makes an instance of the allocator. Options: limit, soft_limit, spare and reserve (sizes), shared, checkpoints,
-- align8, name. Addresses are integers.
function emma.instance(options)
    local values = read(options or {}, INSTANCE_OPTIONS, 2)
    local asked = core.Options()
    asked.limit_bytes, asked.soft_limit_bytes = values.limit, values.soft_limit
    asked.spare_bytes, asked.reserve_bytes = values.spare or 0, values.reserve or 0
    asked.flags = (values.shared and core.EMMA_SHARED or 0) | (values.checkpoints and core.EMMA_CHECKPOINTS or 0)
        | (values.align8 and core.EMMA_ALIGN8 or 0)
    return setmetatable({ handle = core.Instance(asked, values.name) }, Instance)
end

--- Allocates; returns the address.
function Instance:malloc(size) return self.handle:malloc(emma.parse_size(size)) end

--- Frees a block; an error where none begins. All blocks are looked at.
function Instance:free(address) self.handle:release(address) end

function Instance:usable_size(address) return self.handle:usable_size(address) end

function Instance:owns(address) return self.handle:owns(address) end

function Instance:reset() self.handle:reset() end

function Instance:set_limit(size) self.handle:set_limit(readers.size(size)) end

function Instance:set_soft_limit(size) self.handle:set_soft_limit(readers.size(size)) end

function Instance:use_spare(use) self.handle:use_spare(use) end

function Instance:stats() return copy(self.handle:stats(), MEMORY_FIELDS) end

return emma
