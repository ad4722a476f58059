"""asyncio: tasks, queues and streams of small messages."""
import asyncio
import sys


async def worker(queue, results):
    while (item := await queue.get()) is not None:
        await asyncio.sleep(0)
        results.append({"item": item, "text": str(item) * 3})


async def turn():
    queue, results = asyncio.Queue(100), []
    workers = [asyncio.create_task(worker(queue, results)) for _ in range(20)]
    for i in range(3000):
        await queue.put(i)
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)
    chained = await asyncio.gather(*(asyncio.sleep(0, i) for i in range(1000)))
    return len(results) + sum(chained)


print(sum(asyncio.run(turn()) for _ in range(int(sys.argv[1]))))
