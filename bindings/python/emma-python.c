/* emma-python.c - the library that serves a whole Python process: preloaded, it takes Python's
 * domains over before main; loaded later, when it is asked to.
 *
 * The process's instance, its options and its figures are those of emma-malloc, whose files are
 * compiled in; with EMMA_PYTHON_EVERYTHING the C library's malloc family is served from it too. */
#if EMMA_PYTHON_EVERYTHING
#include "../malloc/emma-malloc.c"
#else
#include "../malloc/emma-malloc-heap.h"
#endif
#include "emma-python-report.h"

#define EMMAI_PYTHON_FAST
#define EMMAI_PYTHON_OVER emmai_python_sampled
#include "emma_python.c"

#include <stdlib.h>
#include <unistd.h>

/* ---- at the limit ---- */

/* Once a request was refused, the spare part of the limit is open for Python to raise
 * MemoryError, and for who catches it; until so much is free again that it can be held back once
 * more: so many times the spare part. */
#define SPARE_AMPLE 2

static bool spare_is_ample(const emmai_control *control)
{
    const size_t limit = emmai_sync_get(&control->limit_pages);
    const size_t kept = emmai_sync_get(&control->retained_pages);
    const size_t used = emmai_sync_get(&control->footprint_pages) - kept;
    return used + SPARE_AMPLE * emmai_sync_get(&control->spare_pages) <= limit;
}

static inline void look_at_spare(void)
{
    emma *instance = malloc_instance_if_made();
    if (instance && MALLOC_UNLIKELY(emmai_sync_get(&instance->control->spare_open)) &&
        spare_is_ample(instance->control))
        emma_use_spare(instance, false);
}

static void tell_refusal(emma *instance, size_t bytes)
{
    emmai_python_tell_refusal(instance, bytes, Py_IsInitialized && Py_IsInitialized());
}

static MALLOC_NOINLINE void *refused(size_t bytes)
{
    emma *instance = malloc_instance_if_made();
    if (!instance)
        return NULL;
    if (emmai_sync_get(&instance->control->limit_pages) != EMMA_UNLIMITED >> EMMAI_PAGE_SHIFT) {
        tell_refusal(instance, bytes);
        if (!spare_is_ample(instance->control)) /* it was more than there is, but there is some */
            emma_use_spare(instance, true);
    } else if (bytes <= EMMAI_MIB) { /* more may have been too much anywhere */
        tell_refusal(instance, bytes);
    }
    return NULL;
}

static inline void *or_refused(void *block, size_t bytes)
{
    return MALLOC_LIKELY(block) ? block : refused(bytes);
}

/* ---- what emma_python.c asks for ---- */

/* The heap of whoever has the interpreter's lock. Written before a domain is served through it. */
static emmai_heap *lock_heap = &no_heap.heap;

/* It serves what pymalloc would serve itself, and no more: larger blocks are of malloc's there,
 * which there are extensions, and tkinter, that take and free without the lock. */
#define LOCK_MOST_BYTES ((size_t)512)

/* Where a request is served. */
static inline emmai_heap *python_heap(python_way way, size_t bytes)
{
    return way == OF_LOCK && bytes - 1 < LOCK_MOST_BYTES ? lock_heap : own_heap;
}

/* Whether a block is of that heap. */
static inline bool lock_heap_has(const void *block)
{
    const emma *instance = malloc_instance_if_made();
    const ptrdiff_t beyond = emmai_beyond(instance, block);
    return !heap_is_foreign(instance, beyond) &&
           emmai_sync_get(&emmai_tag_of_beyond(instance, beyond)->owner) == lock_heap->number;
}

/* On the slow paths only: a bin is filled by a page or so. */
static inline void watch(size_t bytes)
{
    if (MALLOC_UNLIKELY(emmai_python_watched))
        emmai_python_watch(bytes);
}

static MALLOC_NOINLINE void *python_malloc_slowly(emmai_heap *heap, size_t bytes)
{
    look_at_spare();
    void *block = heap_allocate_slowly(heap, bytes);
    watch(bytes);
    return or_refused(block, bytes);
}

static MALLOC_NOINLINE void *python_refill(emmai_heap *heap, size_t size_class)
{
    void *block = heap_refill(heap, size_class);
    look_at_spare();
    watch(EMMAI_PAGE_BYTES);
    return or_refused(block, emmai_class_bytes((unsigned)size_class));
}

static inline void *python_malloc(python_way way, size_t bytes)
{
    return heap_allocate(python_heap(way, bytes), bytes, python_malloc_slowly, python_refill);
}

