-- Builds a heap of records, strings and lists and keeps all of it; for the row that times how it is thrown away.
-- sizes: full=500 counted=2 quick=4
local megabytes = tonumber((...)) or 500
collectgarbage("stop")
local records = {}
local at = 0
while collectgarbage("count") < megabytes * 1024 do
    for _ = 1, 1000 do
        at = at + 1
        local list = {}
        for i = 1, at % 7 do list[i] = at + i end
        records[at] = { id = at, name = "record " .. at, list = list, visible = at % 2 == 0 }
    end
end
kept_records = records
print("heap", megabytes, at)
