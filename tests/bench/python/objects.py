"""Objects of classes that are made, linked, and dropped: trees and particles."""
import sys


class Node:
    def __init__(self, left, right):
        self.left, self.right = left, right

    def count(self):
        return 1 + (self.left.count() + self.right.count() if self.left else 0)


class Particle:
    __slots__ = ("x", "y", "speed")

    def __init__(self, x, y, speed):
        self.x, self.y, self.speed = x, y, speed

    def moved(self):
        return Particle(self.x + self.speed[0], self.y + self.speed[1], self.speed)


def tree(depth):
    return Node(tree(depth - 1), tree(depth - 1)) if depth else Node(None, None)


total = 0
for turn in range(int(sys.argv[1])):
    total += tree(13).count()
    particles = [Particle(float(i), 0.0, (0.5, i * 0.25)) for i in range(2000)]
    for step in range(8):
        particles = [particle.moved() for particle in particles]
    total += round(sum(particle.y for particle in particles))
print(total)
