"""Strings cut, joined, formatted and searched by regular expressions."""
import re
import sys

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
word = re.compile(r"(?P<first>[a-z])(\w+)-(\d+)")
space = re.compile(r"\s+")
total = 0
for turn in range(int(sys.argv[1])):
    lines = [" ".join(f"{WORDS[(i + k) % 6]}-{i * k}" for k in range(12)) for i in range(300)]
    text = "\n".join(lines)
    total += sum(len(match.group("first")) + int(match.group(3)) % 7 for match in word.finditer(text))
    total += len(word.sub(r"\2:\3", text))
    total += len(space.split(text.upper()))
    total += sum(len(line.replace("beta", "BETA").strip().encode()) for line in text.splitlines())
print(total)
