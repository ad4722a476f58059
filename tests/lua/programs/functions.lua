-- Closures, upvalues, varargs, metamethods, coroutines within coroutines, goto, to-be-closed variables, code at run time.
-- sizes: full=4000 quick=400
local rounds = tonumber((...)) or 4000
local log = {}

local function closing(name)
    return setmetatable({}, {__close = function(_, problem)
        log[#log + 1] = name .. (problem and "!" or "")
    end})
end

local function nested(level)
    local _ <close> = closing("g" .. level)
    if level == 0 then error("bottom", 0) end
    return nested(level - 1), level
end

local total = 0
for round = 1, rounds do
    local shared = round
    local function raise(by) shared = shared + by return shared end
    local function lower(by) shared = shared - by return shared end
    total = total + raise(3) - lower(2)

    local ok, problem = pcall(nested, round % 5)
    if ok or problem ~= "bottom" then error(problem, 0) end

    local chunk = assert(load("local a, b = ... return function(c) return a + b * c end"))
    total = total + chunk(round, 2)(round % 7)

    local outer = coroutine.wrap(function(...)
        local inner = coroutine.wrap(function(first, ...)
            for i = 1, select("#", ...) do coroutine.yield(first + (select(i, ...))) end
        end)
        local sum = inner(round, ...)
        for _ = 2, select("#", ...) do sum = sum + inner() end
        coroutine.yield(sum)
    end)
    total = total + outer(1, 2, 3)

    local vector = setmetatable({round, 2}, {
        __add = function(a, b) return a[1] + b[1] end, __index = function(_, key) return key * 2 end,
        __call = function(self, x) return self[1] * x end, __len = function() return 9 end,
        __concat = function() return "joined" end, __eq = function() return true end,
    })
    total = total + (vector + vector) + vector[5] + vector(2) + #vector + #(vector .. vector)

    local i = 0
    ::again::
    i = i + 1
    if i < round % 4 then goto again end
    total = total + i
end
print(total, #log, table.concat(log, " ", 1, 12))

local dumped = string.dump(function(n) local t = {} for i = 1, n do t[i] = i ~ n end return #t end, true)
print(load(dumped, "dumped", "b")(1000), pcall(load(dumped, "dumped", "b"), "x"))
local steps = {}
for _, step in ipairs{"count", "step", "isrunning"} do steps[#steps + 1] = type(collectgarbage(step)) end
print(table.concat(steps, " "))
