-- Word counts: makes a text, splits it into words, counts words and pairs of words, lists the most frequent.
-- sizes: full=42 counted=2 quick=1
local rounds = tonumber((...)) or 42
math.randomseed(2024)

local syllables = { "ka", "lo", "mi", "ne", "ru", "sa", "te", "vi", "zo", "an", "el", "or", "us", "ix" }
local vocabulary = {}
for i = 1, 4000 do
    local word = {}
    for k = 1, 1 + math.random(4) do word[k] = syllables[math.random(#syllables)] end
    vocabulary[i] = table.concat(word)
end

local function make_text(count)
    local out = {}
    for i = 1, count do
        local word = vocabulary[math.random(math.random(#vocabulary))]
        if i % 11 == 1 then word = word:sub(1, 1):upper() .. word:sub(2) end
        out[i] = word .. (i % 11 == 0 and ".\n" or " ")
    end
    return table.concat(out)
end

local function count_words(text)
    local words, pairs_of, previous = {}, {}, nil
    for word in text:gmatch("%a+") do
        word = word:lower()
        words[word] = (words[word] or 0) + 1
        if previous then
            local key = previous .. " " .. word
            pairs_of[key] = (pairs_of[key] or 0) + 1
        end
        previous = word
    end
    return words, pairs_of
end

local function most_frequent(counts, n)
    local list = {}
    for word, count in pairs(counts) do list[#list + 1] = { word = word, count = count } end
    table.sort(list, function(a, b) return a.count > b.count or a.count == b.count and a.word < b.word end)
    local out = {}
    for i = 1, math.min(n, #list) do out[i] = list[i].word .. "=" .. list[i].count end
    return table.concat(out, " "), #list
end

local size = 6000
local top, distinct, total = nil, 0, 0
for _ = 1, rounds do
    local words, pairs_of = count_words(make_text(size))
    local _, count = most_frequent(pairs_of, 3)
    top, distinct = most_frequent(words, 3)
    total = total + count
end
print("words", rounds, top, distinct, total)
