"""Objects pickled, unpickled and copied."""
import copy
import pickle
import sys


class Item:
    def __init__(self, number):
        self.number, self.name, self.parts = number, f"item {number}", [number, str(number), {number: None}]


items = [Item(i) for i in range(800)]
total = 0
for turn in range(int(sys.argv[1])):
    data = pickle.dumps(items, protocol=4)
    total += len(data) + sum(item.number for item in pickle.loads(data))
    total += len(copy.deepcopy(items[:100]))
print(total)
