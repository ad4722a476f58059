/* faults ALLOCATOR BYTES [FAULT] - makes mistakes with blocks of so many bytes: all, or one.
 * ALLOCATOR is malloc, or what kind of instance of emma the blocks are in: local, shared,
 * checkpoints.
 *
 * Whatever the allocator, it is the same lines that take, use and give back: so compare.py can
 * compare what a tool says of the one with what it says of the other. Each mistake begins with a
 * line on stderr that tells where its block is. The blocks beside it stay, so that one byte off a
 * block is near another. */
#include "../core/emma_test.h"

#include <malloc.h>
#include <pthread.h>

#if defined(EMMA_ASAN) && EMMA_ASAN
#define FAULTS_END 1
#else
#define FAULTS_END 0
#endif

#define NOINLINE __attribute__((noinline))

static emma *instance; /* NULL: the blocks are malloc's */
static unsigned flags;
static size_t bytes;
static unsigned level;
static volatile char seen; /* keeps reads from being left out */

/* ---- the allocator ---- */

static NOINLINE void *take(size_t size)
{
    return instance ? emma_malloc(instance, size) : malloc(size);
}

static NOINLINE void *take_zeroed(size_t size)
{
    return instance ? emma_calloc(instance, 1, size) : calloc(1, size);
}

static NOINLINE void *take_aligned(size_t size)
{
    return instance ? emma_aligned_alloc(instance, 64, size) : memalign(64, size);
}

static NOINLINE void *resize(void *block, size_t size)
{
    return instance ? emma_realloc(instance, block, size) : realloc(block, size);
}

static NOINLINE void give(void *block)
{
    instance ? emma_free(instance, block) : free(block);
}

/* A misuse is reported, and the program goes on, as malloc's does in Valgrind; AddressSanitizer
 * ends it. */
static void misused(void *arg, emma *of, enum emma_misuse crime, const void *address,
                    const char *message)
{
    (void)arg, (void)of, (void)crime, (void)address;
    dprintf(STDERR_FILENO, "%s\n", message);
}

/* ---- three blocks in a row; the mistake is with the one in the middle ---- */

static void *row[3];

static void announce(const char *fault, const void *block)
{
    dprintf(STDERR_FILENO, "fault %s block %p bytes %zu\n", fault, block, bytes);
}

static NOINLINE char *row_take(const char *fault)
{
    for (size_t i = 0; i < TEST_COUNT(row); i++)
        CHECK((row[i] = take(bytes)) != NULL);
    announce(fault, row[1]);
    return row[1];
}

static NOINLINE void row_give(bool whole)
{
    for (size_t i = 0; i < TEST_COUNT(row); i++)
        if (i != 1 || whole)
            give(row[i]);
}

/* ---- mistakes ---- */

static NOINLINE void read_freed(const char *fault)
{
    volatile char *block = row_take(fault);
    block[bytes / 2] = 1;
    give((void *)block);
    seen = block[bytes / 2];
    row_give(false);
}

static NOINLINE void write_freed(const char *fault)
{
    volatile char *block = row_take(fault);
    give((void *)block);
    block[bytes - 1] = 1;
    row_give(false);
}

/* The first word is what emma links free blocks by. */
static NOINLINE void write_freed_word(const char *fault)
{
    char *block = row_take(fault);
    give(block);
    *(void *volatile *)(void *)block = NULL;
    row_give(false);
}

static NOINLINE void read_freed_later(const char *fault)
{
    enum { OTHERS = 100 };
    volatile char *block = row_take(fault);
    block[0] = 1;
    give((void *)block);
    for (int i = 0; i < OTHERS; i++)
        give(take(bytes));
    seen = block[0];
    row_give(false);
}

static NOINLINE void read_past(const char *fault)
{
    volatile char *block = row_take(fault);
    seen = block[bytes];
    row_give(true);
}

static NOINLINE void write_past(const char *fault)
{
    volatile char *block = row_take(fault);
    block[bytes] = 1;
    row_give(true);
}