static MALLOC_NOINLINE void *python_calloc_slowly(size_t count, size_t bytes)
{
    size_t product;
    if (__builtin_mul_overflow(count, bytes, &product))
        return NULL;
    look_at_spare();
    return or_refused(heap_calloc_slowly(count, bytes), product);
}

static inline void *python_calloc(python_way way, size_t count, size_t bytes)
{
    size_t product;
    if (EMMA_CHECKS || __builtin_mul_overflow(count, bytes, &product) ||
        product > EMMAI_SLAB_MAX_BYTES)
        return python_calloc_slowly(count, bytes);
    return heap_zero(python_malloc(way, product), product);
}

/* A block of that heap, to a size that it does not serve. */
static void *lock_heap_move(void *block, size_t bytes)
{
    emma *instance = malloc_instance_if_made();
    void *target = python_malloc(OF_THREAD, bytes);
    if (!target)
        return NULL;
    const size_t kept = emma_usable_size(instance, block);
    emmai_arch_copy(target, block, kept < bytes ? kept : bytes);
    emma_free(instance, block);
    return target;
}

static MALLOC_NOINLINE void *python_realloc_slowly(python_way way, unsigned domain, void *block,
                                                   size_t bytes)
{
    if (!block)
        return python_malloc(way, bytes);
    if (!emma_owns(malloc_instance_if_made(), block))
        return python_realloc_older(domain, block, bytes);
    look_at_spare();
    if (way == OF_LOCK && lock_heap_has(block))
        return bytes - 1 < LOCK_MOST_BYTES
                   ? or_refused(heap_realloc_slowly(lock_heap, block, bytes), bytes)
                   : lock_heap_move(block, bytes);
    return or_refused(heap_realloc_slowly(own_heap, block, bytes), bytes);
}

static inline void *python_realloc(python_way way, unsigned domain, void *block, size_t bytes)
{
    return heap_keeps(way == OF_LOCK ? lock_heap : own_heap, block, bytes)
               ? block
               : python_realloc_slowly(way, domain, block, bytes);
}

static MALLOC_NOINLINE void python_free_slowly(unsigned domain, void *block)
{
    emma *instance = malloc_instance_if_made();
    if (!block)
        return;
    if (!emma_owns(instance, block)) {
        python_free_older(domain, block);
        return;
    }
    emma_free(instance, block);
    heap_meet(instance);
}

static inline void python_free(python_way way, unsigned domain, void *block)
{
    if (way == OF_LOCK && MALLOC_LIKELY(heap_free_if(lock_heap, block, false)))
        return;
    if (!heap_free(own_heap, block))
        python_free_slowly(domain, block);
}

/* For NumPy, whose blocks were never another allocator's: those of handlers before keep theirs. */
void *emmai_python_malloc(size_t bytes)
{
    return python_malloc(OF_THREAD, bytes);
}

void *emmai_python_calloc(size_t count, size_t bytes)
{
    return python_calloc(OF_THREAD, count, bytes);
}

void *emmai_python_realloc(void *block, size_t bytes)
{
    return python_realloc(OF_THREAD, DOMAIN_RAW, block, bytes);
}

void emmai_python_free(void *block)
{
    python_free(OF_THREAD, DOMAIN_RAW, block);
}

/* ---- one heap for all threads ---- */

/* Its owner is no thread's id: the kernel calls that one invalid, not gone,
 * so nobody adopts the heap. */
#define LOCK_OWNER UINT64_MAX

/* Up to 3.11 all interpreters of a process share one lock, under which MEM and OBJ are called: one
 * thread at a time is inside the heap, which its gate, a plain word, relies on. */
static bool python_has_one_lock(void)
{
    const char *version = Py_GetVersion ? Py_GetVersion() : "";
    return strncmp(version, "3.", 2) == 0 && strtoul(version + 2, NULL, 10) < 12;
}

/* Without memory for it, or with checks, every thread has a heap of its own. */
static void make_lock_heap(emma *instance)
{
    if (EMMA_CHECKS || python_instance || lock_heap != &no_heap.heap || !python_has_one_lock())
        return;
    emmai_thread_heap *heap = heap_create(instance, LOCK_OWNER, emmai_shared_generation(instance));
    if (!heap)
        return;
    lock_heap = &heap->heap;
    python_way_locked = OF_LOCK;
}

/* Whether each heap of the instance is this thread's, that of the lock, or nobody's any more. */
static bool heaps_are_mine(emma *instance)
{
    emmai_shared_generation(instance); /* in the child of a fork it is another process */
    const uint64_t id = emmai_thread_id(emmai_thread_self());
    emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number))) {
        const uint64_t owner = emmai_sync_get(&heap->owner);
        if (owner && owner != id && owner != LOCK_OWNER &&
            emmai_os_thread_lives(emmai_sync_get(&instance->control->process_id),
                                  (uint32_t)(owner >> 32)))
            return false;
    }
    return true;
}

