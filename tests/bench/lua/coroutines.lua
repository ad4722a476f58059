-- Coroutines: generators, a producer/filter/consumer chain, a scheduler of many tasks, permutations.
-- sizes: full=150 counted=8 quick=1
local rounds = tonumber((...)) or 150

local function tree_insert(tree, key)
    if not tree then return { key = key } end
    if key < tree.key then tree.left = tree_insert(tree.left, key)
    else tree.right = tree_insert(tree.right, key) end
    return tree
end

local function walk(tree)
    if tree then
        walk(tree.left)
        coroutine.yield(tree.key)
        walk(tree.right)
    end
end

local function producer(n)
    return coroutine.wrap(function()
        for i = 1, n do coroutine.yield({ id = i, text = "message " .. i }) end
    end)
end

local function filter(source)
    return coroutine.wrap(function()
        for message in source do
            if message.id % 3 ~= 0 then coroutine.yield(message) end
        end
    end)
end

local function task(id, steps)
    return coroutine.create(function()
        local log = {}
        for step = 1, steps do
            log[#log + 1] = id * step
            coroutine.yield(#log)
        end
        return #log
    end)
end

local function schedule(count)
    local ready, switches = {}, 0
    for id = 1, count do ready[id] = task(id, 1 + id % 12) end
    while #ready > 0 do
        local still = {}
        for _, thread in ipairs(ready) do
            assert(coroutine.resume(thread))
            switches = switches + 1
            if coroutine.status(thread) ~= "dead" then still[#still + 1] = thread end
        end
        ready = still
    end
    return switches
end

local function permute(items, n)
    if n == 0 then coroutine.yield(items) return end
    for i = 1, n do
        items[n], items[i] = items[i], items[n]
        permute(items, n - 1)
        items[n], items[i] = items[i], items[n]
    end
end

local checksum = 0
for round = 1, rounds do
    local tree
    for i = 1, 400 do tree = tree_insert(tree, (i * 7919 + round) % 1009) end
    for key in coroutine.wrap(function() walk(tree) end) do checksum = checksum + key end
    for message in filter(producer(1500)) do checksum = checksum + #message.text end
    checksum = checksum + schedule(1200)
    for items in coroutine.wrap(function() permute({ 1, 2, 3, 4, 5, 6 }, 6) end) do
        checksum = checksum + items[1] * items[6]
    end
end
print("coroutines", rounds, checksum)
