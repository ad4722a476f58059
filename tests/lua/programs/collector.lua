-- Weak tables, ephemerons, finalizers and resurrection in a heap that churns.
-- sizes: full=40 quick=6
local rounds = tonumber((...)) or 40
local finalized, resurrected = 0, 0
local kept = {}

local function object(id)
    return setmetatable({id = id, payload = ("p"):rep(id % 97)}, {__gc = function(self)
        finalized = finalized + 1
        if self.id % 100 == 0 then
            resurrected = resurrected + 1
            kept[#kept + 1] = self
        end
    end})
end

local lines = {}
for round = 1, rounds do
    local weak_keys, weak_values = setmetatable({}, {__mode = "k"}), setmetatable({}, {__mode = "v"})
    local strong = {}
    for id = 1, 1000 do
        local key = object(id)
        weak_keys[key] = {key} -- an ephemeron: the value refers to its own key
        weak_values[id] = key
        if id % 10 == 0 then strong[#strong + 1] = key end
    end
    if round % 2 == 0 then collectgarbage("generational") else collectgarbage("incremental") end
    collectgarbage()
    collectgarbage()
    local keys, values = 0, 0
    for _ in pairs(weak_keys) do keys = keys + 1 end
    for _ in pairs(weak_values) do values = values + 1 end
    assert(#strong == 100 and keys == values, "weak tables agree")
    lines[#lines + 1] = round .. ":" .. keys
end
collectgarbage()
for _, survivor in ipairs(kept) do assert(#survivor.payload == survivor.id % 97) end
print(table.concat(lines, " "), finalized, resurrected, #kept)
