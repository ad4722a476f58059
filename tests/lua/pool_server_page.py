#!/usr/bin/env python3
"""The live page of the example pool_server in headless Chromium: it shows what the server does, goes on by itself, and
says so when the server is gone.

    pool_server_page.py PROGRAM HANDLER.lua [FOLDER]

FOLDER: pictures of the page are put there. Exit status 77: there is no Chromium."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

SKIPPED = 77
SECONDS = 60  # for anything to happen; more is a hang
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROGRAM, HANDLER = sys.argv[1:3]
PICTURES = Path(sys.argv[3]) if len(sys.argv) > 3 else None
HOSTILE = "</script><script>window.taken=1</script><img src=x onerror=\"window.taken=1\">\u202e{{nonce}}"
HARM = {"/error": "error", "/bomb": "memory", "/spin": "instructions", "/pattern": "deadline", "/nothing": "error"}

# What a reader sees.
LOOK = """(() => {
  const text = id => document.getElementById(id).innerText;
  const colours = one => {
    const copy = new OffscreenCanvas(one.width, one.height), context = copy.getContext("2d", { willReadFrequently: true }), seen = new Set();
    context.drawImage(one, 0, 0);
    const pixels = context.getImageData(0, 0, one.width, one.height).data;
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3]) seen.add(pixels.slice(i, i + 3).join());
    return seen.size;
  };
  return {
    state: text("state"), kind: document.getElementById("state").dataset.state,
    facts: Object.fromEntries([...document.querySelectorAll("#facts div")].map(one => [one.children[0].innerText, one.children[1].innerText])),
    ends: Object.fromEntries([...document.querySelectorAll("#ends tbody tr")].map(row => [row.cells[0].innerText, Number(row.cells[1].dataset.sort)])),
    cards: [...document.querySelectorAll(".card")].map(one => one.innerText),
    maps: [...document.querySelectorAll(".card .map canvas")].map(colours),
    charts: [...document.querySelectorAll(".uplot canvas")].map(colours),
    legend: [...document.querySelectorAll("#legend li")].map(one => one.innerText),
    failures: [...document.querySelectorAll("#failures tbody tr")].map(row => [...row.cells].slice(1).map(cell => cell.textContent)),
    subtitle: document.getElementById("subtitle").textContent,
    images: document.images.length, taken: window.taken ?? null, wide: document.documentElement.scrollWidth > innerWidth,
    back: getComputedStyle(document.body).backgroundColor,
  };
})()"""


class Page:
    """A page of a Chromium that is driven by its debugging protocol, over a pair of pipes."""

    def __init__(self, folder):
        to_read, self.to = os.pipe()
        self.come, to_write = os.pipe()
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "sh", BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "--no-first-run", "--window-size=1280,1000", "about:blank"],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.session, self.complaints, self.is_loaded = 0, b"", None, [], False
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        os.close(self.to)
        os.close(self.come)
        self.process.kill()
        self.process.wait()

    def receive(self):
        while b"\0" not in self.rest:
            got = os.read(self.come, 1 << 20)
            if not got:
                raise EOFError("the browser ended")
            self.rest += got
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        self.is_loaded |= message.get("method") == "Page.loadEventFired"
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(message["params"])
        return message

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def go(self, url):
        self.is_loaded = False
        self.call("Page.navigate", url=url)
        while not self.is_loaded:
            self.receive()

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def look(self):
        return self.run(LOOK)

    def wait(self, what, told):
        """The first look of which `what` holds."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            seen = self.look()
            if what(seen):
                return seen
            time.sleep(0.1)
        raise AssertionError(f"{told}: {seen}")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, name):
        if PICTURES:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1})["data"]
            (PICTURES / f"{name}.png").write_bytes(base64.b64decode(data))


class Server:
    def __init__(self, *options, handler=HANDLER, port=0):
        self.process = subprocess.Popen([PROGRAM, "--port", str(port), "--deadline", "300", "--instructions", "1000000", *options, handler],
                                        stdout=subprocess.PIPE, text=True)
        self.port = self.page_port = int(re.search(r":(\d+)/", self.process.stdout.readline()).group(1))
        if "--page" in options:
            self.page_port = int(re.search(r":(\d+)/", self.process.stdout.readline()).group(1))
        self.url = f"http://127.0.0.1:{self.page_port}/"

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        self.process.stdout.close()


