-- Complete binary trees, built and walked: many short-lived trees beside a long-lived one.
-- sizes: full=16 counted=12 quick=6
local max_depth = tonumber((...)) or 16
local min_depth = 4

local function build(depth)
    if depth == 0 then return {} end
    return { left = build(depth - 1), right = build(depth - 1) }
end

local function count(tree)
    if not tree.left then return 1 end
    return 1 + count(tree.left) + count(tree.right)
end

local long_lived = build(max_depth)
local total = 0
for depth = min_depth, max_depth, 4 do
    local iterations = 1 << (max_depth - depth + min_depth - 1)
    for _ = 1, iterations do
        total = total + count(build(depth))
    end
end
print("binary_trees", max_depth, total, count(long_lived))
