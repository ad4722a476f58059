// program.js N: starts the interpreter and does what servers in it do, N times: JSON, strings, maps, buffers.
"use strict";

const RECORDS = 1500;

function run(round) {
    const records = Array.from({ length: RECORDS }, (_, i) => ({
        id: i, name: `name ${(i * 7919) % 1000} of ${round}`, tags: [`t${i % 7}`, `u${i % 11}`], point: { x: i / 3 },
    }));
    const text = JSON.stringify(records);
    const counts = new Map();
    for (const record of JSON.parse(text))
        counts.set(record.tags[0], (counts.get(record.tags[0]) || 0) + record.name.length);
    const buffers = records.map((record) => Buffer.from(record.name.repeat(1 + (record.id % 400))));
    return [...counts.values()].reduce((a, b) => a + b, 0) + Buffer.concat(buffers).length;
}

let sum = 0;
for (let round = 0; round < Number(process.argv[2]); round++)
    sum += run(round);
console.log(sum);
