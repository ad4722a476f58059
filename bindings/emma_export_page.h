/* emma_export_page.h - the page that emma_export.c keeps: how it is laid out,
 * and the file that it is in.
 *
 * What readers expect (bindings/python/emma/_top_page.py) is fixed here;
 * EXPORT_VERSION changes with it. */
#ifndef EMMA_EXPORT_PAGE_H
#define EMMA_EXPORT_PAGE_H

#include "emma_export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- what others read ---- */

#define EXPORT_FILE    "emma-export"
#define EXPORT_MAGIC   "emma-top"
#define EXPORT_VERSION 1

#define EXPORT_NAME_BYTES (EMMA_NAME_MAX_BYTES + 1)
#define EXPORT_KIND_BYTES 16

/* A figure that is not known. */
#define EXPORT_UNKNOWN UINT64_MAX

enum {
    EXPORT_FIGURE_LIMIT,
    EXPORT_FIGURE_SOFT_LIMIT,
    EXPORT_FIGURE_SPARE,
    EXPORT_FIGURE_RESERVE,
    EXPORT_FIGURE_FOOTPRINT,
    EXPORT_FIGURE_PEAK,
    EXPORT_FIGURE_METADATA,
    EXPORT_FIGURE_RETAINED,
    EXPORT_FIGURE_CHECKPOINT,
    EXPORT_FIGURE_MOVED,
    EXPORT_FIGURE_RETURNED,
    EXPORT_FIGURE_REFUSED,
    EXPORT_FIGURE_REENTERED,
    EXPORT_FIGURE_LIVE_BYTES,
    EXPORT_FIGURE_LIVE_BLOCKS,
    EXPORT_FIGURE_COUNT
};

typedef struct export_slot {
    uint32_t sequence; /* odd while the rest is being written */
    uint32_t unused;
    uint64_t number; /* of the instance, from 1 on, never used again; 0: the slot is free */
    char name[EXPORT_NAME_BYTES];
    char kind[EXPORT_KIND_BYTES];
    uint64_t figures[EXPORT_FIGURE_COUNT];
    uint64_t more; /* for later versions */
} export_slot;

typedef struct export_page {
    char magic[8]; /* written last: the rest is there */
    uint32_t version;
    uint32_t header_bytes; /* where the slots begin */
    uint32_t slot_bytes;
    uint32_t slot_count;
    uint32_t process_id;
    uint32_t interval_ms;
    uint64_t start_ns; /* when the export began, on the clock of the day */
    uint64_t fresh_ns; /* when the figures were written last, on the monotonic clock */
    uint32_t closed;   /* 1: another page has taken this one's place, or none */
    uint32_t unshown;  /* instances that there was no room for */
    char emma_version[16];
    char more[120];
    export_slot slots[];
} export_page;

_Static_assert(sizeof(export_slot) == 192 && sizeof(export_page) == 192, "as readers expect");
_Static_assert(sizeof EXPORT_MAGIC - 1 == 8, "a word");

static size_t export_page_bytes(size_t slot_count)
{
    return sizeof(export_page) + slot_count * sizeof(export_slot);
}

