/* emma_link.h - the word by which a free block leads to the next one of its list: the block's first.
 *
 * EMMA_ENCODED_LINKS keeps it from being what it says: it is mixed with its own address and numbers that
 * only this instance knows, so that it can be neither made, nor taken from another block, nor, in
 * part, changed: what then comes out is no address of the region. Multiplication by an odd number
 * carries a change of any bit to all above it. */
#ifndef EMMA_LINK_H
#define EMMA_LINK_H

#include "emma_layout.h"
#include "emma_watch.h"

static void *emmai_link_broken(const emma *instance, const void *block);

static EMMAI_ALWAYS_INLINE uint64_t link_salt(const emma *instance, const void *block)
{
    return instance->link_salt ^ (uintptr_t)block;
}

static EMMAI_ALWAYS_INLINE void emmai_link_set(const emma *instance, void *block, void *next)
{
    emmai_watch_pause();
    if (EMMA_ENCODED_LINKS)
        *(uint64_t *)block = ((uintptr_t)next ^ link_salt(instance, block)) * instance->link_factor;
    else
        *(void **)block = next;
    emmai_watch_resume();
}

/* Of a list that another thread may be changing, or that is to be verified: anything may come out. */
static EMMAI_ALWAYS_INLINE void *emmai_link_peek(const emma *instance, const void *block)
{
    emmai_watch_pause();
    uint64_t link = EMMA_ENCODED_LINKS ? *(const uint64_t *)block * instance->link_inverse : 0;
    void *next = EMMA_ENCODED_LINKS ? (void *)(uintptr_t)(link ^ link_salt(instance, block))
                                    : *(void *const *)block;
    emmai_watch_resume();
    return next;
}

/* Whether what a link leads to can be a block, or is none. */
static EMMAI_ALWAYS_INLINE bool emmai_link_is_sound(const emma *instance, const void *next)
{
    return !next || emmai_offset(instance, next) < instance->region_bytes;
}

/* The next block; NULL: none, or, reported as misuse, the link was written to: the list ends there. */
static EMMAI_ALWAYS_INLINE void *emmai_link_get(const emma *instance, const void *block)
{
    void *next = emmai_link_peek(instance, block);
    if (EMMA_ENCODED_LINKS && EMMAI_UNLIKELY(!emmai_link_is_sound(instance, next)))
        return emmai_link_broken(instance, block);
    return next;
}

#endif
