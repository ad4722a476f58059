/* emma_config.h - build options and the constants that follow from them.
 *
 * Options are 0/1 macros (or a number) given on the compiler's command line; every one has a
 * default here, so that a plain `cc -O2 -c emma.c` works. Code tests them with a plain `if`, so
 * that the branch not taken still compiles. */
#ifndef EMMA_CONFIG_H
#define EMMA_CONFIG_H

#include "emma.h"

/* 1: all that follows and makes misuse fail, unless it is switched off by itself. */
#ifndef EMMA_HARDENED
#define EMMA_HARDENED 0
#endif

/* 1: Valgrind is told of every block; needs valgrind/memcheck.h. Of the parts of EMMA_HARDENED it
 * and the next have EMMA_CHECKS, which they need, and EMMA_DELAYED_REUSE. */
#ifndef EMMA_VALGRIND
#define EMMA_VALGRIND 0
#endif

/* 1: AddressSanitizer is told of every block. For programs that are linked with it; emma.c itself
 * is compiled without. */
#ifndef EMMA_ASAN
#define EMMA_ASAN 0
#endif

#define EMMAI_WATCHED (EMMA_VALGRIND || EMMA_ASAN)

/* 1: a map tells which blocks the caller has, and of what size; each call that is given a block
 * looks it up. */
#ifndef EMMA_CHECKS
#define EMMA_CHECKS (EMMA_HARDENED || EMMAI_WATCHED)
#endif

/* 1: behind what was asked for, each block has at least a byte that is verified when it comes back.
 * Needs EMMA_CHECKS. */
#ifndef EMMA_CANARIES
#define EMMA_CANARIES EMMA_HARDENED
#endif

/* 1: what links free blocks is encoded, and verified when it is followed. Needs EMMA_CHECKS. */
#ifndef EMMA_ENCODED_LINKS
#define EMMA_ENCODED_LINKS EMMA_HARDENED
#endif

/* 1: what is freed is zeroed, and still so when it is handed out again. Needs EMMA_CHECKS. */
#ifndef EMMA_ZERO_ON_FREE
#define EMMA_ZERO_ON_FREE EMMA_HARDENED
#endif

/* 1: the blocks of a page are handed out in an order that nobody knows. */
#ifndef EMMA_RANDOM_ORDER
#define EMMA_RANDOM_ORDER EMMA_HARDENED
#endif

/* 1: a freed block stays unused for a while, and then some. */
#ifndef EMMA_DELAYED_REUSE
#define EMMA_DELAYED_REUSE (EMMA_HARDENED || EMMAI_WATCHED)
#endif

/* 1: memory that is not in use, and what lies around slabs and large blocks, faults when it is touched. */
#ifndef EMMA_GUARD_PAGES
#define EMMA_GUARD_PAGES EMMA_HARDENED
#endif

/* 1: internal assertions, and emma_check at every 64th change of the region's structure (slow). */
#ifndef EMMA_AUDIT
#define EMMA_AUDIT 0
#endif

/* log2 of a chunk's bytes, 13 to 16. 14 is the measured choice: with 16, programs of a few MiB need
 * a sixth more memory (a slab per class, mostly unused); with 13, slabs open and close twice as
 * often for nothing. With guards, one more: the last page of each slab is none, and the processor reads ahead up
 * to it. */
#ifndef EMMA_CHUNK_SHIFT
#define EMMA_CHUNK_SHIFT (14 + EMMA_GUARD_PAGES)
#endif

/* What a heap of a shared instance holds of empty chunks at most, so that threads need not meet at the
 * chunks that are there for all. Where an interpreter's lock keeps them apart, less is enough. */
#ifndef EMMA_HELD_BYTES
#define EMMA_HELD_BYTES ((size_t)1 << 20)
#endif

/* 1: a shared instance finds the calling thread's heap by a thread-local word. 0: by asking the kernel
 * who calls, at every call: for programs without thread-local storage. */
#ifndef EMMA_TLS
#define EMMA_TLS 1
#endif

