/* emma_report_svg.c - a report as one picture: memory over time, size classes with their
 * waste, the map. It is made of plain shapes, each with a title that tells its figures, and of
 * a style for light and for dark. */
#include "emma_report_svg.h"

#include <stdio.h>

#define PLOT_LEFT   110
#define PLOT_WIDTH  (WIDTH - PLOT_LEFT - MARGIN)
#define PLOT_HEIGHT 200
#define GRID_LINES  4

#define SECOND ((uint64_t)1000000000)

static const char style[] =
    "<style>\n"
    "svg{background:#fff;font:14px system-ui,'DejaVu "
    "Sans',sans-serif}text{fill:#1b1f24}.q{fill:#57606a}"
    ".g{stroke:#d0d7de}.live{stroke:#0969da;fill:none;stroke-width:2}.area{fill:#0969da;opacity:."
    "15}"
    ".foot{stroke:#9a6700;fill:none;stroke-width:2}.limit{stroke:#cf222e;fill:none;stroke-width:2;"
    "stroke-dasharray:8 6}"
    ".l{fill:#0969da}.f{fill:#9a6700}.m{fill:#cf222e}.w{fill:#d8a657}.free{fill:#c6ccd3}.run{fill:#"
    "a0408c}"
    ".young{fill:#6e5034}.heap{fill:#57606a}"
    ".c0{fill:#1f3b8b}.c1{fill:#2a9fc9}.c2{fill:#12785a}.c3{fill:#7fb23a}.c4{fill:#d9a400}.c5{fill:"
    "#d2601a}.c6{fill:#a3162e}"
    ".c7{fill:#7a8794}\n"
    "@media screen and "
    "(prefers-color-scheme:dark){svg{background:#0f1318}text{fill:#e6edf3}.q{fill:#9aa5b1}.g{"
    "stroke:#343c46}"
    ".live{stroke:#58a6ff}.area,.l{fill:#58a6ff}.foot{stroke:#d6a02c}.f{fill:#d6a02c}.limit{stroke:"
    "#ff7b72}.m{fill:#ff7b72}"
    ".w{fill:#8a6a2c}.free{fill:#3d4651}.run{fill:#e58ad2}.young{fill:#b98d62}.heap{fill:#8b96a3}"
    ".c0{fill:#7089f0}.c1{fill:#4fc3ea}.c2{fill:#35b08a}.c3{fill:#a5d65c}.c4{fill:#f0c93c}.c5{fill:"
    "#f08a4b}.c6{fill:#e0566b}"
    ".c7{fill:#6f7d8c}}\n"
    "</style>\n";

