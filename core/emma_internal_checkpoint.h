/* emma_internal_checkpoint.h - what the files of checkpoints offer each other and the core. */
#ifndef EMMA_INTERNAL_CHECKPOINT_H
#define EMMA_INTERNAL_CHECKPOINT_H

#include "emma_layout.h"

/* ---- emma_os.c ---- */

static int emmai_os_file(const char *name, size_t bytes);
static void emmai_os_close(int file);
static bool emmai_os_write(int file, const char *bytes, size_t count, size_t offset);
static bool emmai_os_seal(int file);
static const char *emmai_os_view(int file, size_t bytes);
static bool emmai_os_overlay(int file, void *start, size_t bytes, size_t offset);
static void emmai_os_protect(void *start, size_t bytes);
static bool emmai_os_move(void *from, size_t bytes, void *to);

/* A stretch of pages, as the kernel tells it: struct page_region of Linux. */
typedef struct emmai_scan_region {
    uint64_t start, end, categories;
} emmai_scan_region;

/* As many as one question is answered by at most. */
#define EMMAI_SCAN_REGIONS 64

/* struct pm_scan_arg of Linux. */
typedef struct emmai_scan {
    uint64_t bytes, flags, start, end, walk_end, regions, region_count, most_pages;
    uint64_t inverted, all_of, any_of, report; /* of the kernel's categories */
} emmai_scan;

static int emmai_os_open_scan(void);
static long emmai_os_scan(int file, emmai_scan *scan);

/* ---- emma_image.c, emma_dirty.c, emma_level.c, emma_rollback.c, emma_checkpoint.c ---- */

typedef void (*emmai_page_fn)(void *arg, size_t page);

/* Pages of the footprint that checkpoints take. */
static inline size_t emmai_checkpoint_pages(const emmai_control *control)
{
    return control->checkpoints ? emmai_sync_get(&control->checkpoints->pages) : 0;
}

/* Whether the region is mapped from an image (C2). */
static inline bool emmai_image_exists(const emma *instance)
{
    return instance->control->checkpoints && instance->control->checkpoints->image.view;
}

/* Whether that image is one that no level needs, and that could not be given up: what it has is
 * nobody's. */
static inline bool emmai_image_is_left(const emma *instance)
{
    return emmai_image_exists(instance) && !instance->control->checkpoints->top;
}

static bool emmai_image_create(emma *instance);
static bool emmai_image_dissolve(emma *instance);
static const char *emmai_image_page(const emma *instance, size_t page);
static bool emmai_dirty_visit(const emma *instance, emmai_page_fn visit, void *arg);
static bool emmai_dirty_forget(const emma *instance);
static const char *emmai_level_page(const emma *instance, const emmai_level *level, size_t page);
static bool emmai_level_page_is(const char *page, const char *other);
static bool emmai_level_page_counts(const emma *instance, size_t page);
static size_t emmai_level_page_0(const emma *instance);
static void emmai_level_visit_region(const emma *instance, emmai_page_fn visit, void *arg);
static size_t emmai_level_pages(size_t count);
static bool emmai_level_push(emma *instance);
static void emmai_level_pop(emma *instance);
static const emmai_level *emmai_level_find(const emma *instance, unsigned number);
static void emmai_checkpoint_forget(emma *instance, const emmai_level *level);
static size_t emmai_checkpoint_mappings(const emmai_control *control);
static void emmai_checkpoint_release(const emma *instance);
static void emmai_rollback_to(emma *instance, const emmai_level *level);
static size_t emmai_rollback_trim(emma *instance);
static bool emmai_checkpoint_is_sound(const emmai_control *control);
static size_t emmai_checkpoint_needs(const emma *instance);

#endif
