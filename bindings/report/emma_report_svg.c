/* emma_report_svg.c - a report as one picture: memory over time, size classes with their waste, the map. It is made
 * of plain shapes, each with a title that tells its figures, and of a style for light and for dark. */
#include "emma_report.h"

#include <stdio.h>

#define WIDTH       1000
#define MARGIN      40
#define PLOT_LEFT   110
#define PLOT_WIDTH  (WIDTH - PLOT_LEFT - MARGIN)
#define PLOT_HEIGHT 200
#define GRID_LINES  4

#define SECOND ((uint64_t)1000000000)

/* The map: squares for memory, at the most so many. */
#define SQUARE             8
#define COLUMNS            ((WIDTH - 2 * MARGIN) / SQUARE)
#define MOST_SQUARES       6000
#define FIRST_SQUARE_BYTES ((size_t)16 << 10)
#define USED_STEPS         7 /* heights of a square's part in use, in pixels */

/* Block sizes that have a colour of their own, classes c0 to c6 of the style: those with the most memory. */
#define OWN_COLOURS 7

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

static void words(emma_report_out *out, int x, int y, const char *class, const char *anchor,
                  const char *text)
{
    emmai_out_format(out, "<text x=\"%d\" y=\"%d\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                     anchor);
    emmai_out_xml(out, text);
    emmai_out_text(out, "</text>\n");
}

static void heading(emma_report_out *out, int y, const char *text)
{
    emmai_out_format(out,
                     "<text x=\"%d\" y=\"%d\" font-size=\"17\" font-weight=\"600\">%s</text>\n",
                     MARGIN, y, text);
}

/* Part of `length` that `value` is of `whole`. */
static int scaled(size_t value, size_t whole, int length)
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
        words(out, PLOT_LEFT - 8, y + 5, "q", "end",
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
    return PLOT_LEFT + scaled(plot->series->points[i].nanoseconds, whole ? whole : 1, PLOT_WIDTH);
}

static int time_y(const time_plot *plot, size_t bytes)
{
    return plot->top + PLOT_HEIGHT -
           scaled(bytes < plot->most ? bytes : plot->most, plot->most, PLOT_HEIGHT);
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

static void key(emma_report_out *out, int x, int y, const char *class, const char *text)
{
    emmai_out_format(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"12\" height=\"12\"/>",
                     class, x, y - 11);
    words(out, x + 18, y, "q", "start", text);
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
    heading(out, y, "Memory over time");
    if (!series || series->count < 2) {
        words(out, MARGIN, y + 26, "q", "start",
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
    key(out, PLOT_LEFT, below, "l", "live");
    key(out, PLOT_LEFT + 90, below, "f", "footprint");
    char limit[EMMA_REPORT_SIZE_BYTES], text[64];
    snprintf(text, sizeof text, "limit: %s%s",
             emma_report_size(limit, series->points[series->count - 1].limit_bytes),
             has_limit ? "" : ", not in view");
    key(out, PLOT_LEFT + 220, below, "m", text);
    return below + 40;
}

/* ---- size classes ---- */

static void class_bar(emma_report_out *out, const emma_class_stats *class, int x, int width,
                      int bottom, size_t most)
{
    char live_text[EMMA_REPORT_SIZE_BYTES], waste_text[EMMA_REPORT_SIZE_BYTES];
    const size_t live = class->live_blocks * class->block_bytes, waste = emma_report_waste(class);
    const int all = scaled(live + waste, most, PLOT_HEIGHT), used = scaled(live, most, PLOT_HEIGHT);
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
    heading(out, y, "Size classes");
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
    key(out, PLOT_LEFT, bottom + 62, "l", "live");
    key(out, PLOT_LEFT + 90, bottom + 62, "w", "waste: free blocks of slabs in use");
    return bottom + 100;
}

/* ---- the map ---- */

/* What is drawn: the report, and the sizes that have colours, in rising order. */
typedef struct map_plot {
    emma_report_out *out;
    size_t blocks[OWN_COLOURS];
    size_t block_count;
    /* squares in a row that look alike and are drawn as one: `part` from square `from` on */
    const emma_chunk_stats *part;
    size_t from;
    int top;
} map_plot;

/* The size class that comes after `before` by the memory that it has; NULL: none. */
static const emma_class_stats *next_class(const emma_report *report, const emma_class_stats *before)
{
    const emma_class_stats *best = NULL;
    for (size_t i = 0; i < report->class_count; i++) {
        const emma_class_stats *class = &report->classes[i];
        if (before && (class->footprint_bytes > before->footprint_bytes ||
                       (class->footprint_bytes == before->footprint_bytes && class <= before)))
            continue;
        if (!best || class->footprint_bytes > best->footprint_bytes)
            best = class;
    }
    return best;
}

static void choose_colours(map_plot *plot, const emma_report *report)
{
    const emma_class_stats *class = NULL;
    while (plot->block_count < OWN_COLOURS && (class = next_class(report, class))) {
        size_t at = plot->block_count++;
        for (; at > 0 && plot->blocks[at - 1] > class->block_bytes; at--)
            plot->blocks[at] = plot->blocks[at - 1];
        plot->blocks[at] = class->block_bytes;
    }
}

static const char *const own_colours[OWN_COLOURS + 1] = { "c0", "c1", "c2", "c3",
                                                          "c4", "c5", "c6", "c7" };

static const char *square_class(const map_plot *plot, const emma_chunk_stats *part)
{
    static const char *const kinds[] = { [EMMA_CHUNK_FREE] = "free",
                                         [EMMA_CHUNK_RUN] = "run",
                                         [EMMA_CHUNK_YOUNG] = "young",
                                         [EMMA_CHUNK_HEAP] = "heap" };
    if (part->kind != EMMA_CHUNK_SLAB)
        return kinds[part->kind];
    size_t i = 0;
    while (i < plot->block_count && plot->blocks[i] != part->block_bytes)
        i++;
    return own_colours[i < plot->block_count ? i : OWN_COLOURS];
}

/* Height of what is in use of a square. */
static int square_used(const emma_chunk_stats *part)
{
    if (part->kind != EMMA_CHUNK_SLAB && part->kind != EMMA_CHUNK_YOUNG)
        return USED_STEPS;
    return scaled(part->live_blocks, part->live_blocks + part->free_blocks, USED_STEPS);
}

static void square_title(emma_report_out *out, const emma_chunk_stats *part)
{
    char size[EMMA_REPORT_SIZE_BYTES];
    switch (part->kind) {
    case EMMA_CHUNK_SLAB:
        emmai_out_format(out, "blocks of %zu bytes, %zu live, %zu free", part->block_bytes,
                         part->live_blocks, part->free_blocks);
        break;
    case EMMA_CHUNK_RUN:
        emmai_out_format(out, "one block of %s", emma_report_size(size, part->block_bytes));
        break;
    case EMMA_CHUNK_YOUNG:
        emmai_out_format(out, "small blocks of many sizes, %zu live, %zu free", part->live_blocks,
                         part->free_blocks);
        break;
    case EMMA_CHUNK_HEAP:
        emmai_out_text(out, "emma's own, for a thread");
        break;
    case EMMA_CHUNK_FREE:
        emmai_out_text(out, "free, kept for reuse");
        break;
    }
}

/* `count` squares in a line that look alike. */
static void draw_squares(const map_plot *plot, int x, int y, int count)
{
    emma_report_out *out = plot->out;
    const emma_chunk_stats *part = plot->part;
    const int used = square_used(part), width = count * SQUARE - 1;
    emmai_out_text(out, "<g><title>");
    square_title(out, part);
    emmai_out_text(out, "</title>");
    if (used < USED_STEPS)
        emmai_out_format(out, "<rect class=\"free\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>",
                         x, y, width, USED_STEPS - used);
    emmai_out_format(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></g>\n",
                     square_class(plot, part), x, y + USED_STEPS - used, width, used);
}

static bool looks_alike(const emma_chunk_stats *a, const emma_chunk_stats *b)
{
    return a->kind == b->kind && a->block_bytes == b->block_bytes &&
           square_used(a) == square_used(b);
}

static void end_squares(map_plot *row, size_t to)
{
    if (row->part && to > row->from)
        draw_squares(row, MARGIN + (int)(row->from % COLUMNS) * SQUARE,
                     row->top + (int)(row->from / COLUMNS) * SQUARE, (int)(to - row->from));
    row->part = NULL;
}

static size_t map_bytes(const emma_report *report)
{
    size_t bytes = 0;
    for (size_t i = 0; i < report->chunk_count; i++)
        bytes += report->chunks[i].part.bytes * report->chunks[i].repeat;
    return bytes;
}

static void map_key(const map_plot *plot, int y)
{
    static const char *const kinds[][2] = { { "c7", "others" },
                                            { "run", "large block" },
                                            { "young", "many sizes" },
                                            { "heap", "emma's own" },
                                            { "free", "free" } };
    int x = MARGIN;
    for (size_t i = 0; i < plot->block_count; i++, x += 58) {
        char text[EMMA_REPORT_SIZE_BYTES];
        snprintf(text, sizeof text, "%zu", plot->blocks[i]);
        key(plot->out, x, y, own_colours[i], text);
    }
    words(plot->out, x, y, "q", "start", "bytes");
    x += 50;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++, x += i == 1 ? 78 : 108)
        key(plot->out, x, y, kinds[i][0], kinds[i][1]);
}

/* The height that the map takes. */
static int map_height(const emma_report *report, size_t *square_bytes)
{
    const size_t bytes = map_bytes(report);
    *square_bytes = FIRST_SQUARE_BYTES;
    while (bytes / *square_bytes > MOST_SQUARES)
        *square_bytes *= 2;
    return (int)((bytes / *square_bytes + COLUMNS) / COLUMNS) * SQUARE;
}

static void draw_map(emma_report_out *out, const emma_report *report, int y)
{
    size_t square_bytes, at = 0, square = 0;
    char size[EMMA_REPORT_SIZE_BYTES];
    map_height(report, &square_bytes);
    heading(out, y, "Map of the heap");
    emmai_out_format(out,
                     "<text class=\"q\" x=\"%d\" y=\"%d\">A square is %s; what is between chunks "
                     "that have memory is left out.</text>\n",
                     MARGIN, y + 22, emma_report_size(size, square_bytes));
    map_plot row = { .out = out, .top = y + 60 };
    choose_colours(&row, report);
    map_key(&row, y + 46);
    for (size_t i = 0; i < report->chunk_count; i++) {
        const emma_report_chunks *chunks = &report->chunks[i];
        at += chunks->part.bytes * chunks->repeat;
        /* The squares that begin in them. */
        for (; square * square_bytes < at; square++) {
            if (row.part && (square % COLUMNS == 0 || !looks_alike(row.part, &chunks->part)))
                end_squares(&row, square);
            if (!row.part) {
                row.part = &chunks->part;
                row.from = square;
            }
        }
    }
    end_squares(&row, square);
}

void emmai_report_as_svg(emma_report_out *out, const emma_report *report)
{
    size_t square_bytes;
    const int head = 80 + 20 * (int)report->verdict_count;
    const int height = head + 330 + 360 + 100 + map_height(report, &square_bytes);
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
        words(out, MARGIN, 92 + 20 * (int)i, "", "start", report->verdicts[i]);
    int y = draw_time(out, report->series, head + 40);
    y = draw_classes(out, report, y);
    draw_map(out, report, y);
    emmai_out_text(out, "</svg>\n");
}
