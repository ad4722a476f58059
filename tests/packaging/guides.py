"""guides.py SOURCE: each piece of code in docs/guides and README.md that names its file stands in that file as it is, and
every file that a guide links to is there."""
import re
import sys
import textwrap
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#: ]+)[^)]*\)")
QUOTED = re.compile(r"^\[[^\]]*\]\(([^)]+)\)\n```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```[a-z]+$", re.MULTILINE)
LEAST_PIECES = 5


def main(root):
    pieces, wrong = 0, []
    for guide in sorted((root / "docs" / "guides").glob("*.md")):
        text = guide.read_text()
        quoted = QUOTED.findall(text)
        pieces += len(quoted)
        if len(quoted) != len(FENCED.findall(text)):
            wrong.append(f"{guide.name}: a piece of code does not name its file")
        wrong += [f"{guide.name}: {link} is not there" for link in LINK.findall(text) if not (guide.parent / link).exists()]
        for file, code in quoted:
            source = (guide.parent / file).read_text()
            indented = {textwrap.indent(textwrap.dedent(code), " " * depth) for depth in range(0, 17, 4)}
            if not any(candidate in source for candidate in indented):
                wrong.append(f"{guide.name}: not in {file}:\n{code}")
    if pieces < LEAST_PIECES:
        wrong.append(f"only {pieces} pieces of code were found")
    print("\n".join(wrong) or f"{pieces} pieces of code are as in their files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
