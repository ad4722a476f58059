-- What the sandboxes of this benchmark have in them when a request comes. The host sets object_count before.
objects = {}
for i = 1, object_count do
    objects[i] = { id = i, name = "object " .. i, value = 0 }
end

-- Changes `touched` objects that lie far apart, from number `first` on; then makes `garbage_bytes` of small tables
-- (56 bytes, and 32 for the two elements) that nothing refers to.
function request(first, touched, garbage_bytes)
    local step, sum = #objects // touched, 0
    for i = 1, touched do
        local object = objects[(first + i * step) % #objects + 1]
        object.value = object.value + 1
        sum = sum + object.value
    end
    for i = 1, garbage_bytes // 88 do
        local _ = { i, i }
    end
    return sum
end
