-- handler.lua - what pool_server runs for each request: handle{method, path, query, body} returns a status, a body
-- and, unless it is text/plain, a content type. The second half of the routes does harm.
-- luacheck: globals handle

local PAGE = [[
<!DOCTYPE html>
<title>%s</title>
<table>
%s
</table>
<p>%d items, %.2f in all
]]

local names = { "apples", "pears", "plums", "quinces", "grapes" }
local served = 0
local routes = {}

-- A small page, as most requests want: 50 rows, one of them marked.
routes["/fruit"] = function(request)
    local rows, sum = {}, 0
    for i = 1, 50 do
        local item = { name = names[i % #names + 1], price = i * 0.25, marked = i == tonumber(request.query.mark) }
        sum = sum + item.price
        rows[#rows + 1] = ("<tr%s><td>%d<td>%s<td>%.2f"):format(item.marked and " class=mark" or "", i, item.name, item.price)
    end
    return 200, PAGE:format(request.query.title or "Fruit", table.concat(rows, "\n"), #rows, sum), "text/html"
end

routes["/echo"] = function(request)
    local lines = { request.method .. " " .. request.path }
    for key, value in pairs(request.query) do
        lines[#lines + 1] = key .. "=" .. value
    end
    table.sort(lines, function(a, b) return a:upper() < b:upper() end)
    return 200, table.concat(lines, "\n") .. "\n" .. request.body
end

-- How many requests this state has served: always 1 where each one finds it as it was loaded.
routes["/served"] = function()
    return 200, tostring(served)
end

-- ---- Harm ----

routes["/error"] = function()
    error("something is wrong")
end

routes["/nothing"] = function()
end

routes["/spin"] = function()
    while true do
        pcall(function() while true do end end)
    end
end

routes["/pattern"] = function()
    return 200, tostring(("a"):rep(40):find(("a?"):rep(40) .. ("a"):rep(40)))
end

routes["/bomb"] = function()
    local hoard = {}
    while true do
        pcall(function() hoard[#hoard + 1] = ("x"):rep(10000) .. #hoard end)
    end
end

routes["/tamper"] = function()
    getmetatable("").__index = function() return error end
    table.concat, tostring, names, routes["/fruit"] = nil, nil, nil, nil -- luacheck: ignore 121 122
    handle = function() return 200, "mine" end
    return 200, "tampered"
end

function handle(request)
    served = served + 1
    local route = routes[request.path]
    if not route then
        return 404, "there is no " .. request.path
    end
    return route(request)
end
