-- showcase.lua - a program that works memory hard: emma-lua --limit 64M --stats showcase.lua
--
-- It traces rays through a small scene (each vector is a table of its own), prints the picture,
-- writes its pixels as JSON and reads them back, and makes up a text, in which it finds the most
-- frequent words and where they stand. What it prints is always the same.

local WIDTH <const>, HEIGHT <const> = 78, 34
local SAMPLES <const> = 5 -- per pixel, each way
local DEPTH <const> = 4   -- reflections followed
local SHADES <const> = " .,:;-~=+*ocaxO#%@"

-- Vectors -----------------------------------------------------------------------------------------

local Vector = {}
Vector.__index = Vector

local function vector(x, y, z)
    return setmetatable({x = x, y = y, z = z}, Vector)
end

function Vector.__add(a, b) return vector(a.x + b.x, a.y + b.y, a.z + b.z) end
function Vector.__sub(a, b) return vector(a.x - b.x, a.y - b.y, a.z - b.z) end
function Vector.__mul(a, factor) return vector(a.x * factor, a.y * factor, a.z * factor) end
function Vector.dot(a, b) return a.x * b.x + a.y * b.y + a.z * b.z end
function Vector.unit(a) return a * (1 / math.sqrt(a:dot(a))) end

-- The scene ---------------------------------------------------------------------------------------

local spheres = {
    {name = "moon", centre = vector(-1.7, 0.2, 6.0), radius = 1.2, shine = 0.35, shade = 0.95},
    {name = "planet", centre = vector(1.5, -0.1, 5.0), radius = 0.9, shine = 0.15, shade = 0.75},
    {name = "pebble", centre = vector(0.1, -0.6, 3.6), radius = 0.4, shine = 0.05, shade = 1.0},
    {name = "pearl", centre = vector(0.5, 1.3, 5.5), radius = 0.45, shine = 0.6, shade = 0.9},
}
local FLOOR <const> = -1.0
local light = vector(-0.6, 0.9, -0.7):unit()

local function hit_sphere(sphere, origin, direction)
    local to_centre = sphere.centre - origin
    local along = to_centre:dot(direction)
    local square = sphere.radius ^ 2 - (to_centre:dot(to_centre) - along * along)
    if along < 0 or square < 0 then return nil end
    local distance = along - math.sqrt(square)
    return distance > 1e-4 and distance or nil
end

local function nearest(origin, direction)
    local best, found = math.huge, nil
    for _, sphere in ipairs(spheres) do
        local distance = hit_sphere(sphere, origin, direction)
        if distance and distance < best then
            best, found = distance, sphere
        end
    end
    return best, found
end

local trace

local function shade_at(point, normal, direction, shade, shine, depth)
    local brightness = 0.12
    local _, blocked = nearest(point, light)
    if not blocked then
        brightness = brightness + 0.88 * math.max(0, normal:dot(light))
    end
    brightness = brightness * shade
    if shine > 0 and depth > 1 then
        local mirrored = direction - normal * (2 * direction:dot(normal))
        brightness = brightness * (1 - shine) + shine * trace(point, mirrored:unit(), depth - 1)
    end
    return brightness
end

function trace(origin, direction, depth)
    local distance, sphere = nearest(origin, direction)
    local to_floor = direction.y < -1e-6 and (FLOOR - origin.y) / direction.y or math.huge
    if sphere and distance < to_floor then
        local point = origin + direction * distance
        local normal = (point - sphere.centre):unit()
        return shade_at(point, normal, direction, sphere.shade, sphere.shine, depth)
    elseif to_floor < 30 then
        local point = origin + direction * to_floor
        local dark = (math.floor(point.x) + math.floor(point.z)) % 2 == 0
        local up = vector(0, 1, 0)
        return shade_at(point, up, direction, dark and 0.35 or 0.8, 0.1, depth)
    end
    return 0.02 + 0.16 * math.max(0, direction.y)
end

local function render()
    local eye = vector(0, 0.3, -1.2)
    local rows = {}
    for row = 1, HEIGHT do
        local pixels = {}
        for column = 1, WIDTH do
            local sum = 0
            for sample = 0, SAMPLES * SAMPLES - 1 do
                local x = column + sample % SAMPLES / SAMPLES
                local y = row + sample // SAMPLES / SAMPLES
                local direction = vector((x / WIDTH - 0.5) * 2.2, (0.46 - y / HEIGHT) * 2.1, 2.1)
                sum = sum + trace(eye, direction:unit(), DEPTH)
            end
            pixels[column] = math.floor(255 * math.min(1, sum / SAMPLES ^ 2))
        end
        rows[row] = pixels
    end
    return rows
