"""Lists, dicts, sets and tuples that grow, are sorted, and turn over."""
import collections
import sys

total = 0
for turn in range(int(sys.argv[1])):
    groups = collections.defaultdict(list)
    for i in range(20_000):
        groups[i * 7919 % 997].append((i, -i))
    pairs = sorted(pair for group in groups.values() for pair in group[::3])
    index = {pair: [pair] for pair in pairs}
    index.update({(i, i): [] for i in range(3000)})
    total += len(index) + len({pair[0] % 1000 for pair in index})
    window = collections.deque(maxlen=500)
    for pair in pairs:
        window.append([pair, pair[::-1]])
    total += len(window) + len([list(group) for group in groups.values()])
print(total)
