-- Goes through what the module does with the calling state's memory; an error in a call must leave the sandbox usable.
local emma = require "emma"
local box = emma.sandbox()
assert(box:load("function id(...) return ... end function many() local t = {} for i = 1, 200 do t[i] = 'text ' .. i end return t end"))
box:register("back", function(...) return ... end)
local kept = {}
for i = 1, 40 do
    local ok, failure = pcall(function()
        kept[i] = select(2, box:call("many"))
        assert(box:load("return back('x', { 1, 2, { 3 } })"))
        box:load("error('no')")
        return box:stats()
    end)
    if not ok then
        kept = nil
        collectgarbage()
        local fine, value = box:call("id", i)
        assert(fine and value == i, "the sandbox is not usable")
        error(failure, 0)
    end
end
io.write(#kept == 40 and "whole" or "in part")
