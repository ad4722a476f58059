/* emma_image.c - the image of a checkpointed instance: a sealed file in memory that the region's pages are mapped
 * from. See emma_layout_checkpoint.h. */
#include "emma_internal.h"

/* Of an image that is given up, so many pages are copied at a time. */
#define PIECE_MOST_PAGES  ((size_t)4 * EMMAI_MIB >> EMMAI_PAGE_SHIFT)
#define PIECE_LEAST_PAGES ((size_t)16)

static size_t image_origin_page(const emma *instance)
{
    return emmai_page_of(instance, emmai_origin(instance));
}

static size_t image_zone_page(const emma *instance)
{
    return emmai_page_of(instance, emmai_chunk_start(instance, instance->run_zone));
}

/* What the image has for a page; NULL where it has none. */
static const char *emmai_image_page(const emma *instance, size_t page)
{
    const emmai_image *image = &instance->control->checkpoints->image;
    size_t low = page - image_origin_page(instance); /* huge for metadata */
    if (low < image->low_pages)
        return image->view + (low << EMMAI_PAGE_SHIFT);
    size_t run = page - image_zone_page(instance);
    if (run < image->run_pages)
        return image->view + ((image->run_offset_pages + run) << EMMAI_PAGE_SHIFT);
    return NULL;
}

/* ---- making it ---- */

/* Pages from a zone's first chunk to the end of what counts in it. */
static size_t image_pages_to(const emma *instance, size_t first, size_t end)
{
    size_t last = emmai_bits_last(instance->chunk_map, first, end);
    size_t kept = emmai_bits_last(instance->retained_map, first, end);
    last = emmai_max(last, kept);
    if (last == first)
        return 0;
    size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)last - 1));
    return (last - 1 - first) * EMMAI_CHUNK_PAGES + resident;
}

/* Pages of the young area to the last that counts. */
static size_t image_young_pages(const emma *instance)
{
    size_t pages = 0;
    for (size_t i = 0; i < EMMAI_YOUNG_CHUNKS; i++) {
        size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)i));
        if (resident)
            pages = i * EMMAI_CHUNK_PAGES + resident;
    }
    return pages;
}

static void image_measure(const emma *instance, emmai_image *image)
{
    size_t behind = image_pages_to(instance, EMMAI_YOUNG_CHUNKS, instance->low_end);
    image->low_pages =
        behind ? EMMAI_YOUNG_CHUNKS * EMMAI_CHUNK_PAGES + behind : image_young_pages(instance);
    image->run_pages = image_pages_to(instance, instance->run_zone, instance->run_end);
    image->run_offset_pages = image->low_pages;
    image->view_pages = image->low_pages + image->run_pages;
}

/* Pages that count of a chunk of which the first `most` are meant. */
static size_t image_counted(const emma *instance, size_t chunk, size_t most)
{
    return emmai_min(emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)chunk)), most);
}

/* Writes what counts of `pages` pages from a chunk on. */
static bool image_write(const emma *instance, int file, size_t chunk, size_t pages, size_t offset)
{
    for (size_t done = 0; done < pages; done += EMMAI_CHUNK_PAGES, chunk++) {
        size_t counted = image_counted(instance, chunk, pages - done);
        if (!emmai_os_write(file, emmai_chunk_start(instance, chunk), counted << EMMAI_PAGE_SHIFT,
                            (offset + done) << EMMAI_PAGE_SHIFT))
            return false;
    }
    return true;
}

static bool image_fill(const emma *instance, int file, const emmai_image *image)
{
    return image_write(instance, file, 0, image->low_pages, 0) &&
           image_write(instance, file, instance->run_zone, image->run_pages,
                       image->run_offset_pages) &&
           emmai_os_seal(file);
}

/* Puts a zone's part of the image in the place of what it has; *mapped tells so. */
static bool image_overlay(const emma *instance, int file, size_t chunk, size_t pages, size_t offset,
                          size_t *mapped)
{
    if (pages && !emmai_os_overlay(file, emmai_chunk_start(instance, chunk),
                                   pages << EMMAI_PAGE_SHIFT, offset << EMMAI_PAGE_SHIFT))
        return false;
    *mapped = pages;
    return true;
}

/* Makes the image that was measured, from an open file. */
static bool image_make(const emma *instance, int file, emmai_image *image)
{
    size_t low_pages = image->low_pages;
    size_t run_pages = image->run_pages;
    if (!image_fill(instance, file, image))
        low_pages = 0;
    image->low_pages = image->run_pages = 0; /* not there yet */
    return low_pages &&
           (image->view = emmai_os_view(file, image->view_pages << EMMAI_PAGE_SHIFT)) != NULL &&
           image_overlay(instance, file, 0, low_pages, 0, &image->low_pages) &&
           image_overlay(instance, file, instance->run_zone, run_pages, image->run_offset_pages,
                         &image->run_pages);
}

