/* emma_entry.c - what a chunk's entry, and its tag, say that it is used for. */
#include "emma_internal.h"

/* Tells threads of a shared instance what a chunk is now. Mostly it is what it was: then the cache line is
 * not written. */
static void emmai_entry_tag(const emma *instance, const emmai_slab *entry, uint16_t owner,
                            unsigned size_class)
{
    if (!instance->shared)
        return;
    emmai_tag *tag = emmai_tag_of_slab(instance, entry);
    if (emmai_sync_get(&tag->owner) == owner && emmai_sync_get(&tag->size_class) == size_class)
        return;
    emmai_sync_set(&tag->owner, owner);
    emmai_sync_set(&tag->size_class, (uint8_t)size_class);
}

/* Says that a chunk is the first of a run of `run_bytes`, or with 0 a further one. */
static void emmai_entry_begin_run(const emma *instance, emmai_slab *entry, size_t run_bytes)
{
    entry->run_bytes = run_bytes;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* at no instruction a run of no bytes */
    emmai_entry_tag(instance, entry, 0, 0);
    emmai_sync_set(&entry->kind, (uint8_t)(run_bytes ? EMMAI_RUN : EMMAI_BODY));
}

/* What a chunk was is over; its memory stays with it. First of all no run of no bytes is left, should
 * the thread stop in here. */
static void emmai_entry_clear(emmai_slab *entry)
{
    emmai_sync_set(&entry->kind, (uint8_t)EMMAI_FREE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    entry->free = NULL;
    entry->plain_frees = 0;
    entry->carved = 0;
    entry->blocks = 0;
    entry->next = entry->prev = 0;
    entry->size_class = 0;
}
