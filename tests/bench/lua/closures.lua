-- Closures: counters with shared upvalues, composed functions, memoisation, lazy streams, continuation passing.
-- sizes: full=2200 counted=120 quick=2
local rounds = tonumber((...)) or 2200

local function counter(start)
    local n = start
    return function() n = n + 1 return n end, function() return n end
end

local function compose(...)
    local functions = { ... }
    return function(x)
        for i = #functions, 1, -1 do x = functions[i](x) end
        return x
    end
end

local function adder(k) return function(x) return x + k end end

local function memoise(f)
    local cache = {}
    return function(x)
        local value = cache[x]
        if value == nil then
            value = f(x)
            cache[x] = value
        end
        return value
    end
end

local function from(n) return { head = n, tail = function() return from(n + 1) end } end
local function map(f, s) return { head = f(s.head), tail = function() return map(f, s.tail()) end } end
local function filter(p, s)
    while not p(s.head) do s = s.tail() end
    return { head = s.head, tail = function() return filter(p, s.tail()) end }
end
_ENV.from, _ENV.map, _ENV.filter = from, map, filter

local function sum_cps(list, i, k)
    if i > #list then return k(0) end
    return sum_cps(list, i + 1, function(rest) return k(rest + list[i]) end)
end

local checksum = 0
for round = 1, rounds do
    local increment, read = counter(round)
    for _ = 1, 300 do increment() end
    checksum = checksum + read()

    local pipeline = {}
    for i = 1, 60 do pipeline[i] = adder(i % 5) end
    checksum = checksum + compose(table.unpack(pipeline))(round)

    local fibonacci
    fibonacci = memoise(function(n) return n < 2 and n or (fibonacci(n - 1) + fibonacci(n - 2)) % 10007 end)
    checksum = checksum + fibonacci(120)

    local stream = filter(function(x) return x % 3 == 0 end, map(function(x) return x * 2 end, from(round)))
    for _ = 1, 200 do
        checksum = checksum + stream.head
        stream = stream.tail()
    end

    local list = {}
    for i = 1, 150 do list[i] = i * round end
    checksum = checksum + sum_cps(list, 1, function(total) return total end)
end
print("closures", rounds, checksum)
