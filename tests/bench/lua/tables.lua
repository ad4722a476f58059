-- Tables that grow: arrays, hash parts and mixed keys from empty to a few thousand entries, emptied and refilled.
-- sizes: full=200 counted=9 quick=1
local rounds = tonumber((...)) or 200

local function array(n)
    local t = {}
    for i = 1, n do t[i] = i * 2 end
    return t
end

local function hash(n, step)
    local t = {}
    for i = 1, n do t[i * step] = i end
    return t
end

local function small_tables(n)
    local all = {}
    for i = 1, n do
        local t = {}
        for k = 1, i % 9 do t[k] = k end
        t.first, t.second = i, -i
        if i % 3 == 0 then t.third = true end
        all[#all + 1] = t
    end
    return all
end

local function queue(n)
    local q, first, sum = {}, 1, 0
    for i = 1, n do
        q[#q + 1] = i
        if i % 3 == 0 then
            sum = sum + table.remove(q, 1 + i % math.min(#q, 8))
            first = first + 1
        end
    end
    return sum + first
end

local checksum = 0
for round = 1, rounds do
    checksum = checksum + #array(3000 + round)
    local sparse = hash(2000, 1031 + round)
    for key in pairs(sparse) do
        if key % 2 == 0 then sparse[key] = nil end
    end
    for i = 1, 500 do sparse["k" .. i] = i end
    for _, value in pairs(sparse) do checksum = checksum + value % 7 end
    for _, t in ipairs(small_tables(2000)) do checksum = checksum + #t + t.first + t.second end
    checksum = checksum + queue(1500)
end
print("tables", rounds, checksum)
