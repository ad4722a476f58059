"""Integers beyond a machine word, fractions and decimals."""
import decimal
import fractions
import sys

total = 0
for turn in range(int(sys.argv[1])):
    a, b = 0, 1
    for i in range(3000):
        a, b = b, a + b
    total += a % 1_000_003
    total += sum(i * i % 7 for i in range(2**31, 2**31 + 20_000))
    x = fractions.Fraction(1, 3)
    for i in range(1, 120):
        x += fractions.Fraction(i, i * i + 1)
    total += x.numerator % 10_007
    d = decimal.Decimal(2)
    for i in range(400):
        d = (d * 3 + i) / decimal.Decimal(7)
    total += int(d)
print(total)
