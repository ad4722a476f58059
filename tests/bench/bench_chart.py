"""Bar charts as SVG, panels one above the other, drawn with nothing but text."""
import math
from html import escape

WIDTH = 1200
MARGIN = 24
LABEL_WIDTH = 300
PANEL_HEIGHT = 205
BAR_AREA_HEIGHT = 160
LINE_HEIGHT = 18
LEAST_GRID_LINES = 4
ROUND_STEPS = (1, 2, 2.5, 5, 10)
COLOURS = ("#0b6e4f", "#6bbf59", "#4c72b0", "#dd8452", "#8172b3", "#c44e52", "#937860", "#da8bc3", "#8c8c8c", "#ccb974")


class Chart:
    def __init__(self, title, names):
        self.title = title
        self.colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
        self.panels = []
        self.names = names

    def panel(self, title, groups, reference=None, labelled=False):
        """`groups` is {group: {bar: value or None}}. A labelled panel has one group, whose bars lie, each with its name."""
        if any(value is not None for bars in groups.values() for value in bars.values()):
            self.panels.append((title, groups, reference, labelled))

    def colour(self, bar):
        return self.colours.get(bar) or self.colours.get(bar.partition(",")[0], COLOURS[-1])

    def svg(self):
        body, y = [], MARGIN + 2 * LINE_HEIGHT
        body.append(text(MARGIN, MARGIN + 6, self.title, 18, weight="bold"))
        body += self.legend(y)
        y += 2 * LINE_HEIGHT
        for title, groups, reference, labelled in self.panels:
            draw = self.lying_bars if labelled else self.standing_bars
            body.append(text(MARGIN, y, title, 14, weight="bold"))
            parts, height = draw(y + LINE_HEIGHT / 2, groups, reference)
            body += parts
            y += height + 2 * LINE_HEIGHT
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" '
                f'viewBox="0 0 {WIDTH} {y:.0f}" font-family="sans-serif">\n'
                f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n")

    def legend(self, y):
        parts, x = [], MARGIN
        for name in self.names:
            parts += [box(x, y - 10, 12, 12, self.colours[name]), text(x + 17, y, name, 12)]
            x += 17 + 8 * len(name) + 24
        return parts

    def standing_bars(self, top, groups, reference):
        left, width = MARGIN + 44, WIDTH - 2 * MARGIN - 44
        most = max(value for bars in groups.values() for value in bars.values() if value is not None)
        bottom = top + BAR_AREA_HEIGHT
        parts, most = grid(left, width, bottom, most)
        group_width = width / len(groups)
        for index, (group, bars) in enumerate(groups.items()):
            drawn = {bar: value for bar, value in bars.items() if value is not None}
            bar_width = group_width * 0.86 / max(1, len(drawn))
            x = left + index * group_width + group_width * 0.07
            parts.append(text(x + group_width * 0.43, bottom + 16, group, 11, anchor="middle"))
            for bar, value in drawn.items():
                height = BAR_AREA_HEIGHT * value / most
                parts.append(box(x, bottom - height, bar_width * 0.92, height, self.colour(bar),
                                 f"{group} {bar}: {value:.4g}"))
                x += bar_width
        if reference is not None:
            parts.append(rule(left, left + width, bottom - BAR_AREA_HEIGHT * reference / most, "#222", 1.2))
        return parts, PANEL_HEIGHT - LINE_HEIGHT

    def lying_bars(self, top, groups, _reference):
        bars = {bar: value for group in groups.values() for bar, value in group.items() if value is not None}
        most, parts, y = max(bars.values()) or 1, [], top + 4
        room = WIDTH - 2 * MARGIN - LABEL_WIDTH - 80
        for bar, value in bars.items():
            parts.append(text(MARGIN + LABEL_WIDTH - 8, y + 12, bar, 12, anchor="end"))
            parts.append(box(MARGIN + LABEL_WIDTH, y + 2, max(1, room * value / most), LINE_HEIGHT - 5, self.colour(bar)))
            parts.append(text(MARGIN + LABEL_WIDTH + room * value / most + 6, y + 12, f"{value:.4g}", 12))
            y += LINE_HEIGHT
        return parts, y - top


def grid(left, width, bottom, most):
    """Lines at round values, and the value at the top one, which is at least `most`."""
    magnitude = 10 ** math.floor(math.log10(most / LEAST_GRID_LINES))
    step = max(step * magnitude for step in ROUND_STEPS if step * magnitude * LEAST_GRID_LINES <= most)
    lines, parts = math.ceil(most / step), []
    for line in range(lines + 1):
        y = bottom - BAR_AREA_HEIGHT * line / lines
        parts.append(rule(left, left + width, y, "#ddd", 1))
        parts.append(text(left - 6, y + 4, f"{step * line:.4g}", 11, anchor="end"))
    return parts, lines * step


def text(x, y, content, size, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
            f'{escape(content)}</text>')


def box(x, y, width, height, colour, tip=""):
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">{title}</rect>'


def rule(x1, x2, y, colour, width):
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="{width}"/>'
