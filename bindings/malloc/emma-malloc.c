/* emma-malloc.c - the malloc family of the C library, on the process's instance.
 *
 * Errors are those of POSIX and of the GNU C library: NULL and ENOMEM, also beyond PTRDIFF_MAX and where
 * a product overflows; EINVAL for an alignment that is none. A free leaves errno alone. A pointer that
 * is not of the instance ends the program, as everywhere in emma: the loader, which allocates before
 * this library is there, keeps what it took so to itself.
 *
 * The core is compiled in here, so that the shortest ways can be shorter than emma_malloc and emma_free in a
 * shared instance, which first find out whose heap it is: here there is one instance, and a thread-local
 * pointer to the thread's heap in it. */
struct emmai_heap;
static void follow_heap(struct emmai_heap *heap);
#define EMMAI_FOLLOW_HEAP(heap) follow_heap(heap)
#include "../../core/emma.c"

#include "emma-malloc.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

static MALLOC_NOINLINE void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static MALLOC_NOINLINE void *invalid(void)
{
    errno = EINVAL;
    return NULL;
}

static bool is_power_of_two(size_t number)
{
    return number && (number & (number - 1)) == 0;
}

/* ---- the thread's heap ---- */

/* Whether the C library is to tell when the calling thread ends. */
static __thread enum { NOT_MET, MET, LEAVING } meeting EMMA_TLS_MODEL;

/* Stands in for the heap of a thread that has none: its gate is never open, so the slow way is taken, as by a
 * signal handler that finds its thread's heap closed. */
static emmai_thread_heap no_heap;

/* The heap that the core remembers for the thread. */
static __thread emmai_heap *own_heap EMMA_TLS_MODEL = &no_heap.heap;

static void follow_heap(emmai_heap *heap)
{
    emmai_sync_set(&own_heap, heap ? heap : &no_heap.heap);
}

/* Not met again by a signal handler in between. */
void emmai_malloc_leave_heap(emma *instance)
{
    meeting = LEAVING;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emma_thread_detach(instance);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    meeting = NOT_MET;
}

/* After the core has served the thread, which may have a heap now. */
static inline void meet(emma *instance)
{
    if (MALLOC_LIKELY(meeting != NOT_MET) || own_heap == &no_heap.heap)
        return;
    meeting = MET; /* before what may allocate */
    emmai_malloc_meet_thread(instance);
}

/* ---- allocation ---- */

static MALLOC_NOINLINE void *allocate_aligned(size_t alignment, size_t bytes)
{
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return NULL;
    void *block = emma_aligned_alloc(instance, alignment, bytes);
    meet(instance);
    return block;
}

/* Of any size, for a thread that may have no heap yet. */
static MALLOC_NOINLINE void *allocate_slowly(size_t bytes)
{
    emmai_heap *heap = own_heap;
    if (!EMMA_CHECKS && MALLOC_LIKELY(heap->gate))
        return block_malloc_any(malloc_instance_if_made(), heap, bytes);
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return NULL;
    void *block = emma_malloc(instance, bytes);
    meet(instance);
    return block;
}

static inline void *or_no_memory(void *block)
{
    return MALLOC_LIKELY(block) ? block : no_memory();
}

static MALLOC_NOINLINE void *malloc_slowly(size_t bytes)
{
    return or_no_memory(allocate_slowly(bytes));
}

static MALLOC_NOINLINE void *refill(emmai_heap *heap, size_t size_class)
{
    return block_malloc_refill(malloc_instance_if_made(), heap, size_class);
}

static MALLOC_NOINLINE void *malloc_refill(emmai_heap *heap, size_t size_class)
{
    return or_no_memory(refill(heap, size_class));
}

/* Pops a block as emma_malloc does in a local instance; NULL, with *size_class set and the gate closed, when
 * the bin is empty. */
