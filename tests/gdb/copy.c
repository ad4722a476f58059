/* copy.c - instances of one copy of emma, of each kind, with blocks in every state that there is. COPY
 * is its name, and its prefix. */
#include "facts.h"

#include <pthread.h>
#include <semaphore.h>

#define PASTE_EXPANDED(copy, name) copy##_##name
#define PASTE(copy, name)          PASTE_EXPANDED(copy, name)
#define FUNCTION(name)             PASTE(COPY, name)
#define TEXT_EXPANDED(word)        #word
#define TEXT(word)                 TEXT_EXPANDED(word)
#define NAMED(kind)                TEXT(COPY) "-" kind

enum { SIZE_MOST = 8192, SMALL = 48, MANY = 3000, FEW = 30, LARGE_BYTES = 300000, FREED_EACH = 3 };
enum { LEVELS = 8, ODD = 40, BINNED_BYTES = 32, STEP_LEAST = 1000, STEP_RUN_BYTES = 20000 };

#if defined(EMMA_HARDENED) && EMMA_HARDENED
#define HARDENED 1
#else
#define HARDENED 0
#endif

static emma *local, *aligned, *shared, *saved;
static emma *const *const all[] = { &local, &aligned, &shared, &saved };

static emma *create(const char *name, unsigned flags, size_t reserve_bytes)
{
    emma_options options = test_options();
    options.name = name;
    options.flags = flags;
    options.reserve_bytes = reserve_bytes;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

/* ---- what is told ---- */

static void tell_block(const emma *instance, const void *block, size_t bytes, const char *state)
{
    fprintf(facts, "block %p %p %zu %s\n", (const void *)instance, block, bytes, state);
}

/* Of a live block. */
static void tell_asked(const emma *instance, const void *block, size_t bytes)
{
    if (TEST_CHECKED_BUILD || HARDENED)
        fprintf(facts, "asked %p %p %zu\n", (const void *)instance, block, bytes);
}

static uintptr_t origin_of(const emma *instance)
{
    return (uintptr_t)instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
}

static bool tell_chunk(void *arg, const emma_chunk_stats *chunk)
{
    const emma *instance = arg;
    fprintf(facts, "chunk %p %#zx %d %zu %zu %zu %zu %zu\n", arg,
            (size_t)origin_of(instance) + chunk->offset_bytes, (int)chunk->kind, chunk->block_bytes,
            chunk->live_blocks, chunk->free_blocks, chunk->resident_bytes, chunk->bytes);
    return true;
}

static bool tell_live(void *arg, void *block, size_t bytes)
{
    tell_block(arg, block, 0, "live");
    tell_asked(arg, block, bytes);
    return true;
}

static void tell_stats(const emma *instance)
{
    const emma_stats stats = test_stats(instance);
#define TELL(name)                                                     \
    fprintf(facts, "stat %p " #name " %llu\n", (const void *)instance, \
            (unsigned long long)stats.name)
    TELL(limit_bytes);
    TELL(soft_limit_bytes);
    TELL(spare_bytes);
    TELL(reserve_bytes);
    TELL(footprint_bytes);
    TELL(peak_footprint_bytes);
    TELL(metadata_bytes);
    TELL(retained_bytes);
    TELL(checkpoint_bytes);
    TELL(moved_bytes);
    TELL(returned_bytes);
    TELL(refused_count);
    TELL(reentered_count);
    TELL(live_bytes);
    TELL(live_blocks);
    TELL(large_bytes);
    TELL(large_blocks);
#undef TELL
}

static const char *kind_of(const emma *instance)
{
    return instance == shared ? "shared" : instance == saved ? "checkpoints" : "local";
}

static void tell_instance(const emma *instance, const char *name)
{
    fprintf(facts, "instance %p %s %s %#zx %zu\n", (const void *)instance, name, kind_of(instance),
            (size_t)origin_of(instance), test_stats(instance).reserve_bytes);
    tell_stats(instance);
    CHECK(emma_walk_chunks(instance, tell_chunk, (void *)(uintptr_t)instance));
}

/* ---- blocks ---- */

/* A block of every class, and some runs; a part is freed again. */
static void fill(emma *instance)
{
    void *blocks[64];
    size_t bytes[64], count = 0;
    for (size_t size = 1; size <= SIZE_MOST; size += size / 5 + 1) {
        CHECK_LT(count, TEST_COUNT(blocks));
        blocks[count] = test_malloc_counted(instance, size, &bytes[count]);
        tell_asked(instance, blocks[count], size);
        count++;
    }
    for (size_t i = 0; i < FEW; i++) /* some of them not at multiples of 16, if they need not be */
        CHECK(emma_malloc(instance, ODD) != NULL);
    const char *binned = NULL;
    for (size_t i = 0; i < count; i++) {
        tell_block(instance, blocks[i], bytes[i], "live");
        if (bytes[i] == BINNED_BYTES)
            binned = (const char *)blocks[i] + bytes[i];
    }
    if (!HARDENED) /* the next one to be handed out, as all are in order */
        tell_block(instance, binned, BINNED_BYTES, "binned");
    for (size_t i = 0; i < FEW; i++) {
        size_t run_bytes;
        void *run = test_malloc_counted(instance, LARGE_BYTES / (i + 1), &run_bytes);
        if (i % FREED_EACH == 0) {
            emma_free(instance, run);
        } else {
            tell_block(instance, run, run_bytes, "run");
            tell_asked(instance, run, LARGE_BYTES / (i + 1));
        }
    }
}

static uintptr_t hidden; /* a page of it */

/* Many of one class, so that slabs are full, partly free, and of chunks. */
static void crowd(emma *instance)
{
    static void *blocks[MANY];
    size_t bytes = 0;
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = i % FEW == 0 ? test_malloc_counted(instance, SMALL, &bytes)
                                 : emma_malloc(instance, SMALL);
    for (size_t i = 0; i < MANY; i++) {
        const bool is_freed = i % FREED_EACH == 0 && i < MANY / 2;
        if (is_freed)
            emma_free(instance, blocks[i]);
        else
            tell_asked(instance, blocks[i], SMALL);
        tell_block(instance, blocks[i], bytes, is_freed ? "free" : "live");
    }
    if (HARDENED && (instance == local || instance == aligned)) /* nothing is freed after it */
        tell_block(instance, blocks[MANY / 2 - FREED_EACH], bytes, "delayed");
    hidden = (uintptr_t)blocks[FREED_EACH] & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
}

/* ---- the shared instance's other thread ---- */

static void *others[MANY];
static sem_t ready;

static void *other_thread(void *arg)
{
    for (size_t i = 0; i < MANY; i++)
        CHECK((others[i] = emma_malloc(shared, SMALL)) != NULL);
    sem_post(&ready);
    pause(); /* to the process's end: its heap is a live thread's */
    return arg;
}

/* The other thread's blocks are freed by this one: they are on several ways home, or kept. */
static void free_others(void)
{
    pthread_t thread;
    CHECK_EQ(sem_init(&ready, 0, 0), 0);
    CHECK_EQ(pthread_create(&thread, NULL, other_thread, NULL), 0);
    CHECK_EQ(sem_wait(&ready), 0);
    const size_t live = test_stats(shared).live_bytes;
    for (size_t i = 0; i < MANY / 2; i++)
        emma_free(shared, others[i]);
    const size_t bytes = (live - test_stats(shared).live_bytes) / (MANY / 2);
    for (size_t i = 0; i < MANY; i++) {
        tell_block(shared, others[i], bytes, i < MANY / 2 ? "under-way" : "live");
        if (i >= MANY / 2)
            tell_asked(shared, others[i], SMALL);
    }
    tell_block(shared, others[MANY / 2 - 1], bytes, HARDENED ? "delayed" : "kept");
}

/* ---- the acts ---- */

void FUNCTION(make)(size_t reserve_bytes)
{
    emma *gone = create(NAMED("gone"), 0, reserve_bytes);
    CHECK(emma_malloc(gone, SMALL) != NULL);
    local = create(NAMED("local"), 0, reserve_bytes);
    aligned = create(NAMED("aligned"), EMMA_ALIGN8, reserve_bytes);
    shared = create(NAMED("shared"), EMMA_SHARED, reserve_bytes);
    saved = create(NAMED("saved"), EMMA_CHECKPOINTS, reserve_bytes);
    for (size_t i = TEST_COUNT(all); i-- > 0;) { /* the local one last: a page of that is hidden */
        fill(*all[i]);
        crowd(*all[i]);
    }
    emma_destroy(gone);
}

void FUNCTION(tell)(void)
{
    unsigned level;
    /* An image, and further levels, each with a copy of page 0. */
    for (size_t i = 0; i < LEVELS; i++) {
        CHECK_EQ(emma_checkpoint(saved, &level), EMMA_OK);
        CHECK(emma_malloc(saved, LARGE_BYTES / (i + 1)) != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        CHECK(emma_walk(*all[i], tell_live, *all[i]));
    free_others();
    tell_instance(local, NAMED("local"));
    tell_instance(aligned, NAMED("aligned"));
    tell_instance(shared, NAMED("shared"));
    tell_instance(saved, NAMED("saved"));
}

/* Leaves some of the blocks out of core files. */
void FUNCTION(hide)(void)
{
    CHECK_EQ(madvise((void *)hidden, TEST_PAGE_BYTES, MADV_DONTDUMP), 0);
}

static void *put_off;

static void on_signal(int number)
{
    (void)number;
    emma_free(local, put_off);
    STOP_IN(stop_inside);
}

static void on_limit(void *arg, emma *instance, bool over)
{
    (void)arg, (void)instance, (void)over;
    raise(SIGUSR1);
}

/* Stops in a signal handler that came while a call is inside an instance, and freed a block of it. */
void FUNCTION(enter)(void)
{
    emma *before = local;
    emma_options options = test_options();
    options.name = NAMED("entered");
    options.soft_limit_bytes = LARGE_BYTES / 2;
    options.reserve_bytes = test_stats(before).reserve_bytes;
    options.limit_handler = on_limit;
    local = emma_create(&options);
    CHECK(local != NULL);
    size_t bytes;
    put_off = test_malloc_counted(local, SMALL, &bytes);
    tell_block(local, put_off, bytes, "put-off");
    signal(SIGUSR1, on_signal);
    fprintf(facts, "instance %p %s local %#zx %zu\n", (void *)local, NAMED("entered"),
            (size_t)origin_of(local), options.reserve_bytes);
    CHECK(emma_malloc(local, LARGE_BYTES) != NULL);
    emma_destroy(local);
    fprintf(facts, "gone %p\n", (void *)local);
    local = before;
}

/* Blocks are allocated and freed while gdb goes from instruction to instruction. */
void FUNCTION(step)(void)
{
    emma *const instances[] = { local, shared };
    for (size_t i = 0; i < TEST_COUNT(instances); i++) {
        emma *instance = instances[i];
        void *small = emma_malloc(instance, SMALL), *run = emma_malloc(instance, STEP_RUN_BYTES);
        CHECK(small && run);
        fprintf(facts, "step %p %p %p\n", (void *)instance, small, run);
        STOP_IN(stop_stepping);
        for (size_t size = STEP_LEAST; size < SIZE_MOST; size *= 4)
            emma_malloc(instance, size);
        emma_free(instance, small); /* behind the others, which could take its place */
        emma_free(instance, run);
        stop_stepped();
    }
}
