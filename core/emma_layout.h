/* emma_layout.h - the structures of an instance, their invariants, and where things lie.
 *
 *   page_map        origin                                     origin + region_bytes
 *   | maps | entries ... 2 1 0 | struct emma | chunk 0 ... | chunk 1 | ... | zone of runs ...
 *                     \________ page 0 _________/
 *
 * Page 0 is the first page of chunk 0. The first chunks are the young area. The entry of chunk i is
 * the i-th slab *before* struct emma, so that a young instance touches page 0 and the blocks behind
 * it and nothing else, whatever its region could grow to.
 *
 * Invariants (emma_check verifies them):
 * I1  A slab's `plain_frees` is the number of its blocks that are out, less one, while its kind is
 *     SLAB, and 0 for every other kind: so the decrement in a free makes it negative exactly when
 *     more than a free list must change. Out are the blocks handed out, those in bins, and those that
 *     other threads freed and the owner has not taken back.
 * I2  A SLAB is in the ring of its class, and only there; heads[class] is its head. A FULL slab is
 *     in no ring, has an empty free list and no uncarved block left.
 * I3  blocks out + length of the free list = blocks carved; every free block lies on a block
 *     boundary and was carved.
 * I4  The chunk map has a bit set for just the chunks whose kind is not FREE (the young area has
 *     none: it is never looked for), the retained map for just the FREE ones with resident pages.
 * I5  footprint = the pages of metadata + `resident` of every chunk; retained = `resident` of the
 *     FREE ones. No page outside these was ever touched, so resident memory is at most the
 *     footprint.
 * I6  footprint <= limit, as of the last change of either. Of a shared instance not while a thread lowers the limit,
 *     nor after it stopped in that.
 * I7  Chunks below low_committed, and from run_zone to run_committed, are accessible; no other
 *     chunk is.
 * I8  In a shared instance a slab's tag bears its heap's number and its class, other chunks' bear none; but
 *     that of a chunk that a heap holds is what is left from before.
 * I9  With EMMA_CHECKS the block map has marks only where blocks start that are out.
 * I10 With EMMA_GUARD_PAGES, where the kernel has guards, each page that does not count, of a chunk that is in use
 *     or was, is one; of a shared instance's slabs only those that never counted. */
#ifndef EMMA_LAYOUT_H
#define EMMA_LAYOUT_H

#include "emma_arch_x86_64.h"
#include "emma_config.h"
#include "emma_layout_checkpoint.h"
#include "emma_sync.h"

#define EMMAI_NOINLINE            __attribute__((noinline))
#define EMMAI_ALWAYS_INLINE       inline __attribute__((always_inline))
#define EMMAI_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define EMMAI_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
/* A function that adds up what other threads may be changing; what it finds need not fit together. */
#define EMMAI_LOOKS_AT_OTHERS __attribute__((no_sanitize("thread")))
#define EMMAI_ASSERT(condition)         \
    do {                                \
        if (EMMA_AUDIT && !(condition)) \
            __builtin_trap();           \
    } while (0)

/* ---- size classes: steps of 8 bytes to 128, then 4 per doubling ---- */

#define EMMAI_CLASS_STEP_BYTES ((size_t)8)
#define EMMAI_LINEAR_SHIFT     7 /* classes are linear up to 1 << 7 = 128 bytes */
#define EMMAI_LINEAR_CLASSES   16
#define EMMAI_STEPS_SHIFT      2 /* 1 << 2 = 4 classes per doubling above */
/* Blocks above go to runs: a slab of one chunk holds at least two blocks; where runs have guards of their own, six. */
#define EMMAI_SLAB_BYTES     (EMMAI_CHUNK_BYTES - EMMAI_GUARD_BYTES)
#define EMMAI_SLAB_MAX_SHIFT (EMMA_CHUNK_SHIFT - 1 - 2 * EMMA_GUARD_PAGES)
#define EMMAI_SLAB_MAX_BYTES ((size_t)1 << EMMAI_SLAB_MAX_SHIFT)
/* Classes are numbered from 1: 0 is what the entry of a chunk that is no slab has. */
#define EMMAI_CLASS_COUNT \
    (1 + EMMAI_LINEAR_CLASSES + ((EMMAI_SLAB_MAX_SHIFT - EMMAI_LINEAR_SHIFT) << EMMAI_STEPS_SHIFT))
