/* invalid.c - frees, reallocs and questions about what is no block: memory of others ("foreign"),
 * what lies just beside a block ("close"), and what lies in one ("interior"). */
#include "misuse.h"

#include <sys/mman.h>
#include <unistd.h>

#define PAGE         ((size_t)4096)
#define FOREIGN      (2 * PAGE)
#define UNMAPPED     ((uintptr_t)0x123456789000)
#define NONCANONICAL ((uintptr_t)0xdeadbeefdeadbee0)
#define GLIBC_IN_USE ((uintptr_t)1)
#define GLIBC_MAPPED ((uintptr_t)2)
#define WORD         sizeof(uintptr_t)

/* What is done to the pointer. */
enum action { FREE, REALLOC, ASK_SIZE };

static void act(void *pointer, size_t bytes, enum action action)
{
    if (action == FREE)
        misuse_free(pointer);
    else if (action == REALLOC)
        misuse_realloc(pointer, 2 * bytes);
    else
        misuse_usable(pointer);
}

static _Alignas(PAGE) char global[FOREIGN];
static _Thread_local char of_thread[FOREIGN];
static const char constant[PAGE] = "a constant";

/* ---- foreign ---- */

static misuse_outcome at_address(size_t bytes, uintptr_t address, enum action action)
{
    misuse_block(bytes);
    act((void *)address, bytes, action);
    return misuse_judge(bytes);
}

static misuse_outcome address_free(size_t bytes, size_t address)
{
    return at_address(bytes, address, FREE);
}

static misuse_outcome address_realloc(size_t bytes, size_t address)
{
    return at_address(bytes, address, REALLOC);
}

static misuse_outcome address_ask_size(size_t bytes, size_t address)
{
    return at_address(bytes, address, ASK_SIZE);
}

/* Into the middle, so that what an allocator may look at before and behind is there. */
static misuse_outcome of_others(size_t bytes, char *memory, enum action action)
{
    misuse_block(bytes);
    misuse_watch(memory, FOREIGN);
    act(memory + PAGE, bytes, action);
    return misuse_judge(bytes);
}

static misuse_outcome stack(size_t bytes, size_t action)
{
    char memory[FOREIGN] __attribute__((aligned(64)));
    return of_others(bytes, memory, (enum action)action);
}

static misuse_outcome static_memory(size_t bytes, size_t action)
{
    return of_others(bytes, global, (enum action)action);
}

static misuse_outcome thread_local_memory(size_t bytes, size_t action)
{
    return of_others(bytes, of_thread, (enum action)action);
}