static inline void *pop(emmai_heap *heap, size_t last, size_t *size_class)
{
    emmai_gate_close_fast(heap, true);
    *size_class = heap->class_map[last / EMMAI_CLASS_STEP_BYTES];
    void *block = heap->bins[*size_class];
    if (MALLOC_UNLIKELY(!block))
        return NULL;
    heap->bins[*size_class] = *(void **)block;
    emmai_gate_open_fast(heap, true);
    return block;
}

static inline void *allocate(size_t bytes)
{
    emmai_heap *heap = own_heap;
    const size_t last = bytes - 1;
    size_t size_class;
    if (EMMA_CHECKS || MALLOC_UNLIKELY(last >= heap->gate))
        return malloc_slowly(bytes);
    if (last >= EMMAI_SMALL_MAX_BYTES)
        __builtin_unreachable(); /* the gate is never above EMMAI_GATE_OPEN */
    void *block = pop(heap, last, &size_class);
    return MALLOC_LIKELY(block) ? block : malloc_refill(heap, size_class);
}

MALLOC_EXPORT void *malloc(size_t bytes)
{
    return allocate(bytes);
}

/* In a shared instance a block of so many bytes is aligned. */
void *emmai_malloc_allocate(size_t alignment, size_t bytes)
{
    if (EMMA_CHECKS || MALLOC_UNLIKELY(alignment > EMMAI_SLAB_MAX_BYTES || bytes > PTRDIFF_MAX))
        return allocate_aligned(alignment, bytes);
    emmai_heap *heap = own_heap;
    const size_t padded =
        alignment > MALLOC_ALIGNMENT ? block_aligned_bytes(alignment, bytes) : bytes;
    const size_t last = padded - 1;
    size_t size_class;
    if (MALLOC_UNLIKELY(last >= heap->gate))
        return allocate_slowly(padded);
    void *block = pop(heap, last, &size_class);
    return MALLOC_LIKELY(block) ? block : refill(heap, size_class);
}

static MALLOC_NOINLINE void *calloc_slowly(size_t count, size_t bytes)
{
    emma *instance = emmai_malloc_instance();
    if (MALLOC_UNLIKELY(!instance))
        return no_memory();
    void *block = emma_calloc(instance, count, bytes);
    meet(instance);
    return or_no_memory(block);
}

MALLOC_EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t product;
    if (EMMA_CHECKS || __builtin_mul_overflow(count, bytes, &product) ||
        product > EMMAI_SMALL_MAX_BYTES)
        return calloc_slowly(count, bytes);
    void *block = allocate(product);
    if (MALLOC_LIKELY(block))
        emmai_arch_zero(block, emmai_round_up(product, EMMAI_CLASS_STEP_BYTES));
    return block;
}

/* ---- frees ---- */

/* A process that never allocated has only foreign pointers: its instance says so. */
static MALLOC_NOINLINE void free_slowly(void *block)
{
    emma *instance = block ? emmai_malloc_instance() : NULL;
    if (!instance)
        return;
    emma_free(instance, block);
    meet(instance);
}

/* Into the thread's own heap as emma_free does in a local instance; NULL is as foreign as any other pointer
 * here. */
void emmai_malloc_free(void *block)
{
    emmai_heap *heap = own_heap;
    if (EMMA_CHECKS || MALLOC_UNLIKELY(!heap->gate)) {
        free_slowly(block);
        return;
    }
    emma *instance = emmai_thread_heap_of(heap)->instance;
    const ptrdiff_t beyond = emmai_beyond(instance, block);
    if (MALLOC_UNLIKELY((size_t)beyond <= instance->foreign_max)) {
        free_slowly(block);
        return;
    }
    emmai_slab *slab = emmai_slab_of_beyond(instance, beyond, true);
    const emmai_tag *tag = emmai_tag_of_beyond(instance, beyond);
    if (MALLOC_LIKELY(tag->owner == heap->number))
        free_push(instance, heap, slab, block, true);
    else
        free_remote(instance, heap, slab, tag->size_class, block);
}

