"""A table in memory: rows in, joins, groups and rows out."""
import sqlite3
import sys

total = 0
for turn in range(int(sys.argv[1])):
    db = sqlite3.connect(":memory:")
    db.execute("create table item (id integer primary key, name text, size real)")
    db.execute("create table part (item integer, label text)")
    db.executemany("insert into item values (?, ?, ?)", ((i, f"item {i}", i / 3) for i in range(4000)))
    db.executemany("insert into part values (?, ?)", ((i % 4000, f"part {i}") for i in range(8000)))
    db.execute("create index part_item on part (item)")
    rows = db.execute("select item.name, part.label, size from item join part on part.item = item.id").fetchall()
    total += len(rows) + sum(len(name) for name, _, _ in rows)
    total += len(db.execute("select name, count(*) from item join part on item = id group by name").fetchall())
    db.close()
print(total)
