-- Objects with methods: vectors, a small class hierarchy and a particle simulation that makes new objects per step.
-- sizes: full=250 counted=14 quick=1
local steps = tonumber((...)) or 250

local Vector = {}
Vector.__index = Vector
local function vector(x, y, z) return setmetatable({ x = x, y = y, z = z }, Vector) end
function Vector.__add(a, b) return vector(a.x + b.x, a.y + b.y, a.z + b.z) end
function Vector.__sub(a, b) return vector(a.x - b.x, a.y - b.y, a.z - b.z) end
function Vector.__mul(a, k) return vector(a.x * k, a.y * k, a.z * k) end
function Vector:dot(b) return self.x * b.x + self.y * b.y + self.z * b.z end

local Shape = {}
Shape.__index = Shape
function Shape:new(fields) return setmetatable(fields, self) end
function Shape:describe() return self.name end
function Shape:area() return 0 end

local function subclass(parent)
    local class = setmetatable({}, { __index = parent })
    class.__index = class
    return class
end
local Circle, Square = subclass(Shape), subclass(Shape)
function Circle:area() return 3 * self.radius * self.radius end
function Square:area() return self.side * self.side end

local Particle = {}
Particle.__index = Particle
function Particle.new(i)
    return setmetatable({ position = vector(i, i * 2, i * 3), velocity = vector(1, -1, i % 3), age = 0 }, Particle)
end
function Particle:step(gravity)
    self.velocity = self.velocity + gravity * 0.5
    self.position = self.position + self.velocity * 0.25
    self.age = self.age + 1
    return self.age > 40 + self.velocity.z % 7
end

local particles = {}
for i = 1, 1500 do particles[i] = Particle.new(i) end
local gravity, area, dots, born = vector(0, 0, -1), 0, 0, 0
for step = 1, steps do
    for i, particle in ipairs(particles) do
        if particle:step(gravity) then
            born = born + 1
            particles[i] = Particle.new(i)
        end
        dots = dots + (particle.position - gravity):dot(gravity) % 11
    end
    for i = 1, 700 do
        local shape = i % 2 == 0 and Circle:new({ name = "circle", radius = i }) or Square:new({ name = "square", side = i })
        area = area + shape:area() % 13 + #shape:describe()
    end
end
print("objects", steps, born, area, string.format("%.3f", dots))