static NOINLINE void read_before(const char *fault)
{
    volatile char *block = row_take(fault);
    seen = block[-1];
    row_give(true);
}

static NOINLINE void write_before(const char *fault)
{
    volatile char *block = row_take(fault);
    block[-1] = 1;
    row_give(true);
}

static NOINLINE void write_past_zeroed(const char *fault)
{
    volatile char *block = take_zeroed(bytes);
    announce(fault, (void *)block);
    block[bytes] = 1;
    give((void *)block);
}

static NOINLINE void write_past_aligned(const char *fault)
{
    volatile char *block = take_aligned(bytes);
    announce(fault, (void *)block);
    CHECK_EQ((uintptr_t)block % 64, 0);
    block[bytes] = 1;
    give((void *)block);
}

static NOINLINE void free_twice(const char *fault)
{
    char *block = row_take(fault);
    give(block);
    give(block);
    row_give(false);
}

static NOINLINE void resize_inside(const char *fault)
{
    char *block = row_take(fault);
    CHECK_EQ(resize(block + 16, bytes), NULL);
    row_give(true);
}

static NOINLINE void read_moved(const char *fault)
{
    volatile char *block = row_take(fault);
    block[0] = 1;
    row[1] = resize((void *)block, bytes + 1);
    seen = block[0];
    row_give(true);
}

static NOINLINE void read_past_grown(const char *fault)
{
    row_take(fault);
    volatile char *grown = row[1] = resize(row[1], bytes * 3);
    announce(fault, row[1]);
    seen = grown[bytes * 3];
    row_give(true);
}

static NOINLINE void read_past_shrunk(const char *fault)
{
    row_take(fault);
    volatile char *shrunk = row[1] = resize(row[1], bytes - 1);
    announce(fault, row[1]);
    seen = shrunk[bytes - 1];
    row_give(true);
}

static void *give_in_thread(void *block)
{
    give(block);
    return NULL;
}

static NOINLINE void read_freed_elsewhere(const char *fault)
{
    if (instance && !(flags & EMMA_SHARED))
        return;
    volatile char *block = row_take(fault);
    block[0] = 1;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, give_in_thread, (void *)block), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    seen = block[0];
    row_give(false);
}

/* ---- what is not initialised ---- */

static NOINLINE void use_unset(const char *fault)
{
    volatile char *block = row_take(fault);
    if (block[0])
        seen = 1;
    row_give(true);
}

static NOINLINE void use_zeroed(const char *fault)
{
    volatile char *block = take_zeroed(bytes);
    announce(fault, (void *)block);
    for (size_t i = 0; i < bytes; i++)
        if (block[i])
            seen = 1;
    give((void *)block);
}

/* What was written moves with the block, and so does what was not. */
static NOINLINE void use_moved_unset(const char *fault)
{
    volatile char *block = row_take(fault);
    block[0] = 1;
    block = row[1] = resize((void *)block, bytes * 2);
    announce(fault, row[1]);
    if (block[0])
        seen = 1;
    if (block[bytes - 1])
        seen = 2;
    row_give(true);
}

static NOINLINE void use_grown_unset(const char *fault)
{
    volatile char *block = take_zeroed(bytes);
    block = resize((void *)block, bytes * 2);
    announce(fault, (void *)block);
    if (block[bytes - 1])
        seen = 1;
    if (block[bytes])
        seen = 2;
    give((void *)block);
}

/* ---- all blocks at once; of malloc's the one is freed ---- */

static NOINLINE void reset(void *block)
{
    instance ? (void)emma_reset(instance) : free(block);
}

static NOINLINE void rollback(void *block)
{
    instance ? (void)emma_rollback(instance, level) : free(block);
}

static NOINLINE void read_reset(const char *fault)
{
    if (instance && (flags & EMMA_CHECKPOINTS))
        return;
    volatile char *block = take(bytes);
    announce(fault, (void *)block);
    block[0] = 1;
    reset((void *)block);
    seen = block[0];
}

