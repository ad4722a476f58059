-- A long-lived heap of more than 100 MB with churn: a least-recently-used cache of records under skewed requests.
-- sizes: full=130000 counted=6000 quick=600
local capacity = tonumber((...)) or 130000
local requests = capacity * 3 // 2
math.randomseed(11)

local Cache = {}
Cache.__index = Cache

function Cache.new(limit)
    local ends = {}
    ends.newer, ends.older = ends, ends
    return setmetatable({ entries = {}, ends = ends, size = 0, limit = limit, hits = 0, evicted = 0 }, Cache)
end

local function unlink(entry)
    entry.newer.older, entry.older.newer = entry.older, entry.newer
end

function Cache:link_newest(entry)
    local ends = self.ends
    entry.newer, entry.older = ends, ends.older
    ends.older.newer, ends.older = entry, entry
end

function Cache:get(key)
    local entry = self.entries[key]
    if not entry then return nil end
    self.hits = self.hits + 1
    unlink(entry)
    self:link_newest(entry)
    return entry.value
end

function Cache:put(key, value)
    local entry = { key = key, value = value }
    self.entries[key] = entry
    self:link_newest(entry)
    self.size = self.size + 1
    if self.size > self.limit then
        local oldest = self.ends.newer
        unlink(oldest)
        self.entries[oldest.key] = nil
        self.size = self.size - 1
        self.evicted = self.evicted + 1
    end
end

local function load_record(number)
    local fields = {}
    for i = 1, number % 4 do fields[i] = number * i end
    return { id = number, title = ("record %d "):format(number):rep(1 + number % 5), fields = fields }
end

local cache = Cache.new(capacity)
for number = 1, capacity do cache:put("record:" .. number, load_record(number)) end
local checksum = 0
for _ = 1, requests do
    local number = capacity + 1 - math.random(math.random(capacity))
    if math.random(3) == 1 then number = number + capacity end
    local key = "record:" .. number
    local value = cache:get(key)
    if not value then
        value = load_record(number)
        cache:put(key, value)
    end
    checksum = (checksum + #value.title + #value.fields) % 1000000007
end
print("cache_churn", capacity, cache.hits, cache.evicted, checksum)
