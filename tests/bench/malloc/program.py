"""program.py N: work of the kind that scripts do, N times: JSON, regular expressions, dictionaries, text, sorting."""
import json
import re
import sys
from collections import defaultdict

RECORDS = 1500


def records(round_index):
    return [{"id": i, "name": f"name {i * 7919 % 1000:x} of {round_index}", "tags": [f"t{i % 7}", f"u{i % 11}"],
             "point": {"x": i / 3, "y": [i, i + 1, None, True]}} for i in range(RECORDS)]


def run(round_index):
    text = json.dumps(records(round_index))
    back = json.loads(text)
    groups = defaultdict(list)
    for record in back:
        groups[record["tags"][0]].append(record)
    words = re.findall(r"[a-z]+ [0-9a-f]+", text)
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = "\n".join(f"{word}: {count}" for word, count in order)
    replaced = re.sub(r"name ([0-9a-f]+)", lambda match: match.group(1).upper(), lines)
    return len(text) + len(replaced) + sum(len(group) for group in groups.values())


if __name__ == "__main__":
    print(sum(run(round_index) for round_index in range(int(sys.argv[1]))))