/* Up to here the class is looked up in a table by size; above it is computed. */
#define EMMAI_SMALL_MAX_BYTES ((size_t)1024)
#define EMMAI_SMALL_STEPS     (EMMAI_SMALL_MAX_BYTES / EMMAI_CLASS_STEP_BYTES)

/* ---- slabs, runs and chunks ---- */

/* Debuggers' commands know these numbers: bindings/gdb. */
enum emmai_kind {
    EMMAI_FREE,  /* chunk that belongs to nobody; all zero but for `resident` */
    EMMAI_SLAB,  /* has a free or an uncarved block, or is the head of its ring */
    EMMAI_FULL,  /* slab with neither */
    EMMAI_RUN,   /* first chunk of a large block */
    EMMAI_BODY,  /* further chunk of a large block */
    EMMAI_YOUNG, /* chunk of the young area: page 0 and the young slabs */
    EMMAI_HEAP   /* chunk of a shared instance that holds a heap, or is held by one */
};

/* EMMA_CHECKS: the block map has a byte for so many bytes of the region, as a shift. */
#define EMMAI_MARK_SHIFT 4

/* EMMA_DELAYED_REUSE: blocks that a heap keeps; where a tool watches, what it knows of a list. */
#define EMMAI_DELAYED_COUNT (!EMMA_DELAYED_REUSE ? 1 : EMMAI_WATCHED ? 3 : 32)

/* A slab, or what else a chunk is used for. */
typedef struct emmai_slab {
    union {
        void *free; /* SLAB: last freed block, linked through the blocks' first words; NULL: none */
        size_t run_bytes; /* RUN: bytes of the block, a multiple of 8 */
    };
    int32_t plain_frees; /* I1: frees to come that are a push and nothing more */
    union {
        uint16_t carved;       /* SLAB, FULL: blocks from its start on that were ever on a list */
        uint16_t huge_advised; /* RUN: 1 while the kernel may use huge pages for it */
    };
    uint16_t blocks; /* SLAB, FULL: that fit into it: all are carved when `carved` is as many */
    int32_t next;    /* SLAB: neighbours in the ring of its class, as slab ids */
    int32_t prev;
    uint8_t kind;        /* enum emmai_kind */
    uint8_t size_class;  /* SLAB, FULL; other kinds: 0 */
    uint16_t resident;   /* chunks: pages from the chunk's start that count in the footprint */
    uint16_t first_unit; /* young slabs: where they start in the young area, in units */
    uint16_t unit_count; /* young slabs: their length */
} emmai_slab;

/* plain_frees of a SLAB that has no block out. */
#define EMMAI_NO_BLOCK_OUT (-1)

/* Bytes from entry to entry, as a shift. In a shared instance a cache line each: its owner writes it at
 * every free. */
#define EMMAI_ENTRY_SHIFT(shared) ((shared) ? 6 : 5)

_Static_assert(sizeof(emmai_slab) == 1 << EMMAI_ENTRY_SHIFT(false), "young slabs are an array");

/* The young area: the region's first chunks, for young slabs, which are of a few units, so that an
 * instance with a few blocks of many classes stays small. */
#define EMMAI_YOUNG_BYTES     ((size_t)64 * EMMAI_KIB)
#define EMMAI_YOUNG_CHUNKS    (EMMAI_YOUNG_BYTES >> EMMA_CHUNK_SHIFT)
#define EMMAI_UNIT_SHIFT      7
#define EMMAI_UNIT_BYTES      ((size_t)1 << EMMAI_UNIT_SHIFT)
#define EMMAI_UNIT_COUNT      (EMMAI_YOUNG_BYTES >> EMMAI_UNIT_SHIFT)
#define EMMAI_YOUNG_SLABS     (EMMA_DELAYED_REUSE ? 52 : 62) /* page 0 holds so many */
#define EMMAI_YOUNG_MAX_BYTES ((size_t)2048)

_Static_assert(EMMAI_YOUNG_SLABS < 256, "unit_slab holds numbers of young slabs in a byte");

/* What every free in a shared instance asks about a chunk. Apart from the entry, whose cache line the
 * owner of the slab writes all the time: this one changes when the chunk changes hands, or class. */
typedef struct emmai_tag {
    uint16_t owner;     /* number of the heap that it belongs to */
    uint8_t size_class; /* the slab's */
} emmai_tag;

