-- A small language: tokenises, parses to a syntax tree, folds constants and evaluates generated programs.
-- sizes: full=180 counted=8 quick=1
local rounds = tonumber((...)) or 180
math.randomseed(5)

local function tokenise(source)
    local tokens, at = {}, 1
    while true do
        at = source:find("%S", at)
        if not at then break end
        local number = source:match("^%d+", at)
        local name = not number and source:match("^%a+", at)
        local text = number or name or source:sub(at, at)
        tokens[#tokens + 1] = { kind = number and "number" or name and "name" or "operator", text = text, at = at }
        at = at + #text
    end
    return tokens
end

local precedence = { ["+"] = 1, ["-"] = 1, ["*"] = 2, ["%"] = 2 }

local function parser(tokens)
    local at, expression = 1, nil
    local function accept(text)
        if tokens[at] and tokens[at].text == text then
            at = at + 1
            return true
        end
    end
    local function primary()
        local token = tokens[at]
        at = at + 1
        if token.kind == "number" then return { op = "constant", value = tonumber(token.text) } end
        if token.kind == "name" then return { op = "variable", name = token.text } end
        local inner = expression(1)
        assert(accept(")"), "unbalanced parenthesis")
        return inner
    end
    function expression(least)
        local left = primary()
        while tokens[at] and (precedence[tokens[at].text] or 0) >= least do
            local operator = tokens[at].text
            at = at + 1
            left = { op = operator, left = left, right = expression(precedence[operator] + 1) }
        end
        return left
    end
    return function()
        local statements = {}
        while tokens[at] do
            local name = tokens[at].text
            at = at + 1
            assert(accept("="), "assignment expected")
            statements[#statements + 1] = { name = name, value = expression(1) }
            assert(accept(";"), "semicolon expected")
        end
        return statements
    end
end

local apply = {
    ["+"] = function(a, b) return (a + b) % 65521 end,
    ["-"] = function(a, b) return (a - b) % 65521 end,
    ["*"] = function(a, b) return (a * b) % 65521 end,
    ["%"] = function(a, b) return a % (b + 1) end,
}

local function fold(node)
    if not node.left then return node end
    local left, right = fold(node.left), fold(node.right)
    if left.op == "constant" and right.op == "constant" then
        return { op = "constant", value = apply[node.op](left.value, right.value) }
    end
    return { op = node.op, left = left, right = right }
end

local function evaluate(node, variables)
    if node.op == "constant" then return node.value end
    if node.op == "variable" then return variables[node.name] or 0 end
    return apply[node.op](evaluate(node.left, variables), evaluate(node.right, variables))
end

local operators = { "+", "-", "*", "%" }
local function generate(depth)
    if depth == 0 then
        return math.random(2) == 1 and tostring(math.random(999)) or string.char(96 + math.random(26))
    end
    return "(" .. generate(depth - 1) .. " " .. operators[math.random(4)] .. " " .. generate(math.max(0, depth - 1 - depth % 2)) .. ")"
end

local checksum = 0
for _ = 1, rounds do
    local source = {}
    for i = 1, 40 do source[i] = string.char(96 + math.random(26)) .. " = " .. generate(6) .. ";" end
    local variables = {}
    for _, statement in ipairs(parser(tokenise(table.concat(source, "\n")))()) do
        variables[statement.name] = evaluate(fold(statement.value), variables)
    end
    for _, value in pairs(variables) do checksum = (checksum + value) % 1000000007 end
end
print("interpreter", rounds, checksum)