end

local function picture(rows)
    local lines = {}
    for row, pixels in ipairs(rows) do
        local marks = {}
        for column, level in ipairs(pixels) do
            local index = 1 + level * #SHADES // 256
            marks[column] = SHADES:sub(index, index)
        end
        lines[row] = table.concat(marks):gsub("%s+$", "")
    end
    return table.concat(lines, "\n")
end

-- JSON --------------------------------------------------------------------------------------------

local encode

local function encode_members(value)
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys)
    for index, key in ipairs(keys) do
        parts[index] = string.format("%q:", key) .. encode(value[key])
    end
    return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
    if type(value) ~= "table" then
        return type(value) == "string" and string.format("%q", value) or tostring(value)
    elseif #value == 0 then
        return encode_members(value)
    end
    local parts = {}
    for index, item in ipairs(value) do parts[index] = encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
end

local decode

-- Reads items up to `close`; `item` reads one from a position and returns the next position.
local function decode_list(text, at, close, item)
    if text:sub(at, at) == close then return at + 1 end
    repeat
        at = item(at)
        local mark = text:sub(at, at)
        assert(mark == "," or mark == close, "a comma or the end was expected")
        at = at + 1
    until mark == close
    return at
end

function decode(text, at)
    local first = text:sub(at, at)
    if first == '"' then
        local last = text:find('"', at + 1, true)
        return text:sub(at + 1, last - 1), last + 1
    elseif first == "[" then
        local list = {}
        return list, decode_list(text, at + 1, "]", function(position)
            list[#list + 1], position = decode(text, position)
            return position
        end)
    elseif first == "{" then
        local map = {}
        return map, decode_list(text, at + 1, "}", function(position)
            local key
            key, position = decode(text, position)
            map[key], position = decode(text, position + 1)
            return position
        end)
    end
    local number, next_at = text:match("^(-?[%d.]+)()", at)
    return assert(math.tointeger(number) or tonumber(number)), next_at
end

local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for key, value in pairs(a) do
        if not same(value, b[key]) then return false end
    end
    for key in pairs(b) do
        if a[key] == nil then return false end
    end
    return true
end

-- Words -------------------------------------------------------------------------------------------

local SYLLABLES <const> = {"la", "ri", "mo", "ten", "su", "ka", "ver", "o", "ni", "das"}

local function make_up_text(word_count)
    local seed = 20240229
    local function random(bound)
        seed = (seed * 1103515245 + 12345) % 2147483648
        return seed // 65536 % bound + 1
    end
    local words = {}
    for index = 1, word_count do
        local parts = {}
        for part = 1, random(3) do
            parts[part] = SYLLABLES[math.min(random(#SYLLABLES), random(#SYLLABLES))]
        end
        words[index] = table.concat(parts)
    end
    return table.concat(words, " ")
end

-- Every word with its places, the most frequent first.
local function index_words(text)
    local places = {}
    for at, word in text:gmatch("()(%a+)") do
        local list = places[word]
        if not list then
            list = {}
            places[word] = list
        end
        list[#list + 1] = {word = word, at = at}
    end
    local ranking = {}
    for word, list in pairs(places) do ranking[#ranking + 1] = {word = word, places = list} end
    table.sort(ranking, function(a, b)
        if #a.places ~= #b.places then return #a.places > #b.places end
        return a.word < b.word
    end)
    return ranking
end

-- The run -----------------------------------------------------------------------------------------

local rows = render()
print(picture(rows))

local bodies = {}
for index, sphere in ipairs(spheres) do
    bodies[index] = {name = sphere.name, radius = sphere.radius, shine = sphere.shine}
end
local document = {width = WIDTH, height = HEIGHT, bodies = bodies, pixels = rows}
local text = encode(document)
local rounds = 20
for _ = 1, rounds do
    local copy, stop = decode(text, 1)
    assert(stop == #text + 1 and same(document, copy) and encode(copy) == text)
end
print(string.format("JSON: %d bytes, the same after %d rounds of reading and writing",
    #text, rounds))

local prose = make_up_text(200000)
local ranking = index_words(prose)
local best = {}
for rank = 1, 5 do
    local entry = ranking[rank]
    local last = entry.places[#entry.places]
    assert(prose:sub(last.at, last.at + #last.word - 1) == entry.word)
    best[rank] = entry.word .. " " .. #entry.places
end
print(string.format("words: %d different ones; %s", #ranking, table.concat(best, ", ")))
