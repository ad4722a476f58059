/* emma_layout_checkpoint.h - what an instance made with EMMA_CHECKPOINTS has beside the others: an image, levels,
 * and a control page that is not in the region.
 *
 *   first level | control page | page_map ... | entries | page 0, chunks ... | zone of runs ...
 *                                                        \__ image, low ___/  \__ image, runs
 *
 * Pages of metadata, which lie before the origin, are anonymous; levels hold copies of all that differ. Chunks,
 * page 0 included, are mapped from the image where it has them, privately, and are anonymous behind: a page of
 * theirs differs from the image only if the kernel has it as an anonymous one. That is found by asking the kernel.
 * All numbers of pages count from page_map.
 *
 * Invariants:
 * C1  The image and the levels are never changed.
 * C2  Where the image is mapped, a page that does not count (I5) has whatever bytes; elsewhere it is zero or
 *     not there. So "fresh pages are zero" holds only while there is no image.
 * C3  What a page that counted at a level had then is the newest copy in that level or those below, else the
 *     image's page, else zero.
 * C4  The footprint holds `pages` beside what I5 sums up. Physical memory is at most the footprint: a page
 *     of the image and its anonymous copy count as two. */
#ifndef EMMA_LAYOUT_CHECKPOINT_H
#define EMMA_LAYOUT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The file in memory that has the chunks' pages as they were at the first checkpoint. The region's pages are
 * mapped from it, so what was not written since is there once. */
typedef struct emmai_image {
    const char *view;        /* the file, read-only; NULL: there is no image */
    size_t view_pages;       /* of the file */
    size_t low_pages;        /* from the origin on, at the start of the file */
    size_t run_pages;        /* from run_zone on, behind them */
    size_t run_offset_pages; /* where those are in the file */
} emmai_image;

/* A checkpoint: what the pages had that differ from the levels below and the image. Never changed. */
typedef struct emmai_level {
    const struct emmai_level *below; /* NULL: the first */
    unsigned number;                 /* what the host knows it by */
    size_t pages;                    /* that count for it: this, the index and the copies */
    size_t mapping_bytes;            /* of its own; 0: the first level's, in the instance's */
    const char *copies;              /* a page for each of the index */
    /* Of the control page: */
    size_t heap_pages; /* the footprint without what checkpoints take */
    size_t metadata_pages;
    size_t retained_pages;
    uint32_t low_covered;
    uint32_t run_covered;
    size_t count;   /* of the index */
    size_t index[]; /* pages, ascending, counted from page_map */
} emmai_level;

#define EMMAI_LEVEL_HEAD_BYTES(count) (sizeof(emmai_level) + (count) * sizeof(size_t))

/* What does not roll back, behind the control page's emmai_control. */
typedef struct emmai_checkpoints {
    emmai_image image;
    emmai_level *first; /* where the first level is, with room for `first_most` copies */
    size_t first_most;
    const emmai_level *top; /* NULL: none */
    unsigned last_number;
    size_t pages;          /* of the footprint: image, levels, and those kept */
    size_t kept_pages;     /* zeroed by the last rollback and left, though they do not count */
    size_t pieces;         /* mappings that images left, which were given up */
    size_t used_pages;     /* that it found written to and not to count */
    uint32_t seen_low_end; /* the highest that low_end and run_end ever were: behind them nothing */
    uint32_t seen_run_end; /* was written */
} emmai_checkpoints;

#endif