/* How that word is reached. The default is the shortest way that suits what is linked or preloaded; a
 * library that is opened at run time should be compiled with -DEMMA_TLS_MODEL= and, for gcc on
 * x86_64, -mtls-dialect=gnu2, or it may find no room. */
#ifndef EMMA_TLS_MODEL
#if defined(__PIC__) && !defined(__PIE__)
#define EMMA_TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define EMMA_TLS_MODEL __attribute__((tls_model("local-exec")))
#endif
#endif

/* For a host that has the core in its own unit, and one shared instance: is told which heap serves the
 * calling thread from now on, NULL for none. Signal handlers may come before and after. */
#ifndef EMMAI_FOLLOW_HEAP
#define EMMAI_FOLLOW_HEAP(heap) ((void)(heap))
#endif

_Static_assert(EMMA_TLS == 0 || EMMA_TLS == 1, "EMMA_TLS is 0 or 1");
_Static_assert(EMMA_VALGRIND == 0 || EMMA_VALGRIND == 1, "EMMA_VALGRIND is 0 or 1");
_Static_assert(EMMA_ASAN == 0 || EMMA_ASAN == 1, "EMMA_ASAN is 0 or 1");
_Static_assert(!EMMA_VALGRIND || !EMMA_ASAN, "EMMA_VALGRIND and EMMA_ASAN exclude each other");
_Static_assert(EMMA_CHECKS || !EMMAI_WATCHED, "EMMA_VALGRIND and EMMA_ASAN need EMMA_CHECKS");
_Static_assert(EMMA_CHECKS == 0 || EMMA_CHECKS == 1, "EMMA_CHECKS is 0 or 1");
_Static_assert(EMMA_ENCODED_LINKS == 0 || EMMA_ENCODED_LINKS == 1, "EMMA_ENCODED_LINKS is 0 or 1");
_Static_assert(EMMA_CHECKS || !EMMA_ENCODED_LINKS, "EMMA_ENCODED_LINKS needs EMMA_CHECKS");
_Static_assert(EMMA_ZERO_ON_FREE == 0 || EMMA_ZERO_ON_FREE == 1, "EMMA_ZERO_ON_FREE is 0 or 1");
_Static_assert(EMMA_RANDOM_ORDER == 0 || EMMA_RANDOM_ORDER == 1, "EMMA_RANDOM_ORDER is 0 or 1");
_Static_assert(EMMA_GUARD_PAGES == 0 || EMMA_GUARD_PAGES == 1, "EMMA_GUARD_PAGES is 0 or 1");
_Static_assert(EMMA_DELAYED_REUSE == 0 || EMMA_DELAYED_REUSE == 1, "EMMA_DELAYED_REUSE is 0 or 1");
_Static_assert(EMMA_CHECKS || !EMMA_DELAYED_REUSE, "EMMA_DELAYED_REUSE needs EMMA_CHECKS");
_Static_assert(EMMA_CHECKS || !EMMA_ZERO_ON_FREE, "EMMA_ZERO_ON_FREE needs EMMA_CHECKS");
_Static_assert(EMMA_CANARIES == 0 || EMMA_CANARIES == 1, "EMMA_CANARIES is 0 or 1");
_Static_assert(EMMA_CHECKS || !EMMA_CANARIES, "EMMA_CANARIES needs EMMA_CHECKS");
_Static_assert(EMMA_AUDIT == 0 || EMMA_AUDIT == 1, "EMMA_AUDIT is 0 or 1");
_Static_assert(EMMA_CHUNK_SHIFT >= 13 && EMMA_CHUNK_SHIFT <= 16, "chunks are of 8 to 64 KiB");
_Static_assert(sizeof(void *) == 8, "emma needs 64-bit addresses");

#define EMMAI_KIB ((size_t)1 << 10)
#define EMMAI_MIB ((size_t)1 << 20)
#define EMMAI_GIB ((size_t)1 << 30)