/* A thread that Python has joined may take a moment to end. */
#define ALONE_TRIES   50
#define ALONE_WAIT_US 1000

/* Whether no other thread may be inside the instance, with Python's lock held. */
static bool python_is_alone(emma *instance)
{
    for (unsigned tries = 0; !heaps_are_mine(instance); tries++) {
        if (tries == ALONE_TRIES)
            return false;
        usleep(ALONE_WAIT_US);
    }
    return true;
}

enum emma_status emma_python_check(void)
{
    if (!python_instance || !python_is_alone(python_instance))
        return EMMA_BUSY;
    return emma_check(python_instance);
}

bool emma_python_has_one_heap(void)
{
    return python_way_locked == OF_LOCK;
}

size_t emma_python_trim(void)
{
    if (!python_instance)
        return 0;
    if (lock_heap->gate) {
        emmai_gate_close(lock_heap);
        emmai_free_drain(python_instance, lock_heap);
        emmai_slab_shed(python_instance, lock_heap);
        emmai_leave(lock_heap);
    }
    return emma_trim(python_instance);
}

/* ---- installation ---- */

enum emma_status emma_python_start(unsigned domains)
{
    if (!is_python_here())
        return EMMA_UNSUPPORTED;
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return EMMA_NO_MEMORY;
    make_lock_heap(instance);
    if (!python_instance)
        emmai_python_sample_start();
    const enum emma_status status =
        emma_python_install(instance, domains & emmai_malloc_asked.domains);
    if (status != EMMA_OK)
        return status;
    emmai_python_note_start();
    emmai_malloc_export("python");
    return status;
}

emma *emma_python_instance(void)
{
    return python_instance;
}

/* ---- what Python code looks at while it runs; see emma_python_control in emma-python.h ---- */

enum emma_status emma_python_set_limit(size_t limit_bytes, size_t spare_bytes)
{
    if (!python_instance)
        return EMMA_UNSUPPORTED;
    emmai_control *control = python_instance->control;
    const size_t before = emmai_sync_get(&control->spare_pages);
    const size_t pages = emmai_pages_of(spare_bytes);
    if (limit_bytes < spare_bytes || limit_bytes - spare_bytes < EMMA_LIMIT_MIN_BYTES)
        return EMMA_INVALID;
    emmai_sync_set(&control->spare_pages, (size_t)0); /* it must never be above the limit */
    const enum emma_status status = emma_set_limit(python_instance, limit_bytes);
    emmai_sync_set(&control->spare_pages, status == EMMA_OK ? pages : before);
    return status;
}

size_t emma_python_restart_peak(size_t restore_bytes)
{
    if (!python_instance)
        return 0;
    emmai_control *control = python_instance->control;
    const size_t now = emmai_sync_get(&control->footprint_pages);
    const size_t peak = emmai_sync_get(&control->peak_pages);
    emmai_sync_set(&control->peak_pages, emmai_max(now, restore_bytes >> EMMAI_PAGE_SHIFT));
    /* What was taken in between raised the peak of before. */
    emmai_sync_raise_size(&control->peak_pages, emmai_sync_get(&control->footprint_pages));
    return peak << EMMAI_PAGE_SHIFT;
}

typedef struct block_list {
    emma_python_block *blocks;
    size_t count, room;
} block_list;

static bool list_block(void *arg, void *block, size_t bytes)
{
    block_list *list = arg;
    if (list->count < list->room)
        list->blocks[list->count] = (emma_python_block){ block, bytes };
    list->count++;
    return true;
}

size_t emma_python_list_blocks(emma_python_block *blocks, size_t room)
{
    block_list list = { blocks, 0, room };
    if (!python_instance || !python_is_alone(python_instance))
        return SIZE_MAX;
    emma_walk(python_instance, list_block, &list);
    return list.count;
}

/* ---- for the control module ---- */

const emma_python_functions_table emma_python_functions = {
    .struct_bytes = sizeof emma_python_functions,
    .version = emma_version,
    .start = emma_python_start,
    .instance = emma_python_instance,
    .get_stats = emma_get_stats,
    .owns = emma_owns,
    .has_one_heap = emma_python_has_one_heap,
    .trim = emma_python_trim,
    .check = emma_python_check,
    .look = emma_python_look,
    .set_limit = emma_python_set_limit,
    .restart_peak = emma_python_restart_peak,
    .list_blocks = emma_python_list_blocks,
    .numpy_handler = emma_python_numpy_handler,
    .report = emma_python_report,
    .report_check = emma_python_report_check,
};
