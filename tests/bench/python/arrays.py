"""NumPy: arrays made and dropped, small and large."""
import sys

import numpy

total = 0.0
for turn in range(int(sys.argv[1])):
    points = [numpy.arange(i % 50 + 1, dtype=float) for i in range(2000)]
    total += sum(float((point * 2 + 1).sum()) for point in points)
    grid = numpy.ones((200, 200))
    for step in range(20):
        grid = (grid + numpy.roll(grid, 1, 0) + numpy.roll(grid, 1, 1)) / 3
    total += float(grid.mean())
    total += len(numpy.concatenate(points))
print(round(total))