#define EMMAI_PAGE_SHIFT  12
#define EMMAI_PAGE_BYTES  ((size_t)1 << EMMAI_PAGE_SHIFT)
#define EMMAI_CHUNK_BYTES ((size_t)1 << EMMA_CHUNK_SHIFT)
#define EMMAI_CHUNK_PAGES (EMMAI_CHUNK_BYTES >> EMMAI_PAGE_SHIFT)
/* Behind the blocks of a chunk, and each run. */
#define EMMAI_GUARD_BYTES (EMMA_GUARD_PAGES * EMMAI_PAGE_BYTES)

/* Where a tool watches: bytes of each block behind those that were asked for. As many as lie
 * between two blocks of malloc under Valgrind, which takes what is up to 16 bytes off a block for a
 * fault with it. */
#define EMMAI_RED_BYTES ((size_t)(EMMAI_WATCHED ? 32 : 0))

/* Where a tool watches: bytes of freed blocks that a heap keeps, and the part of the limit that
 * they may be. Valgrind remembers 20 MB of those that were asked for: what is used again sooner it
 * takes for what it was before. */
#define EMMAI_DELAYED_BYTES (32 * EMMAI_MIB)
#define EMMAI_DELAYED_PART  ((size_t)4)

/* What one page table of the kernel spans, and so the alignment that keeps a small instance under
 * one. */
#define EMMAI_TABLE_SPAN_BYTES (2 * EMMAI_MIB)

/* Address space without access behind the region, so that what overflows a block by as much, from
 * far to near even, reaches nothing that is another instance's. */
#define EMMAI_GAP_BYTES EMMAI_MIB

/* Address space where neither reserve_bytes nor a limit says otherwise. */
#define EMMAI_RESERVE_DEFAULT_BYTES (4 * EMMAI_GIB)
/* With a limit: this many times the limit, and room for a chunk of every size class beside it. */
#define EMMAI_RESERVE_LIMIT_FACTOR 4
#define EMMAI_RESERVE_BASE_BYTES   (8 * EMMAI_MIB)
/* Chunks are counted in 31 bits, with room for the ids of young slabs. */
#define EMMAI_RESERVE_MAX_BYTES ((size_t)1 << (30 + EMMA_CHUNK_SHIFT))

/* Chunks made accessible when an instance is created, and the least step after that. */
#define EMMAI_COMMIT_FIRST_BYTES (256 * EMMAI_KIB)
#define EMMAI_COMMIT_STEP_BYTES  EMMAI_MIB

/* From this footprint on, a class takes slabs that are chunks rather than young ones: a page for each
 * class no longer matters, and what is freed there stays on the fast path. */
#define EMMAI_YOUNG_LEAVE_BYTES (256 * EMMAI_KIB)

/* Free memory may be kept beyond these only until the footprint would reach a new peak. */
#define EMMAI_RETAIN_BYTES    (128 * EMMAI_KIB)
#define EMMAI_RETAIN_FRACTION 8
/* Where threads take and leave large blocks in turns, what one leaves is what another needs next: with
 * 8, two threads with blocks of up to 8 MiB took 55,395 page faults, with 2 they take 19,213. */
#define EMMAI_RETAIN_FRACTION_SHARED 2
#define EMMAI_FLATTEN_MIN_PAGES      ((size_t)8)
/* Decay: what stayed free for a whole period goes back to the kernel; the clock is read at every
 * n-th release. */
#define EMMAI_DECAY_RELEASES 16

/* Huge pages: for slabs once the footprint is this large, for runs of this size. */
#define EMMAI_HUGE_FOOTPRINT_BYTES (16 * EMMAI_MIB)
#define EMMAI_HUGE_RUN_BYTES       (32 * EMMAI_MIB)

/* More than the 512 small faults that it saves: 0.3 to 1 ms. A huge page that is at hand takes 65 to
 * 330 us with its zeroing, one that the kernel has to make room for 2 to 4 ms. */
#define EMMAI_HUGE_DEAR_US   1000
#define EMMAI_HUGE_PAUSE_MAX ((size_t)255)

/* Pages that a slab of a class with many slabs takes into use at once. */
#define EMMAI_POPULATE_MAX_PAGES 16

#endif
