"""Has a running Python take its memory from emma, caps it, and measures a part of the program.

Run it with the package emma installed:
    python examples/python/measure.py

Expected output:
    served by emma: True
    a table of 100,000 rows takes between 5 and 40 MiB: True
    over the limit: MemoryError
    and on it goes: 1000000
"""

import emma

emma.install()
print("served by emma:", emma.is_installed())

with emma.measure() as measured:
    table = [{"number": number, "name": f"row {number}"} for number in range(100_000)]
print("a table of 100,000 rows takes between 5 and 40 MiB:", 5 << 20 < (measured.bytes or 0) < 40 << 20)

emma.limit = "300M"
try:
    too_much = [bytes(1 << 20) for _ in range(1000)]
except MemoryError as error:
    print("over the limit:", type(error).__name__)
print("and on it goes:", sum(1 for _ in range(1_000_000)))
