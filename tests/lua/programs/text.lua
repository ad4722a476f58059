-- Pattern matching, formatting, packing and UTF-8 on text that is made here.
-- sizes: full=3000 quick=300
local rounds = tonumber((...)) or 3000
local records = {}
for i = 1, rounds do
    records[i] = ("id=%05d; name=%q; score=%.3f; tags=[%s]"):format(i, "näme " .. i, i / 7, ("t" .. i % 9 .. " "):rep(i % 6))
end
local text = table.concat(records, "\n")

local scores, names, tags = 0, {}, {}
for line in text:gmatch("[^\n]+") do
    local id, name, score, list = line:match('^id=(%d+); name="([^"]*)"; score=([%d.]+); tags=%[(.-)%]$')
    scores = scores + tonumber(score) * 1000 // 1
    names[tonumber(id)] = name
    for tag in list:gmatch("%S+") do tags[tag] = (tags[tag] or 0) + 1 end
end
local ranking = {}
for tag, count in pairs(tags) do ranking[#ranking + 1] = ("%s:%d"):format(tag, count) end
table.sort(ranking)
print(#text, string.format("%d", scores), #names, table.concat(ranking, " "))

local replaced, count = text:gsub("%f[%w]id=0*(%d+)", function(id) return "#" .. id end)
print(#replaced, count, replaced:sub(1, 40), (text:gsub("[^\n]", ""):len()))

local packed, points = {}, 0
for i = 1, rounds do
    packed[i] = string.pack(">I4 s2 d z", i, names[i], i / 3, records[i])
    local id, name, third, whole = string.unpack(">I4 s2 d z", packed[i])
    assert(id == i and name == names[i] and third == i / 3 and whole == records[i])
    for _, point in utf8.codes(name) do points = points + point end
end
print(#table.concat(packed), points, utf8.len(text))

local hash = 5381
for i = 1, #text do hash = (hash * 33 ~ text:byte(i)) & 0xFFFFFFFF end
print(hash, text:reverse():upper():rep(2, "|"):find("|", 1, true))