static char *map(void)
{
    char *memory = mmap(NULL, FOREIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    misuse_require(memory != MAP_FAILED);
    return memory;
}

static misuse_outcome mapped(size_t bytes, size_t action)
{
    return of_others(bytes, map(), (enum action)action);
}

static misuse_outcome of_brk(size_t bytes, size_t action)
{
    char *memory = sbrk(FOREIGN + PAGE);
    misuse_require(memory != (char *)-1);
    memory += -(uintptr_t)memory % PAGE;
    return of_others(bytes, memory, (enum action)action);
}

static misuse_outcome read_only(size_t bytes, size_t action)
{
    misuse_block(bytes);
    misuse_guard(constant, sizeof constant);
    act((void *)(uintptr_t)(constant + 64), bytes, (enum action)action);
    return misuse_judge(bytes);
}

static misuse_outcome code(size_t bytes, size_t action)
{
    const uintptr_t start = (uintptr_t)code & ~(uintptr_t)15;
    misuse_block(bytes);
    misuse_guard((void *)start, 64);
    act((void *)start, bytes, (enum action)action);
    return misuse_judge(bytes);
}

/* Without any block having been allocated by the program itself. */
static misuse_outcome first_of_all(size_t bytes, size_t action)
{
    (void)bytes;
    act(global + PAGE, PAGE, (enum action)action);
    misuse_guard(global, sizeof global);
    return misuse_judge(bytes);
}

static misuse_outcome in_thread(size_t bytes, size_t by)
{
    (void)by;
    misuse_watch(global, sizeof global);
    misuse_free_in_thread(global + PAGE);
    return misuse_judge(bytes);
}

static void forge_header(char *block, size_t size, uintptr_t flags)
{
    misuse_put(block - 2 * WORD, 0, 0);
    misuse_put(block - WORD, 0, size | flags);
}

/* A block as the C library makes them, in static memory: it is to be handed out afterwards. */
static misuse_outcome forged(size_t bytes, size_t by)
{
    (void)by;
    const size_t size = misuse_glibc_size(bytes);
    misuse_guard(global, sizeof global);
    forge_header(global + 64, size, GLIBC_IN_USE);
    if (size + 128 < sizeof global)
        forge_header(global + 64 + size, size, GLIBC_IN_USE);
    misuse_free(global + 64);
    return misuse_judge(bytes);
}

/* A page that the C library takes for a block which it mapped: it is to be unmapped. */
static misuse_outcome forged_mapped(size_t bytes, size_t by)
{
    (void)by;
    unsigned char resident[FOREIGN / PAGE];
    char *memory = map();
    misuse_guard(memory, FOREIGN);
    forge_header(memory + 2 * WORD, FOREIGN, GLIBC_MAPPED);
    misuse_free(memory + 2 * WORD);
    if (mincore(memory, FOREIGN, resident) != 0)
        return MISUSE_SUCCEEDED;
    return misuse_judge(bytes);
}

/* ---- close ---- */

static misuse_outcome before(size_t bytes, size_t distance)
{
    char *start = misuse_amid_others(bytes) - distance;
    if (misuse_starts(start))
        return MISUSE_NOT_APPLICABLE;
    misuse_free(start);
    return misuse_judge(bytes);
}

/* Where a block could start behind the last one that was allocated. */
static misuse_outcome behind_last(size_t bytes, size_t distance)
{
    char *block = misuse_block(bytes);
    const size_t rounded = (bytes + 15) & ~(size_t)15;
    misuse_free(block + rounded + distance);
    return misuse_judge(bytes);
}

static misuse_outcome far_behind(size_t bytes, size_t distance)
{
    char *block = misuse_block(bytes);
    misuse_free(block + distance);
    return misuse_judge(bytes);
}

/* ---- interior ---- */

static misuse_outcome inside(size_t bytes, size_t distance, enum action action)
{
    if (distance >= bytes)
        return MISUSE_NOT_APPLICABLE;
    act(misuse_amid_others(bytes) + distance, bytes, action);
    return misuse_judge(bytes);
}

static misuse_outcome inside_free(size_t bytes, size_t distance)
{
    return inside(bytes, distance, FREE);
}

static misuse_outcome inside_realloc(size_t bytes, size_t distance)
{
    return inside(bytes, distance, REALLOC);
}

static misuse_outcome middle(size_t bytes, size_t action)
{
    return inside(bytes, bytes / 2, (enum action)action);
}

static misuse_outcome last_byte(size_t bytes, size_t action)
{
    return inside(bytes, bytes - 1, (enum action)action);
}

/* The question alone has no effect: one that the size is told is that it went unnoticed. */
static misuse_outcome inside_ask_size(size_t bytes, size_t distance)
{
    char *block = misuse_amid_others(bytes);
    return misuse_if(misuse_usable(block + distance) != 0);
}

static misuse_outcome freed_ask_size(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_block(bytes);
    misuse_release(block);
    return misuse_if(misuse_usable(block) != 0);
}

static misuse_outcome inside_aligned(size_t bytes, size_t distance)
{
    char *block = misuse_aligned_alloc(PAGE, misuse_multiple(bytes, PAGE));
    misuse_watch(block, misuse_multiple(bytes, PAGE));
    misuse_free(block + distance);
    return misuse_judge(bytes);
}

static misuse_outcome inside_freed(size_t bytes, size_t distance)
{
    if (distance >= bytes)
        return MISUSE_NOT_APPLICABLE;
    char *block = misuse_amid_others(bytes);
    misuse_release(block);
    misuse_free(block + distance);
    return misuse_judge(bytes);
}

/* A header as the C library's, in a block: part of it is to be handed out. */
static misuse_outcome inside_forged(size_t bytes, size_t by)
{
    const size_t size = misuse_glibc_size(by);
    if (bytes < PAGE)
        return MISUSE_NOT_APPLICABLE;
    char *block = misuse_malloc(bytes);
    misuse_guard(block, bytes);
    forge_header(block + 64, size, GLIBC_IN_USE);
    forge_header(block + 64 + size, size, GLIBC_IN_USE);
    misuse_free(block + 64);
    return misuse_judge(by);
}

const misuse_case misuse_invalid[] = {
    { "free_of_1", "foreign", address_free, 1 },
    { "free_of_16", "foreign", address_free, 16 },
    { "free_of_small_address", "foreign", address_free, 4096 },
    { "free_of_unmapped", "foreign", address_free, UNMAPPED },
    { "free_of_noncanonical", "foreign", address_free, NONCANONICAL },
    { "free_of_last_address", "foreign", address_free, UINTPTR_MAX - 15 },
    { "realloc_of_small_address", "foreign", address_realloc, 4096 },
    { "realloc_of_unmapped", "foreign", address_realloc, UNMAPPED },
    { "size_of_unmapped", "foreign", address_ask_size, UNMAPPED },
    { "free_of_stack", "foreign", stack, FREE },
    { "realloc_of_stack", "foreign", stack, REALLOC },
    { "size_of_stack", "foreign", stack, ASK_SIZE },
    { "free_of_global", "foreign", static_memory, FREE },
    { "realloc_of_global", "foreign", static_memory, REALLOC },
    { "free_of_thread_local", "foreign", thread_local_memory, FREE },
    { "free_of_mapped", "foreign", mapped, FREE },
    { "realloc_of_mapped", "foreign", mapped, REALLOC },
    { "size_of_mapped", "foreign", mapped, ASK_SIZE },
    { "free_of_brk", "foreign", of_brk, FREE },
    { "free_of_constant", "foreign", read_only, FREE },
    { "free_of_code", "foreign", code, FREE },
    { "free_of_global_first_of_all", "foreign", first_of_all, FREE },
    { "free_of_global_in_thread", "foreign", in_thread, 0 },
    { "free_of_global_forged", "foreign", forged, 0 },
    { "free_of_mapped_forged", "foreign", forged_mapped, 0 },
    { "free_before_by_1", "close", before, 1 },
    { "free_before_by_8", "close", before, 8 },
    { "free_before_by_16", "close", before, 16 },
    { "free_behind", "close", behind_last, 0 },
    { "free_behind_by_1", "close", behind_last, 1 },
    { "free_behind_by_16", "close", behind_last, 16 },
    { "free_behind_by_1_MiB", "close", far_behind, (size_t)1 << 20 },
    { "free_behind_by_1_GiB", "close", far_behind, (size_t)1 << 30 },
    { "free_inside_by_1", "interior", inside_free, 1 },
    { "free_inside_by_4", "interior", inside_free, 4 },
    { "free_inside_by_8", "interior", inside_free, 8 },
    { "free_inside_by_16", "interior", inside_free, 16 },
    { "free_inside_by_page", "interior", inside_free, 4096 },
    { "free_inside_by_64_KiB", "interior", inside_free, 65536 },
    { "free_inside_middle", "interior", middle, FREE },
    { "free_inside_last_byte", "interior", last_byte, FREE },
    { "free_inside_aligned_by_16", "interior", inside_aligned, 16 },
    { "free_inside_aligned_by_1", "interior", inside_aligned, 1 },
    { "free_inside_freed", "interior", inside_freed, 16 },
    { "free_inside_forged", "interior", inside_forged, 512 },
    { "realloc_inside_by_1", "interior", inside_realloc, 1 },
    { "realloc_inside_by_16", "interior", inside_realloc, 16 },
    { "realloc_inside_middle", "interior", middle, REALLOC },
    { "size_inside_by_1", "interior", inside_ask_size, 1 },
    { "size_inside_by_4", "interior", inside_ask_size, 4 },
    { "size_of_freed", "double", freed_ask_size, 0 },
    { NULL, NULL, NULL, 0 },
};