_Static_assert(sizeof(emmai_tag) == 4, "16 tags in a cache line");

/* ---- an instance ---- */

/* Bytes above which an allocation leaves the fast path; 0 while a call is inside the heap, so that
 * the comparison by which every allocation begins also refuses re-entry from a signal handler.
 * Written by the thread that uses the instance, with plain stores: a handler on that thread sees
 * either value whole. */
#define EMMAI_GATE_OPEN EMMAI_SMALL_MAX_BYTES

/* EMMAI_CLASS_COUNT, rounded up so that the array is of whole words. */
#define EMMAI_SLAB_COUNTS ((EMMAI_CLASS_COUNT + 3) / 4 * 4)

/* A set of slabs that one thread at a time allocates from. */
typedef struct emmai_heap {
    size_t gate;                          /* EMMAI_GATE_OPEN, or 0: a call is inside */
    void *bins[EMMAI_CLASS_COUNT];        /* free blocks of each class, of its head */
    emmai_slab *heads[EMMAI_CLASS_COUNT]; /* head of each class's ring; emmai_no_slab: empty */
    uint8_t
        class_map[EMMAI_SMALL_STEPS]; /* (size - 1) / 8 -> class, for this instance's alignment */
    /* Chunk slabs of each class, saturating: how much to populate. */
    uint16_t slab_count[EMMAI_SLAB_COUNTS];
    uint16_t number;                    /* its slabs bear it */
    uint64_t random;                    /* what emmai_hardened_random drew last; never 0 */
    void *delayed[EMMAI_DELAYED_COUNT]; /* see emma_delay.c; NULL: none */
} emmai_heap;

_Static_assert(sizeof(uint16_t) * EMMAI_SLAB_COUNTS % 8 == 0, "cleared by words");

enum emmai_answer { EMMAI_UNKNOWN, EMMAI_NO, EMMAI_YES };

/* Options, limits, extents and lifetime counters: what is about the heap rather than in it. */
typedef struct emmai_control {
    size_t limit_pages;
    size_t spare_pages;
    size_t soft_pages; /* SIZE_MAX: none */
    size_t footprint_pages;
    size_t peak_pages;
    size_t metadata_pages;
    size_t retained_pages;     /* of FREE chunks */
    size_t retained_low_pages; /* the least of retained_pages since decay_start_ms */
    uint64_t decay_start_ms;   /* of the decay period */
    int64_t decay_ms;          /* its length */
    uint32_t releases;         /* since the clock was read: see chunk_decay */
    uint32_t low_committed;    /* I7, chunks */
    uint32_t run_committed;    /* I7, chunk index */
    uint32_t low_covered; /* chunks below, and from run_zone to run_covered, have metadata that */
    uint32_t run_covered; /* counts; so may others */
    uint8_t overcommits;  /* enum emmai_answer: see place_may_spread */
    bool spare_open;
    bool resetting;   /* by emma_reset, or a checkpoint at work: handlers' frees do nothing */
    bool in_callback; /* the host's code runs inside a call; see emmai_callback_begin */
    bool outside;     /* what looks at a block now has not entered; see emmai_outside_begin */
    bool over_soft;
    bool guards;           /* I10 */
    uint16_t huge_pause;   /* huge pages to do without */
    uint16_t huge_backoff; /* how many that were when it began */
    uint64_t moved_bytes;
    uint64_t returned_bytes;
    uint64_t refused_count;
    uint64_t reentered_count; /* written by signal handlers too */
    uint64_t canary;          /* EMMA_CANARIES: what is behind blocks, by place modulo 8 */
    size_t heap_count;        /* shared: numbers of heaps handed out; any thread, atomic */
    size_t heaps_detached;    /* shared: at most so many have no owner; any thread, atomic */
    size_t adopt_cursor;      /* shared: number of the heap asked about last; any thread, atomic */
    size_t decay_cursor;      /* shared: the same for the decay; any thread, atomic */
    uint64_t decaying;        /* shared: the thread in emmai_adopt_decay; 0: none. Any, atomic */
    uint32_t generation;      /* shared: the last one; any thread, atomic */
    uint32_t process_id;      /* shared: of that generation; any thread, atomic */
    uint32_t births;          /* shared: of threads that came here first; any thread, atomic */
    uint32_t alone;           /* shared: see emmai_shared_mark_alone; any thread, atomic */
    emma_misuse_fn misuse_handler;
    void *misuse_arg;
    emma_limit_fn limit_handler;
    void *limit_arg;
    uint64_t audit_steps;           /* EMMA_AUDIT: changes of the region's structure so far */
    emmai_checkpoints *checkpoints; /* NULL: made without EMMA_CHECKPOINTS */
    void *mapping;                  /* what munmap takes */
    size_t mapping_bytes;
    char name[EMMA_NAME_MAX_BYTES + 1];
} emmai_control;

