"""Documents to JSON and back."""
import json
import sys

document = {
    "users": [{"id": i, "name": f"user {i}", "tags": ["a", "b", str(i)], "score": i * 1.5,
               "address": {"street": f"{i} Road", "city": "Town", "zip": f"{i:05d}"}} for i in range(400)],
    "total": 400, "next": None,
}
total = 0
for turn in range(int(sys.argv[1])):
    text = json.dumps(document, indent=turn % 3 or None)
    total += len(text) + len(json.loads(text)["users"])
print(total)
