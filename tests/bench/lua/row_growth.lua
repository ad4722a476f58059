-- Grows one table element by element, then sums it up; not one of the programs, but a row of its own.
-- sizes: full=13107200 counted=100000 quick=20000
local count = tonumber((...)) or 13107200
local t, sum = {}, 0
for i = 1, count do t[i] = i end
for i = 1, count do sum = sum + t[i] end
print("growth", #t, sum)
