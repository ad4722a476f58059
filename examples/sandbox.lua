-- Runs scripts that are not trusted, from Lua: each in what it may take, and back to a clean state after it.
--
-- Run it where Lua finds the module emma:
--     lua5.4 examples/sandbox.lua
--
-- Expected output:
--     3 apples and 2 pears: 19
--     loop: instructions: orders.lua:1: the budget of instructions is used up
--     bomb: memory: not enough memory
--     wrong: error: orders.lua:1: attempt to index a nil value (global 'nothing')
--     the next request sees a clean state: true

local emma = require "emma"

local PRELUDE <const> = [[
    function total(order)
        local sum = 0
        for name, count in pairs(order) do sum = sum + count * price(name) end
        return sum
    end
]]

local HOSTILE <const> = {
    { "loop", "while true do end" },
    { "bomb", "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end" },
    { "wrong", "return nothing.here" },
}

local prices <const> = { apples = 3, pears = 5 }

local box <close> = emma.sandbox { memory = "1M", instructions = 1e6, deadline = 0.5 }
box:register("price", function(name) return prices[name] end)
assert(box:load(PRELUDE))
local ready = box:checkpoint()

local _, sum = box:call("total", { apples = 3, pears = 2 })
print("3 apples and 2 pears: " .. sum)
for _, hostile in ipairs(HOSTILE) do
    local ok, failure = box:load("leak = true " .. hostile[2], "orders.lua")
    assert(not ok)
    print(("%s: %s: %s"):format(hostile[1], failure.kind, failure))
    box:rollback(ready)
end
print("the next request sees a clean state: " .. tostring(select(2, box:load("return leak == nil"))))
