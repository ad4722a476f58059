-- Tables, strings and stacks that grow and shrink through every size, and are right afterwards.
-- sizes: full=60000 quick=8000
local size = tonumber((...)) or 60000

local function check_array(count)
    local array = {}
    for i = 1, count do array[i] = i end
    for i = count, count // 2, -1 do array[i] = nil end
    for i = 1, count do array[i] = (array[i] or 0) + i end
    local sum = 0
    for i = 1, count do sum = sum + array[i] end
    return sum
end

local function check_map(count)
    local map = {}
    for i = 1, count do map["key" .. i] = i end
    for i = 1, count, 2 do map["key" .. i] = nil end
    for i = 1, count do map[i * 1.5] = i end
    local sum, members = 0, 0
    for _, value in pairs(map) do sum, members = sum + value, members + 1 end
    return sum, members
end

local function check_strings()
    local text, lengths = "", 0
    for i = 1, 2000 do
        text = text .. string.char(32 + i % 90)
        assert(#text == i and text:byte(-1) == 32 + i % 90)
        lengths = lengths + #text:sub(i // 2)
    end
    local parts = {}
    for shift = 0, 20 do
        local piece = ("ab"):rep(1 << shift)
        assert(#piece == 2 << shift and piece:sub(-2) == "ab")
        parts[#parts + 1] = #piece:upper():reverse()
    end
    return lengths, table.concat(parts, ",")
end

local function depth(n) return n == 0 and 0 or 1 + depth(n - 1) end

local function check_stacks()
    local threads, sum = {}, 0
    for i = 1, 200 do
        threads[i] = coroutine.create(function(n)
            local here = depth(n)
            coroutine.yield(here)
            return select("#", table.unpack({}, 1, n))
        end)
        local _, reached = assert(coroutine.resume(threads[i], i * 40))
        sum = sum + reached
    end
    for i = 1, 200 do
        local _, count = assert(coroutine.resume(threads[i]))
        sum = sum + count
    end
    return sum
end

for count = 1, 70 do assert(check_array(count) > 0) end
print(check_array(size), check_map(size))
print(check_strings())
print(check_stacks(), depth(150000))
print(#table.pack(table.unpack({}, 1, 200000)), ("x"):rep(1 << 22):len())