static void export_slot_set_figures(export_slot *slot, const emma_stats *stats, uint64_t live_bytes,
                                    uint64_t live_blocks)
{
    const uint64_t figures[EXPORT_FIGURE_COUNT] = {
        [EXPORT_FIGURE_LIMIT] = stats->limit_bytes,
        [EXPORT_FIGURE_SOFT_LIMIT] = stats->soft_limit_bytes,
        [EXPORT_FIGURE_SPARE] = stats->spare_bytes,
        [EXPORT_FIGURE_RESERVE] = stats->reserve_bytes,
        [EXPORT_FIGURE_FOOTPRINT] = stats->footprint_bytes,
        [EXPORT_FIGURE_PEAK] = stats->peak_footprint_bytes,
        [EXPORT_FIGURE_METADATA] = stats->metadata_bytes,
        [EXPORT_FIGURE_RETAINED] = stats->retained_bytes,
        [EXPORT_FIGURE_CHECKPOINT] = stats->checkpoint_bytes,
        [EXPORT_FIGURE_MOVED] = stats->moved_bytes,
        [EXPORT_FIGURE_RETURNED] = stats->returned_bytes,
        [EXPORT_FIGURE_REFUSED] = stats->refused_count,
        [EXPORT_FIGURE_REENTERED] = stats->reentered_count,
        [EXPORT_FIGURE_LIVE_BYTES] = live_bytes,
        [EXPORT_FIGURE_LIVE_BLOCKS] = live_blocks,
    };
    for (size_t i = 0; i < EXPORT_FIGURE_COUNT; i++)
        __atomic_store_n(&slot->figures[i], figures[i], __ATOMIC_RELAXED);
}

/* How often the figures are written. */
#define EXPORT_INTERVAL_MS 250
#define EXPORT_NS_PER_MS   ((uint64_t)1000000)
#define EXPORT_NS_PER_S    ((uint64_t)1000000000)

static uint64_t export_now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * EXPORT_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Writes the head of a page whose slots are written; from then on it is one. */
static void export_page_publish(export_page *page, size_t slot_count, uint64_t start_ns,
                                uint32_t unshown)
{
    page->version = EXPORT_VERSION;
    page->header_bytes = sizeof *page;
    page->slot_bytes = sizeof page->slots[0];
    page->slot_count = (uint32_t)slot_count;
    page->process_id = (uint32_t)getpid();
    page->interval_ms = EXPORT_INTERVAL_MS;
    page->start_ns = start_ns;
    page->fresh_ns = export_now_ns(CLOCK_MONOTONIC);
    page->unshown = unshown;
    strncpy(page->emma_version, emma_version(), sizeof page->emma_version - 1);
    uint64_t magic;
    memcpy(&magic, EXPORT_MAGIC, sizeof magic);
    __atomic_store_n((uint64_t *)(void *)page->magic, magic, __ATOMIC_RELEASE);
}

/* ---- the file ---- */

/* From here on descriptors are looked for, so that those that programs count from 0 are left
 * alone. */
#define EXPORT_DESCRIPTOR 256

/* Moves a descriptor out of the way of those that programs count on, if there is room. */
static int export_file_aside(int file)
{
    const int aside = fcntl(file, F_DUPFD_CLOEXEC, EXPORT_DESCRIPTOR);
    if (aside < 0)
        return file;
    close(file);
    return aside;
}

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8u
#endif
#ifndef F_SEAL_FUTURE_WRITE /* Linux 5.1 */
#define F_SEAL_FUTURE_WRITE 16
#endif

static int export_file_create(size_t bytes)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int file = memfd_create(EXPORT_FILE, flags | MFD_NOEXEC_SEAL);
    if (file < 0 && errno == EINVAL)
        file = memfd_create(EXPORT_FILE, flags);
    if (file < 0)
        return file;
    struct rlimit size; /* beyond it ftruncate would send a signal */
    const bool fits = getrlimit(RLIMIT_FSIZE, &size) != 0 || bytes <= size.rlim_cur;
    if (fits && ftruncate(file, (off_t)bytes) == 0)
        return export_file_aside(file);
    const int error = fits ? errno : EFBIG;
    close(file);
    errno = error;
    return -1;
}

/* NULL: errno tells why. */
static export_page *export_page_create(size_t slot_count, int *file)
{
    const size_t bytes = export_page_bytes(slot_count);
    *file = export_file_create(bytes);
    if (*file < 0)
        return NULL;
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
    if (page == MAP_FAILED) {
        const int error = errno;
        close(*file);
        errno = error;
        return NULL;
    }
    fcntl(*file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    fcntl(*file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    return page;
}

#endif