/* Makes the image of what counts now, and charges for it; false, with nothing changed, when memory is refused. */
static bool emmai_image_create(emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    emmai_image *image = &checkpoints->image;
    emmai_image wanted;
    emmai_arch_zero(&wanted, sizeof wanted);
    image_measure(instance, &wanted);
    if (!emmai_footprint_take(instance, wanted.view_pages))
        return false;
    emmai_arch_copy(image, &wanted, sizeof wanted);
    emmai_sync_count(&checkpoints->pages, wanted.view_pages);
    int file = emmai_os_file(instance->control->name, wanted.view_pages << EMMAI_PAGE_SHIFT);
    bool made = file >= 0 && image_make(instance, file, image);
    if (file >= 0)
        emmai_os_close(file);
    else
        image->low_pages = image->run_pages = 0;
    if (!made)
        emmai_image_dissolve(instance);
    else
        emmai_watch_remapped(instance);
    return made;
}

/* ---- doing without it ---- */

/* Copies what counts of `pages` pages from a chunk on. */
static void image_copy(const emma *instance, char *to, size_t chunk, size_t pages)
{
    for (size_t done = 0; done < pages; done += EMMAI_CHUNK_PAGES, chunk++) {
        size_t counted = image_counted(instance, chunk, pages - done);
        if (counted)
            emmai_arch_copy(to + (done << EMMAI_PAGE_SHIFT), emmai_chunk_start(instance, chunk),
                            counted << EMMAI_PAGE_SHIFT);
    }
}

/* Puts anonymous memory with the same contents in the place of pages of the image, in one step. */
static bool image_replace_piece(const emma *instance, size_t chunk, size_t pages)
{
    size_t bytes = pages << EMMAI_PAGE_SHIFT;
    char *fresh = emmai_os_memory(bytes);
    if (!fresh)
        return false;
    emmai_os_small_pages(fresh, bytes);
    image_copy(instance, fresh, chunk, pages);
    if (emmai_os_move(fresh, bytes, emmai_chunk_start(instance, chunk)))
        return true;
    emmai_os_release(fresh, bytes);
    return false;
}

/* Charges for a copy of some of `pages` pages for a moment: of many, as each piece becomes a mapping of its own, of
 * few where there is no room for many. Returns how many; 0 where there is none. */
static size_t image_charge_piece(emma *instance, size_t pages)
{
    size_t piece = emmai_min(pages, PIECE_MOST_PAGES);
    while (!emmai_footprint_take(instance, piece)) {
        if (piece <= PIECE_LEAST_PAGES)
            return 0;
        piece /= 2;
    }
    return piece;
}

/* Makes a zone's part of the image anonymous, from its end: what is left is still mapped. False where memory is
 * refused. */
static bool image_replace(emma *instance, size_t zone, size_t *mapped)
{
    while (*mapped) {
        size_t piece = image_charge_piece(instance, *mapped);
        size_t first = emmai_round_up(*mapped - piece, EMMAI_CHUNK_PAGES);
        bool done = piece && image_replace_piece(instance, zone + first / EMMAI_CHUNK_PAGES,
                                                 *mapped - first);
        emmai_footprint_give(instance, piece);
        if (!done)
            return false;
        *mapped = first;
        instance->control->checkpoints->pieces++;
    }
    return true;
}

/* The same for both zones. */
static bool image_replace_all(emma *instance, emmai_image *image)
{
    emmai_watch_pause();
    bool done = image_replace(instance, instance->run_zone, &image->run_pages) &&
                image_replace(instance, 0, &image->low_pages);
    emmai_watch_remapped(instance);
    emmai_watch_resume();
    return done;
}

/* Makes the region anonymous again, when no level needs the image; false where memory is refused: then the rest of
 * it stays, and all of it counts. */
static bool emmai_image_dissolve(emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    emmai_image *image = &checkpoints->image;
    size_t pages = image->view_pages;
    if (!image_replace_all(instance, image))
        return false;
    if (image->view)
        emmai_os_release((void *)(uintptr_t)image->view, pages << EMMAI_PAGE_SHIFT);
    emmai_arch_zero(image, sizeof *image);
    emmai_sync_count(&checkpoints->pages, -pages);
    emmai_footprint_give(instance, pages);
    return true;
}
