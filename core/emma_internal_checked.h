/* emma_internal_checked.h - what the files of checks and hardening offer each other and the core. */
#ifndef EMMA_INTERNAL_CHECKED_H
#define EMMA_INTERNAL_CHECKED_H

#include "emma_label.h"
#include "emma_layout.h"

/* ---- emma_canary.c ---- */

/* So many spare bytes of a block or fewer are verified at once. */
#define EMMAI_CANARY_FEW sizeof(emmai_vector)

static inline void emmai_canary_put(const emma *instance, void *block, size_t bytes, size_t end);
static void emmai_canary_take(void *block, size_t bytes, size_t usable);
static bool emmai_canary_intact(const emma *instance, const void *block, size_t bytes, size_t end);
static inline void emmai_canary_put_fresh(const emma *instance, void *block, size_t bytes,
                                          size_t usable);
static inline bool emmai_canary_few_intact(const emma *instance, const void *block, size_t bytes,
                                           size_t usable);
static inline bool emmai_canary_before(const emma *instance, const void *block, bool is_first);

/* ---- emma_checked.c ---- */

/* What the caller says of a block that comes back. */
typedef struct emmai_claim {
    size_t bytes; /* if `sized`, and the block is of this label */
    bool sized;
    bool resizes;               /* by realloc */
    uint16_t label, label_mask; /* so much of it has to be right */
} emmai_claim;

/* What was asked for of a block that the caller has, by its mark, and what it has. */
typedef struct emmai_asked {
    unsigned mark, label;
    size_t bytes, usable;
} emmai_asked;

/* Whether blocks have labels. Not where a tool watches: there each has EMMAI_RED_BYTES to spare, and a mark has to
 * tell them all, as what programs do to those is reported and goes on. */
#define EMMAI_LABELS (!EMMAI_WATCHED)

/* What a block with an alignment has at least, and is at a multiple of. */
#define EMMAI_PAIR_BYTES ((size_t)32)

static inline size_t emmai_checked_bytes(size_t bytes);
static void *emmai_checked_out_as(const emma *instance, void *block, size_t bytes, unsigned label);
static inline void *emmai_checked_out(const emma *instance, void *block, size_t bytes);
static inline void *emmai_checked_out_fresh(const emma *instance, void *block, size_t bytes,
                                            size_t size_class);
EMMAI_FOR_LIBRARIES void emmai_checked_label(const emma *instance, const void *block,
                                             unsigned family);
static void emmai_checked_zero(void *block, size_t bytes);
static bool emmai_checked_in(const emma *instance, const void *block, const emmai_claim *claim,
                             emmai_asked *asked);
static bool emmai_checked_look(const emma *instance, const void *block, const emmai_claim *claim,
                               emmai_asked *asked);
static inline bool emmai_checked_in_fast(const emma *instance, const void *block, size_t bytes,
                                         size_t *usable);
static size_t emmai_checked_usable(const emma *instance, const void *block);
static bool emmai_checked_is_live(const emma *instance, const void *block, size_t usable,
                                  size_t *bytes);
static bool emmai_checked_is_sound(const emma *instance, const char *start, size_t count,
                                   size_t block_bytes, const uint64_t *marks);
static void emmai_checked_forget(const emma *instance, const char *start, size_t bytes);

/* ---- emma_hardened.c ---- */

static void emmai_hardened_begin(emma *instance);
static void *emmai_hardened_misled(const emma *instance, const void *block);
static bool emmai_hardened_is_wiped(const void *block, size_t bytes);
static inline bool emmai_hardened_is_sound(const emma *instance, const void *block,
                                           size_t size_class, void **next);
static inline void emmai_hardened_unlink(void *block);
static inline void *emmai_hardened_fresh(const emma *instance, void *block, unsigned size_class);
static inline void emmai_hardened_wipe(void *block, size_t usable);
static inline void emmai_hardened_copy(void *target, const void *block, size_t bytes);
static inline size_t emmai_hardened_random(emmai_heap *heap, size_t bound);
static void *emmai_hardened_shuffle(const emma *instance, emmai_heap *heap, char *start,
                                    size_t count, size_t block_bytes);

/* ---- emma_guard.c ---- */

static void emmai_guard_begin(emma *instance);
static bool emmai_guard_lift(const emma *instance, size_t chunk, size_t first_page, size_t pages);
static bool emmai_guard_purge(const emma *instance, void *start, size_t bytes);
static void emmai_guard_chunk(const emma *instance, size_t chunk, size_t first_page);
static bool emmai_guard_exists(const emma *instance);

/* ---- emma_delay.c ---- */

static inline void *emmai_delay(emma *instance, emmai_heap *heap, void *block, bool keeps);
static inline bool emmai_delay_keeps(const emma *instance, const void *block);
static bool emmai_delay_flush(emma *instance, emmai_heap *heap);
static bool emmai_delay_retry(emma *instance, emmai_heap *heap, size_t bytes);
static size_t emmai_delay_count(const emma *instance, const emmai_slab *slab);
static bool emmai_delay_check(const emma *instance);

/* ---- emma_watch.c ---- */

/* The blocks of before a rollback, by rising addresses. */
typedef struct emmai_watched_block {
    void *block;
    size_t bytes;
    bool stays; /* the same after it */
} emmai_watched_block;

typedef struct emmai_watched {
    emmai_watched_block *blocks;
    size_t count;
    size_t next; /* to be compared */
    size_t mapping_bytes;
} emmai_watched;

static void emmai_watch_begin(const emma *instance);
static void emmai_watch_claimed(const emma *instance, size_t chunk, size_t count);
static void emmai_watch_remapped(const emma *instance);
static void emmai_watch_reset(const emma *instance);
static void emmai_watch_end(const emma *instance);
static size_t emmai_watch_live(const emma *instance, const emmai_slab *slab);
static void emmai_watch_note(const emma *instance, emmai_watched *noted);
static void emmai_watch_rolled_back(const emma *instance, emmai_watched *noted);

#endif
