-- program.sql: a table of :rows rows, indexes, grouping, updates and deletes, all in memory.
create table item (id integer primary key, name text, kind text, price real);
with recursive counter (i) as (select 1 union all select i + 1 from counter where i < cast(:rows as integer))
insert into item select i, printf('item %x of %d', i * 7919 % 100003, i % 97), printf('kind %d', i % 503), i * 0.37
    from counter;
create index item_name on item (name);
create index item_kind on item (kind, price);
select count(*), sum(n), max(length(names)) from (select kind, count(*) as n, group_concat(name) as names from item group by kind);
update item set price = price + 1, name = name || ' new' where id % 3 = 0;
select count(*) from item as a join item as b on b.name = a.name where a.id % 50 = 0;
delete from item where id % 2 = 0;
select kind, round(avg(price), 2), min(name) from item group by kind order by 2 desc limit 3;