struct emma {
    emmai_slab young[EMMAI_YOUNG_SLABS]; /* must be first: young slab j has id -1 - j */
    emmai_heap heap;
    /* Written when the instance is made: in a shared one, threads read these cache lines all the time. */
    size_t region_bytes;
    size_t foreign_max;     /* ~region_bytes: see emmai_beyond */
    uint64_t *chunk_map;    /* I4; see emma_bits.c */
    uint64_t *retained_map; /* I4 */
    uint64_t *page_map;     /* pages from here to the origin in use */
    uint8_t *block_map;     /* EMMA_CHECKS: see emma_checked.c */
    emmai_control *control; /* `local`; before page_map where it must not roll back */
    uint32_t chunk_count;
    uint32_t run_zone; /* runs are looked for from this chunk on, slabs below it */
    bool align8;
    bool shared;
    uint8_t entry_shift;
    uint32_t young_count;  /* local: young slabs made */
    uint64_t nonce;        /* shared: of this instance and no other, whatever address it had */
    uint32_t *fork_word;   /* shared: the generation; the kernel clears it in a child */
    uint32_t *heap_chunks; /* shared: number of a heap -> its chunk; 0: none. Any thread, atomic */
    uint32_t
        *heap_slots; /* shared: a thread's hash -> chunk of a heap that may be its own; 0: none */
    emmai_tag *tags_end;                /* shared: the tag of chunk i is the i-th before; I8 */
    uint64_t link_salt;                 /* EMMA_ENCODED_LINKS: see emma_link.h */
    uint64_t link_factor, link_inverse; /* odd, and its inverse */
    /* Written later, the first ones in local instances only. */
    uint8_t unit_slab
        [EMMAI_UNIT_COUNT]; /* unit of the young area -> 1 + index of its young slab; 0: none */
    uint32_t young_units;   /* units of the young area given to them or to page 0 */
    uint32_t low_hint;      /* no chunk below this one is free */
    uint32_t low_end;  /* one past the highest chunk ever used below run_zone: bounds searches */
    uint32_t run_end;  /* the same above */
    uint32_t run_next; /* EMMA_DELAYED_REUSE: from where on the next run is looked for */
    void *deferred;    /* blocks that signal handlers freed; any, atomic */
    emmai_control local;
};

#define EMMAI_LINE_BYTES 64

/* Of page 0 before struct emma: entries of the first chunks, in whole cache lines. */
#define EMMAI_HEAD_BYTES \
    ((EMMAI_PAGE_BYTES - sizeof(struct emma)) / EMMAI_LINE_BYTES * EMMAI_LINE_BYTES)

_Static_assert(sizeof(struct emma) <= EMMAI_PAGE_BYTES - EMMAI_LINE_BYTES,
               "page 0 holds struct emma");
_Static_assert(EMMAI_HEAD_BYTES >> EMMAI_ENTRY_SHIFT(false) >= EMMAI_YOUNG_CHUNKS,
               "the entries of the young area are on page 0");
_Static_assert(offsetof(struct emma, young) == 0, "young slabs continue the entries of the chunks");

/* The head of an empty ring: no free block, nothing to carve. Never written. */
static const emmai_slab emmai_no_slab;

/* ---- geometry: addresses, chunks, entries ---- */

static inline char *emmai_origin(const emma *instance)
{
    return (char *)(uintptr_t)instance - EMMAI_HEAD_BYTES;
}

/* Bytes from the region's start; at least region_bytes for a foreign address. */
static inline size_t emmai_offset(const emma *instance, const void *address)
{
    return (uintptr_t)address - (uintptr_t)emmai_origin(instance);
}

/* ~emmai_offset: in this form the check is a comparison with foreign_max (not above it: foreign),
 * the arithmetic shift yields -1 - chunk, and the entry is a sum instead of a difference; the free
 * path is two instructions shorter. */