void emmai_malloc_free_sized(void *block, size_t bytes)
{
    emma *instance = malloc_instance_if_made();
    if (EMMA_CHECKS && instance)
        emma_free_sized(instance, block, bytes);
    else
        emmai_malloc_free(block);
}

void free(void *block) MALLOC_ALIAS(emmai_malloc_free);

/* As in the GNU C library, 0 bytes free the block and return NULL. */
static inline void *resize(void *block, size_t bytes)
{
    if (MALLOC_UNLIKELY(!bytes && block)) {
        emmai_malloc_free(block);
        return NULL;
    }
    emma *instance = emmai_malloc_instance();
    if (MALLOC_UNLIKELY(!instance))
        return no_memory();
    void *target = emma_realloc(instance, block, bytes);
    meet(instance);
    return or_no_memory(target);
}

MALLOC_EXPORT void *realloc(void *block, size_t bytes)
{
    return resize(block, bytes);
}

MALLOC_EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t product;
    if (__builtin_mul_overflow(count, bytes, &product))
        return no_memory();
    return resize(block, product);
}

MALLOC_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    if (!is_power_of_two(alignment))
        return invalid();
    return or_no_memory(emmai_malloc_allocate(alignment, bytes));
}

/* C23; the headers of today's C libraries lack them. */
MALLOC_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes);

void free_sized(void *block, size_t bytes) MALLOC_ALIAS(emmai_malloc_free_sized);

MALLOC_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
    (void)alignment;
    emmai_malloc_free_sized(block, bytes);
}

/* ---- POSIX's and older ones ---- */

MALLOC_EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    void *block = emmai_malloc_allocate(alignment, bytes);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

/* An alignment that is no power of two is rounded up to one, as in the GNU C library. */
static void *allocate_rounded(size_t alignment, size_t bytes)
{
    size_t power = MALLOC_ALIGNMENT;
    if (alignment > SIZE_MAX / 2 + 1)
        return invalid();
    while (power < alignment)
        power *= 2;
    return or_no_memory(emmai_malloc_allocate(power, bytes));
}

MALLOC_EXPORT void *memalign(size_t alignment, size_t bytes)
{
    return allocate_rounded(alignment, bytes);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

MALLOC_EXPORT void *valloc(size_t bytes)
{
    return allocate_rounded(page_bytes(), bytes);
}

MALLOC_EXPORT void *pvalloc(size_t bytes)
{
    const size_t page = page_bytes();
    size_t padded;
    if (__builtin_add_overflow(bytes, page - 1, &padded))
        return no_memory();
    return allocate_rounded(page, padded / page * page);
}

/* ---- the GNU C library's; those that tell figures are in emma-malloc-report.c ---- */

MALLOC_EXPORT size_t malloc_usable_size(void *block)
{
    emma *instance = block ? emmai_malloc_instance() : NULL;
    return instance ? emma_usable_size(instance, block) : 0;
}

MALLOC_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    emma *instance = malloc_instance_if_made();
    return instance && emma_trim(instance) > 0;
}

/* The parameters are those of another allocator: they are accepted and mean nothing here. */
MALLOC_EXPORT int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}

/* The names by which the GNU C library also exports its own. */
void *__libc_malloc(size_t bytes) MALLOC_ALIAS(malloc);
void *__libc_calloc(size_t count, size_t bytes) MALLOC_ALIAS(calloc);
void *__libc_realloc(void *block, size_t bytes) MALLOC_ALIAS(realloc);
void __libc_free(void *block) MALLOC_ALIAS(emmai_malloc_free);
void *__libc_memalign(size_t alignment, size_t bytes) MALLOC_ALIAS(memalign);
void *__libc_valloc(size_t bytes) MALLOC_ALIAS(valloc);
void *__libc_pvalloc(size_t bytes) MALLOC_ALIAS(pvalloc);
int __libc_mallopt(int parameter, int value) MALLOC_ALIAS(mallopt);
