"""Runs scripts that are not trusted, from Python: each in what it may take, and back to a clean state after it.

Run it with the package emma installed:
    python examples/python/sandbox.py

Expected output:
    hello from a script
    3 apples and 2 pears: 19
    loop: InstructionLimit: orders.lua:1: the budget of instructions is used up
    bomb: MemoryLimit: not enough memory
    wrong: ScriptError: orders.lua:1: attempt to index a nil value (global 'nothing')
    mine: KeyError: 'plums'
    the next request sees a clean state: True
"""

import emma

PRELUDE = """
    function total(order)
        local sum = 0
        for name, count in pairs(order) do sum = sum + count * price(name) end
        return sum
    end
"""

HOSTILE = {
    "loop": "while true do end",
    "bomb": "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end",
    "wrong": "return nothing.here",
    "mine": "return total {plums = 1}",
}

PRICES = {"apples": 3, "pears": 5}

with emma.Sandbox(memory="1M", instructions=1_000_000, deadline=0.5) as box:
    box.register("price", lambda name: PRICES[name])
    box.load(PRELUDE)
    ready = box.checkpoint()

    box.load("print('hello from a script')")
    print("3 apples and 2 pears:", box.call("total", {"apples": 3, "pears": 2}))
    for name, script in HOSTILE.items():
        try:
            box.load("leak = true " + script, "orders.lua")
        except (emma.SandboxError, KeyError) as error:
            print(f"{name}: {type(error).__name__}: {error}")
        box.rollback(ready)
    print("the next request sees a clean state:", box.load("return leak == nil"))