void emmai_svg_words(emma_report_out *out, int x, int y, const char *class, const char *anchor,
                     const char *text)
{
    emmai_out_format(out, "<text x=\"%d\" y=\"%d\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                     anchor);
    emmai_out_xml(out, text);
    emmai_out_text(out, "</text>\n");
}

void emmai_svg_heading(emma_report_out *out, int y, const char *text)
{
    emmai_out_format(out,
                     "<text x=\"%d\" y=\"%d\" font-size=\"17\" font-weight=\"600\">%s</text>\n",
                     MARGIN, y, text);
}

int emmai_svg_scaled(size_t value, size_t whole, int length)
{
    return whole ? (int)((double)value / (double)whole * length + 0.5) : 0;
}

/* Lines across a plot whose bottom is 0 and whose top is `most`. */
static void grid(emma_report_out *out, int top, size_t most)
{
    for (int i = 0; i <= GRID_LINES; i++) {
        char text[EMMA_REPORT_SIZE_BYTES];
        const int y = top + PLOT_HEIGHT - PLOT_HEIGHT * i / GRID_LINES;
        emmai_out_format(out, "<path class=\"g\" d=\"M%d %dH%d\"/>\n", PLOT_LEFT, y,
                         PLOT_LEFT + PLOT_WIDTH);
        emmai_svg_words(out, PLOT_LEFT - 8, y + 5, "q", "end",
                        emma_report_size(text, most / GRID_LINES * (size_t)i));
    }
}

/* ---- memory over time ---- */

typedef struct time_plot {
    emma_report_out *out;
    const emma_report_series *series;
    int top;
    size_t most;
} time_plot;

static int time_x(const time_plot *plot, size_t i)
{
    const uint64_t whole = plot->series->points[plot->series->count - 1].nanoseconds;
    return PLOT_LEFT +
           emmai_svg_scaled(plot->series->points[i].nanoseconds, whole ? whole : 1, PLOT_WIDTH);
}

static int time_y(const time_plot *plot, size_t bytes)
{
    return plot->top + PLOT_HEIGHT -
           emmai_svg_scaled(bytes < plot->most ? bytes : plot->most, plot->most, PLOT_HEIGHT);
}

static void time_line(const time_plot *plot, const char *class, const char *title, size_t offset,
                      bool is_area)
{
    emma_report_out *out = plot->out;
    emmai_out_format(out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < plot->series->count; i++) {
        const size_t bytes = *(const size_t *)((const char *)&plot->series->points[i] + offset);
        emmai_out_format(out, "%c%d %d", i ? 'L' : 'M', time_x(plot, i), time_y(plot, bytes));
    }
    if (is_area)
        emmai_out_format(out, "V%dH%dZ", plot->top + PLOT_HEIGHT, PLOT_LEFT);
    emmai_out_format(out, "\"><title>%s</title></path>\n", title);
}

void emmai_svg_key(emma_report_out *out, int x, int y, const char *class, const char *text)
{
    emmai_out_format(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"12\" height=\"12\"/>",
                     class, x, y - 11);
    emmai_svg_words(out, x + 18, y, "q", "start", text);
}

/* The points of the highest footprint, and of the limit where that is not far above. */
static size_t time_most(const emma_report_series *series, bool *has_limit)
{
    size_t most = 1, limit = 0;
    for (size_t i = 0; i < series->count; i++) {
        const emma_report_point *point = &series->points[i];
        most = point->footprint_bytes > most ? point->footprint_bytes : most;
        limit = point->limit_bytes != EMMA_UNLIMITED && point->limit_bytes > limit
                    ? point->limit_bytes
                    : limit;
    }
    *has_limit = limit && limit / 4 <= most;
    return *has_limit && limit > most ? limit : most;
}

static int draw_time(emma_report_out *out, const emma_report_series *series, int y)
{
    emmai_svg_heading(out, y, "Memory over time");
    if (!series || series->count < 2) {
        emmai_svg_words(out, MARGIN, y + 26, "q", "start",
                        series && series->count
                            ? "It ended before there was a second point."
                            : "It was not noted: it is where a report is asked for at the start.");
        return y + 60;
    }
    bool has_limit;
    time_plot plot = { out, series, y + 20, time_most(series, &has_limit) };
    plot.most += plot.most / 16;
    grid(out, plot.top, plot.most);
    time_line(&plot, "area", "live", offsetof(emma_report_point, live_bytes), true);
    time_line(&plot, "live", "live", offsetof(emma_report_point, live_bytes), false);
    time_line(&plot, "foot", "footprint", offsetof(emma_report_point, footprint_bytes), false);
    if (has_limit)
        time_line(&plot, "limit", "limit", offsetof(emma_report_point, limit_bytes), false);
    const int below = plot.top + PLOT_HEIGHT + 20;
    const uint64_t whole = series->points[series->count - 1].nanoseconds;
    emmai_out_format(out, "<text class=\"q\" x=\"%d\" y=\"%d\" text-anchor=\"end\">",
                     PLOT_LEFT + PLOT_WIDTH, below);
    emmai_out_format(out, "%llu.%02llu s</text>\n", (unsigned long long)(whole / SECOND),
                     (unsigned long long)(whole % SECOND / (SECOND / 100)));
    emmai_svg_key(out, PLOT_LEFT, below, "l", "live");
    emmai_svg_key(out, PLOT_LEFT + 90, below, "f", "footprint");
    char limit[EMMA_REPORT_SIZE_BYTES], text[64];
    snprintf(text, sizeof text, "limit: %s%s",
             emma_report_size(limit, series->points[series->count - 1].limit_bytes),
             has_limit ? "" : ", not in view");
    emmai_svg_key(out, PLOT_LEFT + 220, below, "m", text);
    return below + 40;
}

/* ---- size classes ---- */

static void class_bar(emma_report_out *out, const emma_class_stats *class, int x, int width,
                      int bottom, size_t most)
{
    char live_text[EMMA_REPORT_SIZE_BYTES], waste_text[EMMA_REPORT_SIZE_BYTES];
    const size_t live = class->live_blocks * class->block_bytes, waste = emma_report_waste(class);
    const int all = emmai_svg_scaled(live + waste, most, PLOT_HEIGHT),
              used = emmai_svg_scaled(live, most, PLOT_HEIGHT);
    emmai_out_format(out,
                     "<g><title>%zu bytes: %zu live blocks, %s; waste %s</title>"
                     "<rect class=\"w\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
                     "<rect class=\"l\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></g>\n",
                     class->block_bytes, class->live_blocks, emma_report_size(live_text, live),
                     emma_report_size(waste_text, waste), x, bottom - all, width, all - used, x,
                     bottom - used, width, used);
    emmai_out_format(out,
                     "<text class=\"q\" font-size=\"11\" text-anchor=\"end\" "
                     "transform=\"translate(%d %d) rotate(-60)\">%zu</text>\n",
                     x + width / 2 + 4, bottom + 14, class->block_bytes);
}

static int draw_classes(emma_report_out *out, const emma_report *report, int y)
{
    emmai_svg_heading(out, y, "Size classes");
    size_t most = 1;
    for (size_t i = 0; i < report->class_count; i++) {
        const emma_class_stats *class = &report->classes[i];
        const size_t bytes = class->live_blocks * class->block_bytes + emma_report_waste(class);
        most = bytes > most ? bytes : most;
    }
    const int top = y + 20, bottom = top + PLOT_HEIGHT;
    grid(out, top, most);
    for (size_t i = 0; i < report->class_count; i++) {
        const int step = PLOT_WIDTH / (int)report->class_count;
        const int width = step * 3 / 4 < 40 ? step * 3 / 4 : 40;
        class_bar(out, &report->classes[i], PLOT_LEFT + step * (int)i + (step - width) / 2, width,
                  bottom, most);
    }
    emmai_svg_key(out, PLOT_LEFT, bottom + 62, "l", "live");
    emmai_svg_key(out, PLOT_LEFT + 90, bottom + 62, "w", "waste: free blocks of slabs in use");
    return bottom + 100;
}

void emmai_report_as_svg(emma_report_out *out, const emma_report *report)
{
    const int head = 80 + 20 * (int)report->verdict_count;
    const int height = head + 330 + 360 + 100 + emmai_svg_map_height(report);
    emmai_out_head(out, EMMA_REPORT_AS_SVG);
    emmai_out_format(
        out, " width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>Memory of ",
        WIDTH, height, WIDTH, height);
    emmai_out_xml(out, report->program ? report->program : "a program");
    emmai_out_text(out, "</title>\n");
    emmai_out_text(out, style);
    emmai_out_format(out, "<text x=\"%d\" y=\"44\" font-size=\"22\" font-weight=\"600\">Memory of ",
                     MARGIN);
    emmai_out_xml(out, report->program ? report->program : "a program");
    emmai_out_format(out, "</text>\n<text class=\"q\" x=\"%d\" y=\"66\">emma %s, ", MARGIN,
                     emma_version());
    emmai_out_xml(out, report->runtime ? report->runtime : "");
    emmai_out_format(out, ", process %ld</text>\n", (long)report->process);
    for (size_t i = 0; i < report->verdict_count; i++)
        emmai_svg_words(out, MARGIN, 92 + 20 * (int)i, "", "start", report->verdicts[i]);
    int y = draw_time(out, report->series, head + 40);
    y = draw_classes(out, report, y);
    emmai_svg_map(out, report, y);
    emmai_out_text(out, "</svg>\n");
}