class LivePage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.page = Page(folder.name)
        self.addCleanup(self.page.close)

    def serve(self, *options, **more):
        server = Server(*options, **more)
        self.addCleanup(lambda: server.process.poll() is None and server.end())
        return server

    def load(self, server):
        self.page.go(server.url)
        return self.page.wait(lambda seen: seen["kind"] == "live", "the page does not come to life")

    def keep_asking(self, server, paths):
        """Until the test ends, in a thread."""
        done = threading.Event()

        def run():
            while not done.is_set():
                for path in paths:
                    server.ask(path)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        return done, thread

    def test_shows_what_is_done(self):
        server = self.serve("--sandboxes", "3")
        for path in HARM:
            server.ask(path)
        for _ in range(5):
            self.assertEqual(server.ask("/fruit"), 200)
        self.page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        seen = self.load(server)
        self.assertEqual(seen["ends"], {"done": 5, "error": 2, "memory": 1, "instructions": 1, "deadline": 1, "killed": 0, "unavailable": 0})
        self.assertEqual(seen["facts"]["Requests"], "10")
        self.assertEqual(seen["facts"]["Failed"], "5, 50 %")
        self.assertEqual([one[:2] for one in seen["failures"]], [[reason, f"GET {path}"] for path, reason in reversed(HARM.items())])
        self.assertIn("something is wrong", seen["failures"][-1][2])
        self.assertEqual(len(seen["maps"]), 2, "both that stand ready, also the one that no request had")
        self.assertGreater(min(seen["maps"]), 1)
        self.assertIn(HANDLER, seen["subtitle"])
        self.assertEqual(self.page.complaints, [])

    def test_goes_on_by_itself(self):
        server = self.serve("--threads", "2")
        before = self.load(server)
        done, thread = self.keep_asking(server, ["/fruit"] * 20 + ["/error", "/bomb"])
        first = self.page.wait(lambda seen: seen["ends"]["memory"] > before["ends"]["memory"], "no failures come")
        second = self.page.wait(lambda seen: seen["ends"]["memory"] > first["ends"]["memory"] and "as a request left it" in str(seen["cards"])
                                and seen["facts"]["Half take at most"] != "--", "it stands still")
        self.assertGreater(second["ends"]["done"], first["ends"]["done"])
        self.assertGreater(float(second["facts"]["Requests per second"].replace(",", "")), 1)
        self.assertRegex(second["facts"]["Half take at most"], r"^\d+ µs$|^\d.* ms$")
        self.page.wait(lambda seen: min(seen["charts"]) > 5, "the charts are empty")
        self.assertEqual(set(one[0] for one in second["failures"]), {"error", "memory"})
        if PICTURES:
            time.sleep(20)
        for name, width, theme in (("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 380, "light")):
            self.page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            self.page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            time.sleep(0.5)  # it waits for the end of a row of changes, too
            seen = self.page.look()
            self.assertFalse(seen["wide"], f"{name}: it is wider than its window")
            self.assertEqual(seen["back"], "rgb(15, 19, 24)" if theme == "dark" else "rgb(255, 255, 255)")
            self.page.picture(name)
        done.set()
        thread.join()
        quiet = self.page.wait(lambda seen: seen["facts"]["Requests per second"] == "0", "the rate does not fall")
        self.page.wait(lambda seen: "as a request left it" not in str(seen["cards"]), "the maps do not show the rollback")
        self.assertEqual(len(quiet["maps"]), 2)
        self.assertEqual(self.page.complaints, [])

    def test_gone_and_back(self):
        server = self.serve()
        server.ask("/error")
        self.load(server)
        self.assertEqual(self.page.complaints, [])
        server.end(signal.SIGKILL)
        gone = self.page.wait(lambda seen: seen["kind"] == "gone", "it does not say that the server is gone")
        self.assertIn("does not answer", gone["state"])
        self.assertEqual(gone["ends"]["error"], 1, "the last figures stay")
        self.page.picture("gone")
        self.serve(port=server.port)
        back = self.page.wait(lambda seen: seen["kind"] == "live", "it does not come back")
        self.assertEqual(back["ends"]["error"], 0)
        self.assertEqual([one for one in self.page.complaints if one.get("entry", {}).get("source") != "network"], [])

    def test_rests_when_hidden_or_paused(self):
        server = self.serve()
        self.load(server)
        self.page.run("""window.asked = 0; window.plainFetch = fetch; window.fetch = (...all) => { asked++; return plainFetch(...all); };
            window.hide = isHidden => { Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
                document.dispatchEvent(new Event("visibilitychange")); };""")
        steps = (("hide(true)", "hide(false)"), ("document.getElementById('pause').click()", "document.getElementById('pause').click()"))
        for stop, go in steps:
            self.page.run(stop)
            time.sleep(0.2)
            count = self.page.run("asked")
            time.sleep(2.5)
            self.assertEqual(self.page.run("asked"), count, stop)
            self.page.run(go)
            self.page.wait(lambda seen, count=count: self.page.run("asked") > count + 1 and seen["kind"] == "live", go)

    def test_by_key(self):
        server = self.serve()
        self.load(server)
        self.page.press("Tab", 9)
        self.assertEqual(self.page.run("document.activeElement.id"), "pause")
        self.page.run("document.querySelector('.card .map').focus()")
        self.page.press("ArrowRight", 39)
        said = self.page.run("document.querySelector('.card .said').innerText")
        self.assertRegex(said, r"^at offset \d.*: .*\d+ live")
        time.sleep(1.5)  # it was drawn anew meanwhile, and what was pointed at stays so
        self.assertEqual(self.page.run("document.querySelector('.card .tip.shown')?.innerText"), said)
        self.page.run("document.getElementById('pause').focus()")
        self.page.press(" ", 32)
        self.page.wait(lambda seen: seen["kind"] == "paused", "the key does not pause it")

    def test_hostile_texts(self):
        path = self.folder / (HOSTILE.replace("/", "\u2215") + ".lua")
        path.write_text("function handle(request) error(" + json.dumps(HOSTILE, ensure_ascii=False) + ", 0) end")
        server = self.serve(handler=str(path))
        server.ask("/%3Cimg%20src=x%20onerror=window.taken=1%3E%ff")
        seen = self.load(server)
        self.assertEqual(seen["failures"], [["error", "GET /<img src=x onerror=window.taken=1>\ufffd", HOSTILE]])
        self.assertIn(path.name, seen["subtitle"])
        self.assertEqual((seen["images"], seen["taken"]), (0, None))
        self.assertEqual(self.page.complaints, [])

    def test_policy(self):
        self.load(self.serve())
        self.assertEqual(self.page.complaints, [])
        self.page.run("""document.body.insertAdjacentHTML("beforeend", "<img src='//127.0.0.1:9/' onerror='window.taken = 1'>");
            document.body.append(Object.assign(document.createElement("script"), { textContent: "window.taken = 1" }));""")
        refused = self.page.run("fetch('http://127.0.0.1:9/').then(() => 'went out', error => error.name)")
        time.sleep(0.3)
        self.assertEqual((self.page.look()["taken"], refused), (None, "TypeError"))
        self.assertGreaterEqual(str(self.page.complaints).count("Content Security Policy"), 4, self.page.complaints)

    def test_page_of_its_own(self):
        server = self.serve("--page", "0", "--threads", "1", "--instructions", "0", "--deadline", "4000")
        self.assertNotEqual(server.port, server.page_port)
        self.assertEqual(server.ask("/"), 404, "/ is the handler's")
        self.load(server)
        thread = threading.Thread(target=server.ask, args=("/spin",))
        thread.start()
        self.page.wait(lambda seen: seen["facts"]["Leased"] == "1" and seen["kind"] == "live", "it waits for the request")
        self.assertTrue(thread.is_alive())
        thread.join()
        self.page.wait(lambda seen: seen["ends"]["deadline"] == 1, "the end of it is not shown")

    def test_no_isolation(self):
        server = self.serve("--no-isolation")
        server.ask("/fruit")
        seen = self.load(server)
        self.assertEqual((seen["ends"]["done"], seen["maps"]), (1, []))
        self.assertIn("nothing is isolated", seen["subtitle"])
        self.assertEqual(self.page.complaints, [])


if __name__ == "__main__":
    if not BROWSER:
        print("skipped: there is no Chromium")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1])
