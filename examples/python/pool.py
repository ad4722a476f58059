"""Answers requests of many tasks at once by handlers in Lua, each in a sandbox of a pool.

Run it with the package emma installed:
    python examples/python/pool.py

Expected output:
    64 requests, the sum of their answers is 2080
    each sandbox was as new: True; of 4 sandboxes at most
    a request that hangs: Deadline
"""

import asyncio

import emma

HANDLER = """
    local served = 0
    function handle(request)
        served = served + 1
        if request.kind == "hang" then while true do end end
        return { served = served, answer = request.number + 1 }
    end
"""


async def ask(pool: emma.Pool, kind: str, number: int) -> dict:  # type: ignore[type-arg]
    async with pool.lease() as box:
        return await box.call_async("handle", {"kind": kind, "number": number})  # type: ignore[no-any-return]


async def main() -> None:
    with emma.Pool(HANDLER, size=4, memory="1M", deadline=0.05) as pool:
        answers = await asyncio.gather(*(ask(pool, "add", number) for number in range(64)))
        print(len(answers), "requests, the sum of their answers is", sum(each["answer"] for each in answers))
        as_new = all(each["served"] == 1 for each in answers)
        print(f"each sandbox was as new: {as_new}; of {pool.stats().most} sandboxes at most")
        try:
            await ask(pool, "hang", 0)
        except emma.SandboxError as error:
            print("a request that hangs:", type(error).__name__)


asyncio.run(main())
