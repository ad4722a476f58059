"""Reports that emma-lua writes: the three kinds, what they tell, and that nobody's names become part of them."""

import html.parser
import json
import os
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

EMMA_LUA = os.environ["EMMA_TEST_EMMA_LUA"]
SECONDS = 120
KINDS = (".html", ".json", ".svg")
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">&\"'\x01\xff"
SVG = "{http://www.w3.org/2000/svg}"
VOID = ("meta", "link", "img", "br", "input", "hr")

GROW = """
local kept = {}
for i = 1, 30000 do kept[i] = { name = "name " .. i } end
for i = 1, 30000, 3 do kept[i] = nil end
buffers = {}
for i = 1, 20 do buffers[i] = string.rep("x", 50000 + i) end
hold = kept
"""


class Page(html.parser.HTMLParser):
    """The elements of a page, each closed, and the text of its data."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.data, self.scripts = [], [], "", 0
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("type") == "application/json":
            self.data += data


class ReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="emma-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_lua(self, *arguments, name="emma-lua"):
        return subprocess.run([name, *arguments], executable=EMMA_LUA, cwd=self.folder, capture_output=True, timeout=SECONDS, check=False)

    def report(self, kind, code=GROW, *options, name="emma-lua"):
        """The text of a report of this kind."""
        done = self.run_lua(f"--report=r{kind}", *options, "-e", code, name=name)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return (self.folder / f"r{kind}").read_bytes().decode()

    def page(self, *arguments, **more):
        return Page(self.report(".html", *arguments, **more))


class Kinds(ReportTest):
    def test_page_has_all_that_the_json_has(self):
        page, alone = json.loads(self.page().data), json.loads(self.report(".json"))
        self.assertEqual(page.keys(), alone.keys())
        self.assertEqual([row["block_bytes"] for row in page["classes"]], [row["block_bytes"] for row in alone["classes"]])

    def test_page_needs_nothing(self):
        text = self.report(".html")
        page = Page(text)
        for tag, attributes in page.tags:
            self.assertNotIn(tag, ("link", "img", "iframe", "object", "base", "form"))
            self.assertNotIn("src", attributes)
            self.assertFalse([name for name in attributes if name.startswith("on")], attributes)
        policy = [attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy"]
        self.assertEqual(len(policy), 1)
        nonce = re.fullmatch(r"default-src 'none'; script-src 'nonce-([0-9a-f]{32})'; style-src 'nonce-\1'; base-uri 'none'; form-action 'none'",
                             policy[0]).group(1)
        for tag, attributes in page.tags:
            if tag in ("script", "style") and attributes.get("type") != "application/json":
                self.assertEqual(attributes.get("nonce"), nonce)
        self.assertNotEqual(nonce, "0" * 32)
        self.assertNotIn(nonce, self.report(".html"), "each page has a number of its own")
        self.assertNotIn("{{", text.split("<script", 1)[0])

    def test_svg(self):
        root = xml.etree.ElementTree.fromstring(self.report(".svg", GROW, "--limit", "16M"))
        self.assertEqual(root.tag, SVG + "svg")
        titles = [title.text for title in root.iter(SVG + "title")]
        self.assertIn("Memory of emma-lua", titles)
        for text in ("live", "footprint", "limit"):
            self.assertIn(text, titles)
        self.assertTrue([title for title in titles if re.match(r"one block of 4\d\.\d KiB", title)], titles[:50])
        self.assertTrue([title for title in titles if re.match(r"blocks of \d+ bytes, \d+ live, \d+ free", title)], titles[:50])
        words = " ".join(text.text or "" for text in root.iter(SVG + "text"))
        self.assertIn("% of the limit of 16.0 MiB", words)

    def test_chunks_add_up(self):
        report = json.loads(self.report(".json"))
        chunks = report["chunks"]
        rows = [dict(zip(chunks["columns"], row)) for row in chunks["rows"]]
        unit, end = chunks["unit_bytes"], 0
        for row in rows:
            self.assertGreaterEqual(row["first"], end)
            end = row["first"] + row["units"] * row["repeat"]
        self.assertEqual(sum(row["live_blocks"] * row["repeat"] for row in rows), report["live_blocks"])
        self.assertEqual(sum(row["resident"] * row["repeat"] for row in rows) * unit + report["metadata_bytes"], report["footprint_bytes"])
        runs = [row for row in rows if chunks["kinds"][row["kind"]] == "run"]
        self.assertEqual(sum(row["repeat"] for row in runs), report["large_blocks"])
        self.assertEqual(sum(row["block_bytes"] * row["repeat"] for row in runs), report["large_bytes"])

    def test_series(self):
        report = json.loads(self.report(".json", GROW * 10, "--limit", "128M"))
        series = report["series"]
        self.assertEqual({len(column) for column in series.values()}, {len(series["seconds"])})
        self.assertTrue(5 < len(series["seconds"]) <= 512, len(series["seconds"]))
        self.assertEqual(series["seconds"], sorted(series["seconds"]))
        self.assertEqual((series["seconds"][0], series["live_bytes"][0]), (0, 0))
        self.assertLessEqual(series["seconds"][-1], report["run_seconds"])
        self.assertEqual(series["live_bytes"][-1], report["live_bytes"])
        self.assertEqual(series["footprint_bytes"][-1], report["footprint_bytes"])
        self.assertEqual(set(series["limit_bytes"]), {128 << 20})
        self.assertTrue(report["peak_footprint_bytes"] / 2 < max(series["footprint_bytes"]) <= report["peak_footprint_bytes"])

    def test_types(self):
        code = """local kept = {} for i = 1, 1000 do kept[i] = { i } end
            for i = 1, 500 do kept[#kept + 1] = function() return i end end
            for i = 1, 100 do kept[#kept + 1] = coroutine.create(print) end
            for i = 1, 5000 do local garbage = { "garbage" .. i } end
            hold = kept collectgarbage() collectgarbage()"""
        types = {row["name"]: row for row in json.loads(self.report(".json", code))["types"]}
        grown = {name: row["count"] - row["count_before"] for name, row in types.items()}
        self.assertTrue(1000 <= grown["table"] <= 1010, grown)
        self.assertTrue(500 <= grown["function"] <= 510, grown)
        self.assertEqual(grown["thread"], 100)
        self.assertTrue(500 <= grown["upvalue"] <= 510, grown)
        self.assertTrue(2 <= grown["function prototype"] <= 4, grown)
        self.assertEqual(types["table"]["bytes"] - types["table"]["bytes_before"], grown["table"] * 56)
        self.assertGreater(types["string"]["count_before"], 100)
        report = json.loads(self.report(".json", "hold = {}"))
        self.assertLess(sum(row["bytes"] for row in report["types"]), report["live_bytes"])
        self.assertGreater(sum(row["bytes"] for row in report["types"]), report["live_bytes"] * 3 // 4)

    def test_numbers_do_not_follow_the_locale(self):
        code = "for _, name in ipairs{'de_DE.UTF-8', 'fr_FR.UTF-8', ''} do if os.setlocale(name) then break end end"
        json.loads(self.report(".json", code))


class Names(ReportTest):
    def test_hostile_name(self):
        name = HOSTILE.encode("latin-1")
        page = self.page(name=name)
        self.assertEqual([tag for tag, _ in page.tags if tag == "img"], [])
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        self.assertEqual(len(scripts), 5)
        shown = json.loads(page.data)["program"]
        self.assertTrue(shown.startswith("</script><script>document.title='taken'"), shown)
        self.assertNotIn("<img", self.report(".json", name=name))
        root = xml.etree.ElementTree.fromstring(self.report(".svg", name=name))
        self.assertTrue(root.find(SVG + "title").text.startswith("Memory of </script><script>"))
        self.assertEqual(list(root.iter(SVG + "script")) + list(root.iter(SVG + "img")), [])


class Places(ReportTest):
    def test_unknown_end(self):
        for name in ("report.txt", "report", "report.html.gz", ".html"):
            done = self.run_lua("--report", name, "-e", "print('ran')")
            self.assertEqual((done.returncode, done.stdout), (1, b""), name)
            self.assertIn(b"its name must end in .html, .json or .svg", done.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_each_kind_replaces_each(self):
        for before in KINDS:
            text = self.report(before)
            for after in KINDS:
                (self.folder / f"r{after}").write_text(text)
                self.assertNotEqual(self.report(after), text)

    def test_never_over_what_is_no_report(self):
        for kind in KINDS:
            head = self.report(kind)[:60]
            for text in ("precious", "<!DOCTYPE html>\n<html lang=\"en\">\n", "<svg xmlns=\"http://www.w3.org/2000/svg\">", head.replace("0", "x")):
                (self.folder / f"r{kind}").write_text(text)
                done = self.run_lua("--report", f"r{kind}", "-e", "print('ran')")
                self.assertEqual((done.returncode, done.stdout), (1, b""), (kind, text))
                self.assertIn(b"the file is there and is no report", done.stderr)
                self.assertEqual((self.folder / f"r{kind}").read_text(), text)

    def test_kind_of_a_pipe(self):
        os.mkfifo(self.folder / "pipe.svg")
        with subprocess.Popen(["cat", "pipe.svg"], cwd=self.folder, stdout=subprocess.PIPE) as reader:
            while self.run_lua("--report", "pipe.svg", "-e", "x = 1").returncode != 0:
                pass
            self.assertTrue(reader.stdout.read().startswith(b"<svg xmlns="))


if __name__ == "__main__":
    unittest.main()