static inline ptrdiff_t emmai_beyond(const emma *instance, const void *address)
{
    return (ptrdiff_t)((uintptr_t)instance - (EMMAI_HEAD_BYTES + 1) - (uintptr_t)address);
}

static inline emmai_tag *emmai_tag_of_beyond(const emma *instance, ptrdiff_t beyond)
{
    return instance->tags_end + (beyond >> EMMA_CHUNK_SHIFT);
}

/* The chunk's index; negative, a young slab's. */
static inline int32_t emmai_id_of_slab(const emma *instance, const emmai_slab *slab)
{
    ptrdiff_t bytes = (const char *)instance - (const char *)slab;
    return (int32_t)(bytes >> instance->entry_shift) - 1;
}

static inline emmai_tag *emmai_tag_of_slab(const emma *instance, const emmai_slab *slab)
{
    return instance->tags_end - 1 - emmai_id_of_slab(instance, slab);
}

static inline emmai_tag *emmai_tag_of_block(const emma *instance, const void *block)
{
    return emmai_tag_of_beyond(instance, emmai_beyond(instance, block));
}

/* Number of the heap that a slab belongs to; of a local instance's it is 0. */
static inline uint16_t emmai_slab_owner(const emma *instance, const emmai_slab *slab)
{
    return instance->shared ? emmai_sync_get(&emmai_tag_of_slab(instance, slab)->owner) : 0;
}

static inline emmai_slab *emmai_slab_of_beyond(const emma *instance, ptrdiff_t beyond, bool shared)
{
    ptrdiff_t entry = beyond >> EMMA_CHUNK_SHIFT;
    return (emmai_slab *)((uintptr_t)instance + ((uintptr_t)entry << EMMAI_ENTRY_SHIFT(shared)));
}

/* The entry of the chunk with this index; a negative id is a young slab's. */
static inline emmai_slab *emmai_slab_of_id(const emma *instance, ptrdiff_t id)
{
    return (emmai_slab *)((uintptr_t)instance - ((uintptr_t)(id + 1) << instance->entry_shift));
}

static inline bool emmai_slab_is_young(const emma *instance, const emmai_slab *slab)
{
    return (uintptr_t)slab - (uintptr_t)instance < sizeof instance->young;
}

/* Of what emmai_block_slab found: run or slab. */
static inline bool emmai_slab_is_run(const emmai_slab *slab)
{
    return !slab->size_class;
}

static inline emmai_slab *emmai_slab_of_offset(const emma *instance, size_t offset)
{
    return emmai_slab_of_id(instance, (ptrdiff_t)(offset >> EMMA_CHUNK_SHIFT));
}

static inline char *emmai_chunk_start(const emma *instance, size_t chunk)
{
    return emmai_origin(instance) + (chunk << EMMA_CHUNK_SHIFT);
}

/* The number of the page that an address is on, from the page map on. */
static inline size_t emmai_page_of(const emma *instance, const void *address)
{
    return ((uintptr_t)address - (uintptr_t)instance->page_map) >> EMMAI_PAGE_SHIFT;
}

static inline char *emmai_page_start(const emma *instance, size_t page)
{
    return (char *)instance->page_map + (page << EMMAI_PAGE_SHIFT);
}

static inline size_t emmai_round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Pages from the chunk's start that count in the footprint. Its owner changes them; other threads may
 * look, and then no longer be right. */
static inline size_t emmai_chunk_resident(const emmai_slab *entry)
{
    return emmai_sync_get(&entry->resident);
}

static inline void emmai_chunk_set_resident(emmai_slab *entry, size_t pages)
{
    emmai_sync_set(&entry->resident, (uint16_t)pages);
}

/* Pages that `bytes` take. */
static inline size_t emmai_pages_of(size_t bytes)
{
    return (bytes >> EMMAI_PAGE_SHIFT) + (bytes % EMMAI_PAGE_BYTES != 0);
}

/* Chunks that a run of `bytes` takes; the last one may be guards only. */
static inline size_t emmai_chunks_of(size_t bytes)
{
    return emmai_round_up(bytes + EMMAI_GUARD_BYTES, EMMAI_CHUNK_BYTES) >> EMMA_CHUNK_SHIFT;
}

#endif
