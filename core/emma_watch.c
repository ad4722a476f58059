/* emma_watch.c - EMMA_VALGRIND and EMMA_ASAN: of which memory the tools are told what.
 *
 * All of the region that was ever in use is hidden, but page 0, the heaps of a shared instance, and
 * the bytes that the caller asked for of each block that has a mark (I9). Marks are put and taken
 * at the library's boundary, and the tools are told there (emma_checked.c), where the block is in
 * no list. Here is what is not about one block: fresh chunks, and what becomes of all blocks at
 * once. A block has EMMAI_RED_BYTES that nobody asked for, so there is something hidden behind
 * each, and before. */
#include "emma_internal.h"

/* So many bytes before a block are hidden, by Valgrind as well: no chunk has anything of use so
 * near its end. */
_Static_assert(sizeof(emmai_thread_heap) <= EMMAI_CHUNK_BYTES - EMMAI_RED_BYTES,
               "what comes before the first block of a chunk is nobody's");

typedef void (*watch_visit)(void *arg, void *block, size_t bytes);

static void watched_count(void *arg, void *block, size_t bytes)
{
    (void)block, (void)bytes;
    ++*(size_t *)arg;
}

/* Calls `visit` for each block of a slab that the caller has. Only marks are looked at, whatever
 * the lists are like. */
static void watch_slab(const emma *instance, const emmai_slab *slab, watch_visit visit, void *arg)
{
    char *start = emmai_slab_address(instance, slab);
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    size_t bytes;
    for (size_t i = 0; i < slab->carved; i++)
        if (emmai_checked_is_live(instance, start + i * block_bytes, block_bytes, &bytes))
            visit(arg, start + i * block_bytes, bytes);
}

/* Calls `visit` for each block that the caller has, by rising addresses. */
static void watch_blocks(const emma *instance, watch_visit visit, void *arg)
{
    size_t bytes;
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS); /* no slab is young */
    while (chunk < instance->chunk_count) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        char *start = emmai_chunk_start(instance, chunk);
        size_t count = 1;
        if (entry->kind == EMMAI_RUN) {
            count = emmai_run_chunks(entry);
            /* Never in tests: a handler interrupts who frees it. */
            if (emmai_checked_is_live(instance, start, entry->run_bytes, &bytes))
                visit(arg, start, bytes);
        } else if (entry->size_class) {
            watch_slab(instance, entry, visit, arg);
        }
        chunk = emmai_place_next_used(instance, chunk + count);
    }
}

/* Blocks of a slab that the caller has. */
static size_t emmai_watch_live(const emma *instance, const emmai_slab *slab)
{
    size_t count = 0;
    watch_slab(instance, slab, watched_count, &count);
    return count;
}

static void watched_take(void *arg, void *block, size_t bytes)
{
    (void)arg;
    emmai_watch_take(block, bytes);
}

static void watched_define(void *arg, void *block, size_t bytes)
{
    (void)arg;
    emmai_watch_define(block, bytes);
}

/* ---- chunks ---- */

static void emmai_watch_begin(const emma *instance)
{
    if (!EMMAI_WATCHED)
        return;
    emmai_watch_hide(emmai_origin(instance) + EMMAI_PAGE_BYTES,
                     EMMAI_YOUNG_BYTES - EMMAI_PAGE_BYTES);
    emmai_watch_add_root(instance->control->mapping, instance->control->mapping_bytes);
}

/* Hides chunks that were just claimed, and what comes before the first block in them. */
static void emmai_watch_claimed(const emma *instance, size_t chunk, size_t count)
{
    emmai_watch_hide(emmai_chunk_start(instance, chunk) - EMMAI_RED_BYTES,
                     (count << EMMA_CHUNK_SHIFT) + EMMAI_RED_BYTES);
}

