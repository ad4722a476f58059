/* emma_report_svg_map.c - the map of a heap as a picture: squares in the
 * order of addresses, in lines. */
#include "emma_report_svg.h"

#include <stdio.h>

/* The map: squares for memory, at the most so many. */
#define SQUARE             8
#define COLUMNS            ((WIDTH - 2 * MARGIN) / SQUARE)
#define MOST_SQUARES       6000
#define FIRST_SQUARE_BYTES ((size_t)16 << 10)
#define USED_STEPS         7 /* heights of a square's part in use, in pixels */

/* Block sizes that have a colour of their own, classes c0 to c6 of the style:
 * those with the most memory. */
#define OWN_COLOURS 7

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
    return emmai_svg_scaled(part->live_blocks, part->live_blocks + part->free_blocks, USED_STEPS);
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
    for (size_t i = 0; i < report->map.count; i++)
        bytes += report->map.chunks[i].part.bytes * report->map.chunks[i].repeat;
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
        emmai_svg_key(plot->out, x, y, own_colours[i], text);
    }
    emmai_svg_words(plot->out, x, y, "q", "start", "bytes");
    x += 50;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++, x += i == 1 ? 78 : 112)
        emmai_svg_key(plot->out, x, y, kinds[i][0], kinds[i][1]);
}

/* Memory that a square stands for: twice as much as long as there were too many of them. */
static size_t square_bytes_for(size_t bytes)
{
    size_t square_bytes = FIRST_SQUARE_BYTES;
    while (bytes / square_bytes > MOST_SQUARES)
        square_bytes *= 2;
    return square_bytes;
}

int emmai_svg_map_height(const emma_report *report)
{
    const size_t bytes = map_bytes(report);
    return (int)((bytes / square_bytes_for(bytes) + COLUMNS) / COLUMNS) * SQUARE;
}

void emmai_svg_map(emma_report_out *out, const emma_report *report, int y)
{
    const size_t square_bytes = square_bytes_for(map_bytes(report));
    size_t at = 0, square = 0;
    char size[EMMA_REPORT_SIZE_BYTES];
    emmai_svg_heading(out, y, "Map of the heap");
    emmai_out_format(out,
                     "<text class=\"q\" x=\"%d\" y=\"%d\">A square is %s; what is between chunks "
                     "that have memory is left out.</text>\n",
                     MARGIN, y + 22, emma_report_size(size, square_bytes));
    map_plot row = { .out = out, .top = y + 60 };
    choose_colours(&row, report);
    map_key(&row, y + 46);
    for (size_t i = 0; i < report->map.count; i++) {
        const emma_report_chunks *chunks = &report->map.chunks[i];
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