static NOINLINE void checkpoint(void)
{
    if (instance)
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
}

static bool has_checkpoints(void)
{
    return !instance || (flags & EMMA_CHECKPOINTS);
}

static NOINLINE void read_rolled_back(const char *fault)
{
    if (!has_checkpoints())
        return;
    checkpoint();
    volatile char *block = take(bytes);
    announce(fault, (void *)block);
    block[0] = 1;
    rollback((void *)block);
    seen = block[0];
}

/* A block that is there before and after stays as it was known. */
static NOINLINE void read_past_kept(const char *fault)
{
    if (!has_checkpoints())
        return;
    volatile char *block = row_take(fault);
    block[0] = 1;
    checkpoint();
    seen = block[bytes];
    if (instance)
        emma_rollback(instance, level);
    seen = block[0];
    block[bytes] = 1;
    if (instance)
        CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
    seen = block[bytes];
    row_give(true);
}

/* ---- what nothing leads to any more ---- */

static NOINLINE void lose(const char *fault)
{
    announce(fault, take(bytes));
}

/* The other allocator's block is led to by this one's only. */
static void **holder;

static NOINLINE void hold(const char *fault)
{
    holder = take(bytes + sizeof *holder);
    announce(fault, holder);
    *holder = malloc(1);
}

/* ---- no mistake at all ---- */

static NOINLINE void nothing(const char *fault)
{
    enum { ROUNDS = 20 };
    for (int i = 0; i < ROUNDS; i++) {
        memset(row_take(fault), i, bytes);
        row[1] = resize(row[1], bytes * 2 + (size_t)i);
        memset(row[1], i, bytes * 2 + (size_t)i);
        row[1] = resize(row[1], 1);
        CHECK_EQ(*(char *)row[1], i);
        row_give(true);
    }
}

typedef struct fault {
    const char *name;
    void (*make)(const char *name);
} fault;

#define FAULT(name) \
    {               \
#name, name \
    }

/* What a rollback or a reset frees is not kept from being used again, so there is nothing to be
 * freed after them. What is lost is told of at the end. */
static const fault faults[] = {
    FAULT(read_freed),
    FAULT(write_freed),
    FAULT(write_freed_word),
    FAULT(read_freed_later),
    FAULT(read_past),
    FAULT(write_past),
    FAULT(read_before),
    FAULT(write_before),
    FAULT(write_past_zeroed),
    FAULT(write_past_aligned),
    FAULT(free_twice),
    FAULT(resize_inside),
    FAULT(read_moved),
    FAULT(read_past_grown),
    FAULT(read_past_shrunk),
    FAULT(read_freed_elsewhere),
    FAULT(use_unset),
    FAULT(use_zeroed),
    FAULT(use_moved_unset),
    FAULT(use_grown_unset),
    FAULT(nothing),
    FAULT(read_past_kept),
    FAULT(read_rolled_back),
    FAULT(read_reset),
    FAULT(hold),
    FAULT(lose),
};

static bool choose_allocator(const char *name)
{
    emma_options options = test_options();
    if (!FAULTS_END)
        options.misuse_handler = misused;
    if (strcmp(name, "shared") == 0)
        options.flags = EMMA_SHARED;
    else if (strcmp(name, "checkpoints") == 0)
        options.flags = EMMA_CHECKPOINTS;
    else if (strcmp(name, "local") != 0)
        return strcmp(name, "malloc") == 0;
    flags = options.flags;
    instance = emma_create(&options);
    return instance != NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3 || !choose_allocator(argv[1])) {
        for (size_t i = 0; i < TEST_COUNT(faults); i++)
            puts(faults[i].name);
        return argc > 1;
    }
    bytes = strtoul(argv[2], NULL, 0);
    for (size_t i = 0; i < TEST_COUNT(faults); i++)
        if (argc == 3 || strcmp(argv[3], faults[i].name) == 0)
            faults[i].make(faults[i].name);
    return 0;
}