/* Calls `visit` for each chunk that may have been in use, and the one before the zone of runs. */
static void watch_chunks(const emma *instance, void (*visit)(const emma *instance, size_t chunk))
{
    for (size_t chunk = 0; chunk < instance->low_end; chunk++)
        visit(instance, chunk);
    for (size_t chunk = instance->run_zone - 1; chunk < instance->run_end; chunk++)
        visit(instance, chunk);
}

static void chunk_hide(const emma *instance, size_t chunk)
{
    size_t skipped = chunk ? 0 : EMMAI_PAGE_BYTES;
    emmai_watch_hide(emmai_chunk_start(instance, chunk) + skipped, EMMAI_CHUNK_BYTES - skipped);
}

static void chunk_forget(const emma *instance, size_t chunk)
{
    emmai_watch_forget(emmai_chunk_start(instance, chunk), EMMAI_CHUNK_BYTES);
}

/* Says all of it again after other memory, with the same contents, came in the place of the
 * region's. What blocks have is initialised from then on. */
static void emmai_watch_remapped(const emma *instance)
{
    if (!EMMA_VALGRIND)
        return;
    watch_chunks(instance, chunk_hide);
    watch_blocks(instance, watched_define, NULL);
}

/* ---- all blocks at once ---- */

/* All blocks that the caller has are about to go. */
static void emmai_watch_reset(const emma *instance)
{
    if (EMMAI_WATCHED)
        watch_blocks(instance, watched_take, NULL);
}

static void emmai_watch_end(const emma *instance)
{
    if (!EMMAI_WATCHED)
        return;
    emmai_watch_reset(instance);
    emmai_watch_remove_root(instance->control->mapping, instance->control->mapping_bytes);
    if (EMMA_ASAN)
        watch_chunks(instance, chunk_forget);
}

/* ---- rollback: some blocks go, some come, and some stay ---- */

static void watched_note(void *arg, void *block, size_t bytes)
{
    emmai_watched *noted = arg;
    noted->blocks[noted->count++] = (emmai_watched_block){ block, bytes, false };
}

/* Notes which blocks there are, in memory that emmai_watch_rolled_back gives back; where there is
 * none, none stays. */
static void emmai_watch_note(const emma *instance, emmai_watched *noted)
{
    size_t count = 0;
    noted->count = 0;
    watch_blocks(instance, watched_count, &count);
    noted->mapping_bytes = emmai_round_up(count * sizeof *noted->blocks, EMMAI_PAGE_BYTES);
    noted->blocks = count ? emmai_os_memory(noted->mapping_bytes) : NULL;
    if (noted->blocks)
        watch_blocks(instance, watched_note, noted);
    else
        emmai_watch_reset(instance);
}

/* The noted block that this is; NULL: none. Asked for by rising addresses. */
static emmai_watched_block *watched_find(emmai_watched *noted, const void *block, size_t bytes)
{
    while (noted->next < noted->count && noted->blocks[noted->next].block < block)
        noted->next++;
    if (noted->next == noted->count)
        return NULL;
    emmai_watched_block *found = &noted->blocks[noted->next];
    return found->block == block && found->bytes == bytes ? found : NULL;
}

static void watched_keep(void *arg, void *block, size_t bytes)
{
    emmai_watched_block *found = watched_find(arg, block, bytes);
    if (found)
        found->stays = true;
}

static void watched_come(void *arg, void *block, size_t bytes)
{
    if (!watched_find(arg, block, bytes))
        emmai_watch_give(block, bytes);
    emmai_watch_define(block, bytes);
}

/* First those go that are no more, as others may lie across their places. */
static void emmai_watch_rolled_back(const emma *instance, emmai_watched *noted)
{
    noted->next = 0;
    watch_blocks(instance, watched_keep, noted);
    for (size_t i = 0; i < noted->count; i++)
        if (!noted->blocks[i].stays)
            emmai_watch_take(noted->blocks[i].block, noted->blocks[i].bytes);
    noted->next = 0;
    watch_blocks(instance, watched_come, noted);
    if (noted->blocks)
        emmai_os_release(noted->blocks, noted->mapping_bytes);
}
