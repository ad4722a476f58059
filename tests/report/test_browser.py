"""The page of a report in Chromium, from a file, without a network: all is drawn, nothing is complained about, tables
sort, and the map tells of its chunks by pointer and by key. What must hold is looked at by a script that is added to the
page; what it finds comes back in the page's title."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_kinds import GROW, HOSTILE, ReportTest  # noqa: E402

SKIPPED = 77
SECONDS = 120
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

CHECKS = """
const found = {};
const frame = document.querySelector("#map .map"), canvas = frame.querySelector("canvas");
const painted = one => {
  const copy = Object.assign(document.createElement("canvas"), { width: one.width, height: one.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(one, 0, 0);
  const pixels = context.getImageData(0, 0, one.width, one.height).data;
  const seen = new Set();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3]) seen.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
  return seen.size;
};
const column = (table, at) => [...table.tBodies[0].rows].map(row => Number(row.cells[at].dataset.sort));
const key = (element, name) => element.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
found.heading = document.querySelector("h1").textContent;
found.charts = [...document.querySelectorAll(".uplot canvas")].map(painted);
found.map = painted(canvas);
found.legend = [...document.querySelectorAll("#map .legend li")].map(item => item.textContent);
found.images = document.images.length;
const tables = [...document.querySelectorAll("table.figures")];
found.tables = tables.length;
const classes = document.querySelector("#classes table.figures"), head = classes.tHead.rows[0].cells[6];
found.focusable = head.tabIndex === 0;
head.click();
found.first = [head.getAttribute("aria-sort"), column(classes, 6)];
head.focus();
key(head, "Enter");
found.second = [head.getAttribute("aria-sort"), column(classes, 6)];
found.exact = classes.tBodies[0].rows[0].cells[4].title;
const said = document.querySelector("#map .said");
frame.focus();
key(frame, "Home");
found.keys = [said.textContent];
for (const name of ["ArrowRight", "ArrowDown", "End", "Home"]) { key(frame, name); found.keys.push(said.textContent); }
const box = canvas.getBoundingClientRect(), tip = frame.querySelector(".tip");
canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 3, clientY: box.top + 3 }));
found.tip = [tip.classList.contains("shown"), tip.textContent];
canvas.dispatchEvent(new PointerEvent("pointerleave", {}));
found.tipGone = !tip.classList.contains("shown");
const time = document.querySelector("#time .chart");
key(time, "End");
found.time = document.querySelector("#time .said").textContent;
const other = document.createElement("div");
document.body.append(other);
const report = JSON.parse(document.getElementById("emma-report-data").textContent);
const map = emmaReport.renderMap(other, report.chunks);
const before = painted(other.querySelector("canvas"));
map.update({ ...report.chunks, rows: report.chunks.rows.slice(0, 1) });
found.again = [before, painted(other.querySelector("canvas"))];
found.dark = getComputedStyle(document.body).backgroundColor;
found.live = getComputedStyle(document.documentElement).getPropertyValue("--live");
dispatchEvent(new Event("beforeprint"));
found.printed = [getComputedStyle(document.body).backgroundColor, painted(canvas)];
dispatchEvent(new Event("afterprint"));
found.after = getComputedStyle(document.body).backgroundColor;
document.title = "FOUND " + JSON.stringify(found);
"""


class Browser(ReportTest):
    def browse(self, text, *options, script=CHECKS):
        """What the script found in the page, and what the browser had to say of it."""
        nonce = re.search(r"'nonce-([0-9a-f]+)'", text).group(1)
        path = self.folder / "checked.html"
        path.write_text(text.replace("</body>", f'<script nonce="{nonce}">{script}</script>\n</body>'))
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--proxy-server=127.0.0.1:9", f"--user-data-dir={self.folder}/profile",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--window-size=1200,900", "--virtual-time-budget=5000",
             *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=SECONDS, check=False)
        complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        title = re.search(r"<title>FOUND (.*?)</title>", done.stdout, re.S)
        self.assertIsNotNone(title, complaints or done.stderr[-500:])
        return json.loads(title.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), complaints

    def test_page(self):
        found, complaints = self.browse(self.report(".html", GROW, "--limit", "16M"))
        self.assertEqual(complaints, [])
        self.assertEqual(found["heading"], "Memory of emma-lua")
        self.assertEqual(len(found["charts"]), 3)
        self.assertGreater(min(found["charts"]), 10)
        self.assertGreaterEqual(found["map"], 4)
        self.assertTrue([text for text in found["legend"] if re.fullmatch(r"\d+ bytes", text)], found["legend"])
        self.assertIn("a large block", found["legend"])
        self.assertEqual(found["images"], 0)
        self.assertEqual(found["tables"], 4)

    def test_sorting(self):
        found, _ = self.browse(self.report(".html"))
        self.assertTrue(found["focusable"])
        orders = {found["first"][0]: found["first"][1], found["second"][0]: found["second"][1]}
        self.assertEqual(set(orders), {"ascending", "descending"})
        self.assertEqual(orders["descending"], sorted(orders["descending"], reverse=True))
        self.assertEqual(orders["ascending"], sorted(orders["ascending"]))
        self.assertGreater(len(set(orders["ascending"])), 3)
        self.assertRegex(found["exact"], r"^[\d,]+ bytes$")

    def test_map_by_key_and_pointer(self):
        found, _ = self.browse(self.report(".html"))
        keys = found["keys"]
        self.assertTrue(keys[0].startswith("at offset 0 bytes: small blocks of many sizes, "), keys)
        self.assertTrue(keys[1].startswith("at offset 16.0 KiB: "), keys)
        self.assertRegex(keys[2], r"^at offset \d\.\d MiB: ", "a line further")
        self.assertEqual(len(set(keys)), 4, keys)
        self.assertEqual(keys[4], keys[0])
        self.assertEqual(found["tip"], [True, keys[0]])
        self.assertTrue(found["tipGone"])
        self.assertRegex(found["time"], r"^After .* live \d+\.\d MiB, footprint \d+\.\d MiB, limit none$")

    def test_map_alone(self):
        found, _ = self.browse(self.report(".html"))
        self.assertGreater(found["again"][0], found["again"][1])
        self.assertGreater(found["again"][1], 0)

    def test_dark_and_paper(self):
        light, _ = self.browse(self.report(".html"))
        dark, complaints = self.browse(self.report(".html"), "--blink-settings=preferredColorScheme=0")
        self.assertEqual(complaints, [])
        self.assertEqual((light["dark"], dark["dark"]), ("rgb(255, 255, 255)", "rgb(15, 19, 24)"))
        self.assertNotEqual(light["live"], dark["live"])
        self.assertEqual((dark["printed"][0], dark["after"]), ("rgb(255, 255, 255)", "rgb(15, 19, 24)"))
        self.assertGreater(dark["printed"][1], 3)

    def test_hostile_name(self):
        found, complaints = self.browse(self.report(".html", name=HOSTILE.encode("latin-1")))
        self.assertEqual(complaints, [])
        self.assertEqual(found["images"], 0)
        self.assertTrue(found["heading"].startswith("Memory of </script><script>"), found["heading"])

    def test_policy_would_stop_what_got_in(self):
        text = self.report(".html").replace("<main>", "<img src=x onerror=\"window.taken = 1\"><script>window.taken = 1</script><main>")
        found, complaints = self.browse(text, script="document.title = 'FOUND ' + JSON.stringify([window.taken ?? null]);")
        self.assertEqual(found, [None])
        self.assertTrue(complaints)

    def test_empty_heap(self):
        found, complaints = self.browse(self.report(".html", "os.exit(0)"))
        self.assertEqual(complaints, [])
        self.assertEqual(found["images"], 0)


if __name__ == "__main__":
    if not BROWSER:
        print("skipped: there is no Chromium")
        sys.exit(SKIPPED)
    unittest.main()
