-- JSON: decodes and encodes a document of nested records, strings with escapes, numbers and lists.
-- sizes: full=24 counted=1 quick=1
local rounds = tonumber((...)) or 24
math.randomseed(7)

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }
local unescapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", n = "\n", t = "\t", r = "\r", b = "\b", f = "\f" }

local encode
local function encode_string(s)
    return '"' .. s:gsub('[%c"\\]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function encode_table(t)
    local parts = {}
    if #t > 0 or next(t) == nil then
        for i, value in ipairs(t) do parts[i] = encode(value) end
        return "[" .. table.concat(parts, ",") .. "]"
    end
    local keys = {}
    for key in pairs(t) do keys[#keys + 1] = key end
    table.sort(keys)
    for i, key in ipairs(keys) do parts[i] = encode_string(key) .. ":" .. encode(t[key]) end
    return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
    local kind = type(value)
    if kind == "table" then return encode_table(value) end
    if kind == "string" then return encode_string(value) end
    return tostring(value)
end

local decode_value
local function skip(text, at) return text:find("%S", at) or #text + 1 end

local function decode_string(text, at)
    local stop = at + 1
    while true do
        stop = text:find('["\\]', stop)
        if text:byte(stop) == 34 then break end
        stop = stop + 2
    end
    local raw = text:sub(at + 1, stop - 1)
    if raw:find("\\", 1, true) then
        raw = raw:gsub("\\u(%x%x%x%x)", function(hex) return utf8.char(tonumber(hex, 16)) end):gsub("\\(.)", unescapes)
    end
    return raw, stop + 1
end

local function decode_array(text, at)
    local result = {}
    at = skip(text, at + 1)
    while text:sub(at, at) ~= "]" do
        result[#result + 1], at = decode_value(text, at)
        at = skip(text, at)
        if text:sub(at, at) == "," then at = skip(text, at + 1) end
    end
    return result, at + 1
end

local function decode_object(text, at)
    local result = {}
    at = skip(text, at + 1)
    while text:sub(at, at) ~= "}" do
        local key
        key, at = decode_string(text, at)
        at = skip(text, skip(text, at) + 1)
        result[key], at = decode_value(text, at)
        at = skip(text, at)
        if text:sub(at, at) == "," then at = skip(text, at + 1) end
    end
    return result, at + 1
end

local literals = { t = { true, 4 }, f = { false, 5 }, n = { nil, 4 } }
function decode_value(text, at)
    local first = text:sub(at, at)
    if first == "{" then return decode_object(text, at) end
    if first == "[" then return decode_array(text, at) end
    if first == '"' then return decode_string(text, at) end
    local literal = literals[first]
    if literal then return literal[1], at + literal[2] end
    local number = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
    return tonumber(number), at + #number
end

local function document(count)
    local people = {}
    for i = 1, count do
        local tags, history = {}, {}
        for k = 1, i % 6 do tags[k] = "tag-" .. math.random(1000) end
        for k = 1, 3 + i % 4 do history[k] = { at = i * 1000 + k, amount = math.random(10000) / 4, ok = k % 2 == 0 } end
        people[i] = {
            id = i, name = "Person \"" .. i .. "\"", email = "p" .. i .. "@example.org",
            bio = ("line one\nline two\t%d\\"):format(i), active = i % 3 == 0, tags = tags, history = history,
            address = { street = i .. " Main Street", city = "City " .. i % 40, zip = ("%05d"):format(i * 7 % 100000) },
        }
    end
    return { people = people, count = count, version = 1.5 }
end

local text = encode(document(450))
local bytes, people = 0, 0
for _ = 1, rounds do
    local value = decode_value(text, 1)
    people = people + #value.people
    local again = encode(value)
    if again ~= text then error("a round trip changed the document") end
    bytes = bytes + #again
end
print("json", rounds, people, bytes)
