-- Text processing with patterns: splitting CSV lines, trimming, templates through gsub, URL encoding.
-- sizes: full=40000 counted=2000 quick=30
local rows = tonumber((...)) or 40000
math.randomseed(42)

local function split(text, separator)
    local fields = {}
    for field in (text .. separator):gmatch("(.-)" .. separator) do
        fields[#fields + 1] = field
    end
    return fields
end

local function trim(s)
    return (s:gsub("^%s+", ""):gsub("%s+$", ""))
end

local function url_encode(s)
    return (s:gsub("[^%w%-_%.~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function url_decode(s)
    return (s:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local names = { "Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov" }
local lines = {}
for i = 1, rows do
    lines[i] = ("%d,  %s ,%s@example.org,%d, %d&%d=%d "):format(
        i, names[i % #names + 1], names[i % #names + 1]:lower():gsub(" ", "."), math.random(18, 90), i, i, i)
end

local template = "Dear ${name} (${id}),\n  your address is ${mail}, your age is ${age}.\n${note}\n"
local length, ages, mismatches = 0, 0, 0
for pass = 1, 2 do
    for _, line in ipairs(lines) do
        local f = split(line, ",")
        local record = { id = f[1], name = trim(f[2]), mail = trim(f[3]), age = trim(f[4]), note = trim(f[5]) }
        local letter = template:gsub("%${(%w+)}", record)
        local encoded = url_encode(record.name .. "?" .. record.note)
        if url_decode(encoded) ~= record.name .. "?" .. record.note then mismatches = mismatches + 1 end
        length = length + #letter + #encoded
        ages = ages + record.age * pass
    end
end
print("gsub_split", rows, length, ages, mismatches)
