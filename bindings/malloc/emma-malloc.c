/* emma-malloc.c - the malloc family of the C library, on the process's instance.
 *
 * Errors are those of POSIX and of the GNU C library: NULL and ENOMEM, also beyond PTRDIFF_MAX and
 * where a product overflows; EINVAL for an alignment that is none. A free leaves errno alone. A
 * pointer that is not of the instance ends the program, as everywhere in emma: the loader, which
 * allocates before this library is there, keeps what it took so to itself. */
#include "emma-malloc-heap.h"

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

/* ---- allocation ---- */

static inline void *or_no_memory(void *block)
{
    return MALLOC_LIKELY(block) ? block : no_memory();
}

static MALLOC_NOINLINE void *malloc_slowly(emmai_heap *heap, size_t bytes)
{
    return or_no_memory(heap_allocate_slowly(heap, bytes));
}

static MALLOC_NOINLINE void *malloc_refill(emmai_heap *heap, size_t size_class)
{
    return or_no_memory(heap_refill(heap, size_class));
}

MALLOC_EXPORT void *malloc(size_t bytes)
{
    return heap_allocate(own_heap, bytes, malloc_slowly, malloc_refill);
}

static MALLOC_NOINLINE void *allocate_largely_aligned(size_t alignment, size_t bytes)
{
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return NULL;
    void *block = emma_aligned_alloc(instance, alignment, bytes);
    heap_meet(instance);
    return block;
}

/* In a shared instance a block of as many bytes as are padded to is aligned. */
void *emmai_malloc_allocate(size_t alignment, size_t bytes)
{
    if (MALLOC_UNLIKELY(alignment > EMMAI_SLAB_MAX_BYTES || bytes > PTRDIFF_MAX))
        return allocate_largely_aligned(alignment, bytes);
    const size_t padded =
        alignment > MALLOC_ALIGNMENT ? block_aligned_bytes(alignment, bytes) : bytes;
    return heap_allocate(own_heap, padded, heap_allocate_slowly, heap_refill);
}

void *emmai_malloc_allocate_labelled(size_t alignment, size_t bytes, unsigned label)
{
    return heap_allocate_labelled(alignment, bytes, label);
}

/* For the C library's functions that are told an alignment. */
static inline void *allocate_aligned(size_t alignment, size_t bytes)
{
    return EMMA_CHECKS
               ? heap_allocate_labelled(alignment, bytes, emmai_label(EMMAI_LABEL_PLAIN, alignment))
               : emmai_malloc_allocate(alignment, bytes);
}

static MALLOC_NOINLINE void *calloc_slowly(size_t count, size_t bytes)
{
    return or_no_memory(heap_calloc_slowly(count, bytes));
}

MALLOC_EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t product;
    if (EMMA_CHECKS || __builtin_mul_overflow(count, bytes, &product) ||
        product > EMMAI_SMALL_MAX_BYTES)
        return calloc_slowly(count, bytes);
    return heap_zero(heap_allocate(own_heap, product, malloc_slowly, malloc_refill), product);
}

/* ---- frees ---- */

/* A process that never allocated has only foreign pointers: its instance says so. */
static inline void free_claimed(void *block, emmai_claim claim)
{
    emma *instance = block ? emmai_malloc_instance() : NULL;
    if (!instance)
        return;
    if (EMMA_CHECKS)
        free_checked(instance, block, &claim);
    else
        emma_free(instance, block);
    heap_meet(instance);
}

static MALLOC_NOINLINE void free_slowly(void *block)
{
    free_claimed(block, heap_claim_plain(false));
}

/* NULL is as foreign as any other pointer here. */
void emmai_malloc_free(void *block)
{
    if (!heap_free(own_heap, block))
        free_slowly(block);
}

void emmai_malloc_free_labelled(void *block, unsigned label)
{
    free_claimed(block, heap_claim(label, EMMAI_LABEL_WHOLE));
}

void emmai_malloc_free_sized_labelled(void *block, size_t bytes, unsigned label)
{
    emmai_claim claim = heap_claim(label, EMMAI_LABEL_WHOLE);
    claim.bytes = bytes;
    claim.sized = true;
    free_claimed(block, claim);
}

void free(void *block) MALLOC_ALIAS(emmai_malloc_free);

/* As in the GNU C library, 0 bytes free the block and return NULL. */
static MALLOC_NOINLINE void *resize_slowly(void *block, size_t bytes)
{
    if (MALLOC_UNLIKELY(!bytes && block)) {
        emmai_malloc_free(block);
        return NULL;
    }
    return or_no_memory(heap_realloc_slowly(own_heap, block, bytes));
}

static inline void *resize(void *block, size_t bytes)
{
    return heap_keeps(own_heap, block, bytes) ? block : resize_slowly(block, bytes);
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
    return or_no_memory(allocate_aligned(alignment, bytes));
}

/* C23; the headers of today's C libraries lack them. */
MALLOC_EXPORT void free_sized(void *block, size_t bytes);
MALLOC_EXPORT void free_sized(void *block, size_t bytes)
{
    if (EMMA_CHECKS)
        emmai_malloc_free_sized_labelled(block, bytes, EMMAI_LABEL_PLAIN);
    else
        emmai_malloc_free(block);
}

MALLOC_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes);
MALLOC_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
    if (EMMA_CHECKS)
        emmai_malloc_free_sized_labelled(block, bytes, emmai_label(EMMAI_LABEL_PLAIN, alignment));
    else
        emmai_malloc_free(block);
}

/* ---- POSIX's and older ones ---- */

MALLOC_EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    void *block = allocate_aligned(alignment, bytes);
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
    return or_no_memory(allocate_aligned(power, bytes));
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
    if (!instance)
        return 0;
    const size_t trimmed = emma_trim(instance);
    heap_meet(instance); /* it may have a heap by this */
    return trimmed > 0;
}

/* The parameters are those of another allocator: they are accepted and mean nothing here. */
MALLOC_EXPORT int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}

/* ---- begin ---- */

/* Before main: a thread, which `emma top` needs, is not to be started inside an allocation,
 * nor before the C library is ready. Whoever never allocates has an instance all the same, if
 * there are options for it. */
__attribute__((constructor)) static void export_if_asked(void)
{
    char early[MALLOC_EARLY_BYTES];
    if (EMMA_PYTHON) /* it does so itself, where it serves Python */
        return;
    if (emmai_malloc_find_variable("EMMA_OPTIONS", early) && emmai_malloc_instance())
        emmai_malloc_export("malloc");
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
