-- String building: concatenation, table.concat, string.format, rep, sub and upper on growing text.
-- sizes: full=8000 counted=300 quick=4
local rounds = tonumber((...)) or 8000

local function report_line(i)
    return string.format("%06d | %-12s | %8.3f | %s", i, "item" .. i % 97, i * 1.25, ("*"):rep(i % 17))
end

local function html_page(i)
    local out = { "<ul>" }
    for k = 1, 60 do
        out[#out + 1] = "<li class='" .. (k % 2 == 0 and "even" or "odd") .. "'>" .. k * i .. "</li>"
    end
    out[#out + 1] = "</ul>"
    return table.concat(out, "\n")
end

local function growing(i)
    local s = ""
    for k = 1, 40 do
        s = s .. report_line(i + k) .. "\n"
    end
    return s
end

local checksum = 0
local function add(s)
    for k = 1, #s, 61 do
        checksum = (checksum * 31 + s:byte(k)) % 1000000007
    end
end

local kept = {}
for i = 1, rounds do
    add(html_page(i))
    add(growing(i))
    local text = html_page(i):upper():reverse()
    add(text)
    for from = 1, #text - 20, 20 do
        checksum = (checksum + #text:sub(from, from + i % 20)) % 1000000007
    end
    kept[(i - 1) % 200 + 1] = text
end
print("strings", rounds, checksum, #table.concat(kept))
