-- A long-lived heap of more than 100 MB with churn: a server with a store of sessions that parses requests, updates
-- and expires sessions, and renders responses.
-- sizes: full=60000 counted=3000 quick=300
local session_count = tonumber((...)) or 60000
local requests = session_count // 3
math.randomseed(17)

local function new_session(id)
    local session = { id = id, user = "user" .. id % 50000, created = id, history = {}, cart = {}, flags = { admin = id % 100 == 0 } }
    for i = 1, 4 do session.history[i] = "/shop/item/" .. (id * i) % 100003 end
    for i = 1, id % 4 do session.cart[i] = { item = id + i, quantity = i, price = i * 2.5 } end
    return session
end

local function parse(request)
    local method, path, query = request:match("^(%u+) ([^?%s]+)%??(%S*)")
    local arguments, headers = {}, {}
    for key, value in query:gmatch("([^&=]+)=([^&]*)") do arguments[key] = value end
    for name, value in request:gmatch("\n([%w%-]+): ([^\n]+)") do headers[name:lower()] = value end
    return { method = method, path = path, arguments = arguments, headers = headers }
end

local function render(session, request)
    local out = { "HTTP/1.1 200 OK\nContent-Type: text/html\n\n<h1>", session.user, "</h1><ol>" }
    for i = #session.history, math.max(1, #session.history - 5), -1 do
        out[#out + 1] = "<li>" .. session.history[i] .. "</li>"
    end
    local sum = 0
    for _, line in ipairs(session.cart) do sum = sum + line.quantity * line.price end
    out[#out + 1] = ("</ol><p>%s %.2f</p>"):format(request.path, sum)
    return table.concat(out)
end

local sessions = {}
for id = 1, session_count do sessions[id] = new_session(id) end

local bytes, expired, next_id = 0, 0, session_count
for i = 1, requests do
    local id = math.random(session_count)
    local request = parse(("GET /shop/item/%d?sid=%d&quantity=%d&color=red HTTP/1.1\nHost: shop.example.org\n"
        .. "User-Agent: bench/%d\nAccept: text/html\nCookie: sid=%d\n"):format(i % 997, id, i % 3 + 1, i % 9, id))
    local session = sessions[tonumber(request.arguments.sid)]
    session.history[#session.history + 1] = request.path
    if #session.history > 8 then table.remove(session.history, 1) end
    if i % 4 == 0 then
        session.cart[#session.cart + 1] = { item = i, quantity = tonumber(request.arguments.quantity), price = 1.25 }
    end
    bytes = bytes + #render(session, request)
    for _ = 1, 2 do
        local old = math.random(session_count)
        next_id = next_id + 1
        sessions[old] = new_session(next_id)
        expired = expired + 1
    end
end
print("server_mix", session_count, bytes, expired)
