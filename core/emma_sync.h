/* emma_sync.h - words that several threads share.
 *
 * What a shared instance's threads have in common is counters, bounds and sets of bits: each is one
 * word, changed by one atomic operation, so that a thread that is stopped anywhere leaves nothing
 * locked and nothing torn. Counters and bounds order nothing (relaxed); what hands memory from one
 * thread to another says so (acquire, release). A local instance runs the same code: chunks are
 * taken so rarely that it does not show. */
#ifndef EMMA_SYNC_H
#define EMMA_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define emmai_sync_get(word)        __atomic_load_n((word), __ATOMIC_RELAXED)
#define emmai_sync_set(word, value) __atomic_store_n((word), (value), __ATOMIC_RELAXED)
#define emmai_sync_add(word, value) ((void)__atomic_fetch_add((word), (value), __ATOMIC_RELAXED))
#define emmai_sync_sub(word, value) ((void)__atomic_fetch_sub((word), (value), __ATOMIC_RELAXED))

/* For a word that one thread changes while others may look at it: no locked operation. */
#define emmai_sync_count(word, value) emmai_sync_set((word), emmai_sync_get(word) + (value))

/* Puts `value` in the place of *expected; false, with *expected updated, when another came first. */
#define emmai_sync_replace(word, expected, value)                                    \
    __atomic_compare_exchange_n((word), (expected), (value), true, __ATOMIC_ACQ_REL, \
                                __ATOMIC_ACQUIRE)

/* Raises a bound to at least `value`. */
static inline void emmai_sync_raise(uint32_t *word, size_t value)
{
    uint32_t now = emmai_sync_get(word);
    /* By chance in tests: another thread changed it. */
    while (now < value && !emmai_sync_replace(word, &now, (uint32_t)value))
        continue;
}

/* Lowers a bound to at most `value`. */
static inline void emmai_sync_lower(uint32_t *word, size_t value)
{
    uint32_t now = emmai_sync_get(word);
    /* By chance in tests: another thread changed it. */
    while (now > value && !emmai_sync_replace(word, &now, (uint32_t)value))
        continue;
}

/* The same for sizes. */
static inline void emmai_sync_raise_size(size_t *word, size_t value)
{
    size_t now = emmai_sync_get(word);
    /* By chance in tests: another thread changed it. */
    while (now < value && !emmai_sync_replace(word, &now, value))
        continue;
}

static inline void emmai_sync_lower_size(size_t *word, size_t value)
{
    size_t now = emmai_sync_get(word);
    /* By chance in tests: another thread changed it. */
    while (now > value && !emmai_sync_replace(word, &now, value))
        continue;
}

#endif
