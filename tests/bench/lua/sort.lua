-- Sorting: table.sort over records and strings, a merge sort that makes new lists, an insertion into a sorted list.
-- sizes: full=55 counted=3 quick=1
local rounds = tonumber((...)) or 55
local count = 2500
math.randomseed(99)

local function records()
    local list = {}
    for i = 1, count do
        list[i] = { id = i, score = math.random(1000), name = "name" .. math.random(100000) }
    end
    return list
end

local function merge_sort(list)
    if #list < 2 then return list end
    local middle, left, right = #list // 2, {}, {}
    for i = 1, middle do left[i] = list[i] end
    for i = middle + 1, #list do right[#right + 1] = list[i] end
    left, right = merge_sort(left), merge_sort(right)
    local merged, l, r = {}, 1, 1
    while l <= #left and r <= #right do
        if left[l].name <= right[r].name then
            merged[#merged + 1] = left[l]
            l = l + 1
        else
            merged[#merged + 1] = right[r]
            r = r + 1
        end
    end
    for i = l, #left do merged[#merged + 1] = left[i] end
    for i = r, #right do merged[#merged + 1] = right[i] end
    return merged
end

local checksum = 0
for round = 1, rounds do
    local list = records()
    table.sort(list, function(a, b)
        if a.score ~= b.score then return a.score < b.score end
        return a.id < b.id
    end)
    for i = 1, count, 50 do checksum = (checksum * 31 + list[i].id) % 1000000007 end

    local sorted = merge_sort(list)
    for i = 2, count do assert(sorted[i - 1].name <= sorted[i].name) end

    local words = {}
    for i, record in ipairs(sorted) do words[i] = record.name:reverse() .. round end
    table.sort(words)
    for i = 1, count, 50 do checksum = (checksum * 31 + #words[i]) % 1000000007 end

    local top = {}
    for _, record in ipairs(list) do
        local at = #top + 1
        while at > 1 and top[at - 1].score < record.score do at = at - 1 end
        if at <= 40 then
            table.insert(top, at, { score = record.score, id = record.id })
            top[41] = nil
        end
    end
    checksum = checksum + top[1].score
end
print("sort", rounds, checksum)
