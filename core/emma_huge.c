/* emma_huge.c - 2 MiB pages, where a heap or a run has grown so large that one too many does not
 * matter.
 *
 * A huge page costs as much as 30 to 90 small faults and saves 512, and later most misses of the
 * translation buffer; but where the machine's memory is in pieces, the kernel moves others' pages to
 * make one, and it costs more than it saves. So the first of each kind is timed, and when it was
 * dear, the next ones are done without. Slabs get one ahead: the whole page counts in the footprint and its chunks
 * are FREE and retained until slabs take them. The advice is withdrawn at once: the page stays, the
 * mappings merge again, and the kernel never puts in a huge page by itself, which could bring back
 * purged pages (I5). A large run counts whole in any case; it keeps the advice while it lives, so
 * that its pages come when they are touched. */
#include "emma_internal.h"

#define HUGE_BYTES  (2 * EMMAI_MIB)
#define HUGE_CHUNKS (HUGE_BYTES >> EMMA_CHUNK_SHIFT)
#define HUGE_PAGES  (HUGE_BYTES >> EMMAI_PAGE_SHIFT)

/* Whether the chunks from `chunk` on make up a huge page of which nothing is in use or retained. */
static bool huge_fits(const emma *instance, size_t chunk)
{
    size_t end = chunk + HUGE_CHUNKS;
    return (uintptr_t)emmai_chunk_start(instance, chunk) % HUGE_BYTES == 0 &&
           end <= instance->run_zone && /* By chance in tests: low chunks are in use up to there. */
           /* By chance in tests: another thread has just retained one; else those are taken first. */
           emmai_bits_find(instance->chunk_map, chunk, end, true) == end &&
           emmai_bits_find(instance->retained_map, chunk, end, true) == end;
}

/* Whether huge pages are worth a try just now; an image is of small ones. */
static bool huge_is_due(emmai_control *control)
{
    if (control->checkpoints || control->guards)
        return false;
    uint16_t pause = emmai_sync_get(&control->huge_pause);
    if (!pause)
        return true;
    emmai_sync_replace(&control->huge_pause, &pause, (uint16_t)(pause - 1));
    return false;
}

/* Takes a huge page into use by writing to it, fresh as it is; false when that was dear, and then for
 * some time, longer each time, none is due. */
static bool huge_touch(emmai_control *control, void *page)
{
    uint64_t start = emmai_os_now_us();
    emmai_watch_pause();
    *(volatile char *)page = 0;
    emmai_watch_resume();
    if (emmai_os_now_us() - start <= EMMAI_HUGE_DEAR_US) {
        emmai_sync_set(&control->huge_backoff, (uint16_t)0);
        return true;
    }
    size_t longer = 2 * (size_t)emmai_sync_get(&control->huge_backoff) + 1;
    emmai_sync_set(&control->huge_backoff, (uint16_t)emmai_min(longer, EMMAI_HUGE_PAUSE_MAX));
    emmai_sync_set(&control->huge_pause, emmai_sync_get(&control->huge_backoff));
    return false;
}

/* Keeps the kernel from using huge pages in a range. Where it cannot, as a mapping would have to be
 * split in a process that has as many as it may, the whole instance loses them: that only merges. */
static void huge_forbid(const emma *instance, void *start, size_t bytes)
{
    const emmai_control *control = instance->control;
    if (!emmai_os_small_pages(start, bytes))
        emmai_os_small_pages(control->mapping, control->mapping_bytes);
}

/* Prepares a huge page for slabs if a free chunk is the first of one and the heap is large. */
static void emmai_huge_prepare(emma *instance, size_t chunk)
{
    emmai_control *control = instance->control;
    size_t now = emmai_sync_get(&control->footprint_pages);
    size_t left = emmai_footprint_limit_pages(control) - now;
    if (now < EMMAI_HUGE_FOOTPRINT_BYTES >> EMMAI_PAGE_SHIFT || left < 2 * HUGE_PAGES ||
        !huge_fits(instance, chunk) || !huge_is_due(control) ||
        !emmai_chunk_claim_whole(instance, chunk, HUGE_CHUNKS))
        return;
    char *start = emmai_chunk_start(instance, chunk);
    emmai_os_huge_pages(start, HUGE_BYTES);
    huge_touch(control, start);
    huge_forbid(instance, start, HUGE_BYTES);
    emmai_chunk_retain(instance, chunk, HUGE_CHUNKS);
}

static char *huge_run_start(const emma *instance, const emmai_slab *run)
{
    return emmai_chunk_start(instance, (size_t)emmai_id_of_slab(instance, run));
}

/* Where the last huge page that lies within the first `bytes` of a run ends. */
static uintptr_t huge_run_end(const emma *instance, const emmai_slab *run, size_t bytes)
{
    return ((uintptr_t)huge_run_start(instance, run) + bytes) / HUGE_BYTES * HUGE_BYTES;
}

/* Lets the kernel use huge pages for a large run. */
static void huge_advise(const emma *instance, emmai_slab *run)
{
    if (run->run_bytes < EMMAI_HUGE_RUN_BYTES)
        return;
    uintptr_t start = emmai_round_up((uintptr_t)huge_run_start(instance, run), HUGE_BYTES);
    run->huge_advised = 1;
    emmai_os_huge_pages((void *)start, huge_run_end(instance, run, run->run_bytes) - start);
}

/* The same for a run that has just got its last chunks, none of which was written to yet. */
static void emmai_huge_try(const emma *instance, emmai_slab *run, size_t old_bytes)
{
    if (run->run_bytes < EMMAI_HUGE_RUN_BYTES)
        return;
    uintptr_t end = huge_run_end(instance, run, run->run_bytes);
    uintptr_t first =
        emmai_round_up((uintptr_t)huge_run_start(instance, run) + old_bytes, HUGE_BYTES);
    if (first >= end || !huge_is_due(instance->control))
        return;
    huge_advise(instance, run);
    if (!huge_touch(instance->control, (void *)(end - HUGE_BYTES)))
        emmai_huge_withdraw(instance, run);
}

/* Withdraws that, before chunks of the run become free. Noted last: should the thread stop in here, emma_reset
 * withdraws it once more. */
static void emmai_huge_withdraw(const emma *instance, emmai_slab *run)
{
    if (!run->huge_advised)
        return;
    huge_forbid(instance, huge_run_start(instance, run), emmai_run_chunks(run) << EMMA_CHUNK_SHIFT);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    run->huge_advised = 0;
}

/* Changes a run's bytes to fewer, before chunks of it become free. */
static void emmai_huge_shrink(const emma *instance, emmai_slab *run, size_t bytes)
{
    bool fewer = run->huge_advised &&
                 huge_run_end(instance, run, bytes) != huge_run_end(instance, run, run->run_bytes);
    if (fewer)
        emmai_huge_withdraw(instance, run);
    run->run_bytes = bytes;
    if (fewer)
        huge_advise(instance, run);
}
