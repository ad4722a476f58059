/* emma_test.h - what the tests of the core share: checks that print what they saw, a seeded
 * generator, a pattern for block contents, readers of /proc, and a runner for code that must die.
 *
 * Nothing here takes memory from the C library's heap: a test that compares /proc/self/maps before
 * and after must not change them itself. Include this file first, also before the core in a test
 * that compiles it.
 *
 * Environment: EMMA_TEST_SEED (a number, or "random"; the first argument does the same) and
 * EMMA_TEST_SCALE (percent of the usual number of steps). */
#ifndef EMMA_TEST_H
#define EMMA_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../core/emma.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SHADOW_MEMORY 1
#endif
#endif
#ifndef TEST_SHADOW_MEMORY
#define TEST_SHADOW_MEMORY 0
#endif

#if defined(EMMA_AUDIT) && EMMA_AUDIT
#define TEST_SLOW_BUILD 1
#else
#define TEST_SLOW_BUILD 0
#endif

#if (defined(EMMA_CANARIES) && EMMA_CANARIES) || (defined(EMMA_HARDENED) && EMMA_HARDENED)
#define TEST_CANARIES 1
#else
#define TEST_CANARIES 0
#endif

#if defined(EMMA_CHECKS) && EMMA_CHECKS
#define TEST_CHECKED_BUILD 1
#else
#define TEST_CHECKED_BUILD 0
#endif

/* 1: built with --coverage, by the preset of that name. */
#ifndef TEST_COVERAGE
#define TEST_COVERAGE 0
#endif

#if TEST_COVERAGE
void __gcov_dump(void);
void __gcov_reset(void);

/* For a process that ends in another way than by exit. */
static inline void test_write_counters(void)
{
    __gcov_dump();
    __gcov_reset();
}

#define _exit(status) (test_write_counters(), _exit(status))
#else
static inline void test_write_counters(void)
{
}
#endif

enum { TEST_EXIT_SKIPPED = 77 }; /* ctest's SKIP_RETURN_CODE */
enum { TEST_PAGE_BYTES = 4096 };
#define TEST_KIB ((size_t)1024)
#define TEST_MIB (TEST_KIB * 1024)
#define TEST_GIB (TEST_MIB * 1024)
/* What a checked build's map takes beside blocks of so many bytes. */
#define TEST_MARKS_BYTES(bytes) (TEST_CHECKED_BUILD ? (bytes) / 16 + TEST_PAGE_BYTES : 0)
#define TEST_COUNT(array)       (sizeof(array) / sizeof((array)[0]))

/* Printed with every failure, so that it can be repeated. */
static uint64_t test_seed;

/* ---- checks ---- */

/* What ends a failed test; a fuzzer wants abort. _exit: a failed child of fork must not flush its
 * parent's buffers. */
#ifndef TEST_END_FAILED
#define TEST_END_FAILED() _exit(1)
#endif

static inline _Noreturn void test_fail(const char *file, int line, const char *text)
{
    dprintf(STDERR_FILENO, "%s:%d: failed: %s (seed %llu)\n", file, line, text,
            (unsigned long long)test_seed);
    TEST_END_FAILED();
}

static inline _Noreturn void test_fail_compare(const char *file, int line, const char *text,
                                               uint64_t left, uint64_t right)
{
    dprintf(STDERR_FILENO, "%s:%d: failed: %s: %llu (%#llx) against %llu (%#llx) (seed %llu)\n",
            file, line, text, (unsigned long long)left, (unsigned long long)left,
            (unsigned long long)right, (unsigned long long)right, (unsigned long long)test_seed);
    TEST_END_FAILED();
}

#define CHECK(condition)                               \
    do {                                               \
        if (!(condition))                              \
            test_fail(__FILE__, __LINE__, #condition); \
    } while (0)

/* Both sides are evaluated once; pointers and integers alike. */
#define CHECK_COMPARE(left, relation, right)                                                 \
    do {                                                                                     \
        const uint64_t test_left = (uint64_t)(uintptr_t)(left);                              \
        const uint64_t test_right = (uint64_t)(uintptr_t)(right);                            \
        if (!(test_left relation test_right))                                                \
            test_fail_compare(__FILE__, __LINE__, #left " " #relation " " #right, test_left, \
                              test_right);                                                   \
    } while (0)
#define CHECK_EQ(left, right) CHECK_COMPARE(left, ==, right)
#define CHECK_NE(left, right) CHECK_COMPARE(left, !=, right)
#define CHECK_LE(left, right) CHECK_COMPARE(left, <=, right)
#define CHECK_LT(left, right) CHECK_COMPARE(left, <, right)
#define CHECK_GE(left, right) CHECK_COMPARE(left, >=, right)
#define CHECK_GT(left, right) CHECK_COMPARE(left, >, right)

static inline _Noreturn void test_skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(TEST_EXIT_SKIPPED);
}

/* ---- random numbers ---- */

typedef struct test_rng {
    uint64_t state; /* never 0 */
} test_rng;

static inline uint64_t test_random(test_rng *rng)
{
    rng->state ^= rng->state >> 12;
    rng->state ^= rng->state << 25;
    rng->state ^= rng->state >> 27;
    return rng->state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline size_t test_below(test_rng *rng, size_t bound)
{
    return (size_t)((test_random(rng) >> 11) % bound);
}

static inline bool test_chance(test_rng *rng, unsigned percent)
{
    return test_below(rng, 100) < percent;
}

/* A run from a seed of its own: printed, and shown with any failure. */
static inline test_rng test_rng_from(uint64_t seed)
{
    test_seed = seed;
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    test_rng rng = { seed * 2 + 1 };
    for (int i = 0; i < 8; i++)
        test_random(&rng);
    return rng;
}

/* The seed asked for by the first argument or the environment, else `usual`. */
static inline uint64_t test_choose_seed(int argc, char **argv, uint64_t usual)
{
    const char *text = argc > 1 ? argv[1] : getenv("EMMA_TEST_SEED");
    if (!text || !*text)
        return usual;
    if (strcmp(text, "random") == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return ((uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec) & UINT32_MAX;
    }
    return strtoull(text, NULL, 0);
}

/* Sizes as programs ask for them: mostly small, few large, with the odd one next to a power of two.
 */
static inline size_t test_random_size(test_rng *rng, size_t largest)
{
    static const size_t tops[] = { 64,   64,   64,   128,   128,   256,    256,
                                   1024, 1024, 4096, 16384, 65536, 262144, 2097152 };
    size_t top = tops[test_below(rng, TEST_COUNT(tops))];
    if (top > 65536 && test_chance(rng, 80))
        top = 512;
    size_t bytes = test_below(rng, top + 1);
    if (test_chance(rng, 10))
        bytes = ((size_t)1 << test_below(rng, 16)) + test_below(rng, 3) - 1;
    return bytes < largest ? bytes : largest;
}

/* ---- block contents ---- */

/* The pattern depends on the tag and the distance from the block's start only, so that a block
 * which was moved and resized still verifies. */
static inline uint64_t test_pattern(uint64_t tag, size_t word)
{
    return (tag + word) * UINT64_C(0x9E3779B97F4A7C15) ^ tag;
}

/* For loops over the bytes of blocks: a fuzzer learns nothing there, at great cost. */
#ifdef __clang__
#define TEST_UNTRACED __attribute__((noinline, unused, no_sanitize("coverage")))
#else
#define TEST_UNTRACED inline
#endif

static TEST_UNTRACED void test_fill(void *block, size_t bytes, uint64_t tag)
{
    unsigned char *at = block;
    size_t word = 0;
    for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), word++) {
        const uint64_t value = test_pattern(tag, word);
        memcpy(at + word * sizeof value, &value, sizeof value);
    }
    const uint64_t value = test_pattern(tag, word);
    memcpy(at + word * sizeof value, &value, bytes);
}

static TEST_UNTRACED bool test_filled(const void *block, size_t bytes, uint64_t tag)
{
    const unsigned char *at = block;
    size_t word = 0;
    for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), word++) {
        uint64_t found;
        memcpy(&found, at + word * sizeof found, sizeof found);
        if (found != test_pattern(tag, word))
            return false;
    }
    const uint64_t value = test_pattern(tag, word);
    return memcmp(at + word * sizeof value, &value, bytes) == 0;
}

static inline bool test_zeroed(const void *block, size_t bytes)
{
    const unsigned char *at = block;
    return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

/* ---- instances ---- */

/* A misuse_handler for which only one crime is expected: counts it. `arg` is a test_crimes. */
typedef struct test_crimes {
    enum emma_misuse expected;
    unsigned found;
} test_crimes;

static inline void test_count_crime(void *arg, emma *instance, enum emma_misuse crime,
                                    const void *address, const char *message)
{
    (void)instance, (void)address, (void)message;
    test_crimes *crimes = arg;
    CHECK_EQ(crime, crimes->expected);
    crimes->found++;
}

static inline emma_stats test_stats(const emma *instance)
{
    emma_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_bytes = sizeof stats;
    emma_get_stats(instance, &stats);
    return stats;
}

static inline emma_options test_options(void)
{
    const emma_options options = EMMA_OPTIONS_INIT;
    return options;
}

/* ---- chunks ---- */

typedef struct test_chunks {
    size_t end; /* of what was visited */
    size_t live_blocks, live_bytes, large_blocks, retained_bytes, resident_bytes;
} test_chunks;

static inline bool test_sum_chunk(void *arg, const emma_chunk_stats *chunk)
{
    test_chunks *sum = arg;
    CHECK_EQ(chunk->struct_bytes, sizeof *chunk);
    CHECK_GE(chunk->offset_bytes, sum->end);
    CHECK_GT(chunk->bytes, 0);
    CHECK_LE(chunk->resident_bytes, chunk->bytes);
    CHECK_LE(chunk->live_bytes,
             chunk->resident_bytes + TEST_PAGE_BYTES); /* the first page's blocks */
    if (chunk->block_bytes != 0)
        CHECK_EQ(chunk->live_blocks * chunk->block_bytes, chunk->live_bytes);
    sum->end = chunk->offset_bytes + chunk->bytes;
    sum->live_blocks += chunk->live_blocks;
    sum->live_bytes += chunk->live_bytes;
    sum->large_blocks += chunk->kind == EMMA_CHUNK_RUN;
    sum->retained_bytes += chunk->kind == EMMA_CHUNK_FREE ? chunk->resident_bytes : 0;
    sum->resident_bytes += chunk->resident_bytes;
    return true;
}

/* What the chunks of an instance that nobody else uses add up to is what its figures say. */
static inline void test_compare_chunks(const emma *instance)
{
    test_chunks sum = { 0 };
    const emma_stats stats = test_stats(instance);
    CHECK(emma_walk_chunks(instance, test_sum_chunk, &sum));
    CHECK_EQ(sum.live_blocks, stats.live_blocks);
    CHECK_EQ(sum.live_bytes, stats.live_bytes);
    CHECK_EQ(sum.large_blocks, stats.large_blocks);
    CHECK_EQ(sum.retained_bytes, stats.retained_bytes);
    CHECK_EQ(sum.resident_bytes + stats.metadata_bytes + stats.checkpoint_bytes,
             stats.footprint_bytes);
}

static inline emma *test_create(size_t limit_bytes, unsigned flags)
{
    emma_options options = test_options();
    options.limit_bytes = limit_bytes;
    options.flags = flags;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

/* ---- the surroundings ---- */

static inline bool test_file_mentions(const char *path, const char *word)
{
    static char text[1 << 16];
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    size_t used = 0;
    ssize_t got;
    while (used < sizeof text - 1 && (got = read(file, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)got;
    close(file);
    text[used] = '\0';
    return strstr(text, word) != NULL;
}

static inline bool test_under_valgrind(void)
{
    return test_file_mentions("/proc/self/maps", "/vgpreload_");
}

/* valgrind and the sanitizers map memory of their own at any time. */
static inline void test_need_own_maps(void)
{
    if (TEST_SHADOW_MEMORY || test_under_valgrind())
        test_skip("this tool changes the process's mappings");
    /* The C library makes its heap now, not at the first line that is printed: where instances have all the space
     * beside it then, it would map memory elsewhere. */
    void *volatile first = malloc(1);
    free(first);
}

/* A number of steps, by the scale that was asked for. */
static inline size_t test_scaled(size_t usual)
{
    const char *percent = getenv("EMMA_TEST_SCALE");
    if (percent && *percent)
        usual = usual * strtoul(percent, NULL, 10) / 100;
    return usual > 0 ? usual : 1;
}

/* The number of steps to make: fewer where each one is slow. */
static inline size_t test_steps(size_t usual)
{
    enum { SLOW_DIVISOR = 20 };
    const size_t steps = test_scaled(usual);
    if (TEST_SLOW_BUILD || test_under_valgrind())
        return steps < SLOW_DIVISOR ? 1 : steps / SLOW_DIVISOR;
    return steps;
}

/* ---- /proc/self/maps ---- */

typedef struct test_range {
    uintptr_t start, end;
    unsigned access; /* PROT_* */
} test_range;

enum { TEST_MAPS_MAX = 70000 }; /* above the kernel's default limit of 65,530 */

typedef struct test_maps {
    size_t count;
    test_range ranges[TEST_MAPS_MAX];
} test_maps;

typedef void (*test_line_fn)(void *arg, const char *line);

static inline void test_read_lines(const char *path, test_line_fn take, void *arg)
{
    static char text[1 << 16];
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    size_t used = 0;
    ssize_t got;
    while ((got = read(file, text + used, sizeof text - 1 - used)) > 0) {
        used += (size_t)got;
        text[used] = '\0';
        char *line = text, *end;
        while ((end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            take(arg, line);
            line = end + 1;
        }
        used = (size_t)(text + used - line);
        memmove(text, line, used);
    }
    CHECK_EQ(got, 0);
    close(file);
}

static inline void test_maps_add_line(void *arg, const char *line)
{
    test_maps *maps = arg;
    /* These two change by themselves: the stack grows, stdio allocates. That the core leaves the
     * heap alone is tested with a system-call filter. */
    if (strstr(line, "[stack]") || strstr(line, "[heap]"))
        return;
    CHECK_LT(maps->count, TEST_MAPS_MAX);
    test_range *range = &maps->ranges[maps->count++];
    char *rest;
    range->start = strtoul(line, &rest, 16);
    range->end = strtoul(rest + 1, &rest, 16);
    range->access = (rest[1] == 'r' ? PROT_READ : 0) | (rest[2] == 'w' ? PROT_WRITE : 0) |
                    (rest[3] == 'x' ? PROT_EXEC : 0);
}

/* Reads the process's mappings, one range for each line of the file. */
static inline void test_maps_read(test_maps *maps)
{
    maps->count = 0;
    test_read_lines("/proc/self/maps", test_maps_add_line, maps);
}

/* Joins neighbours of the same access, as the kernel may or may not have done. */
static inline void test_maps_join(test_maps *maps)
{
    size_t kept = 0;
    for (size_t i = 0; i < maps->count; i++) {
        test_range *last = kept > 0 ? &maps->ranges[kept - 1] : NULL;
        if (last && last->end == maps->ranges[i].start && last->access == maps->ranges[i].access)
            last->end = maps->ranges[i].end;
        else
            maps->ranges[kept++] = maps->ranges[i];
    }
    maps->count = kept;
}

/* True if both cover the same addresses with the same access; says what differs. */
static inline bool test_maps_same(test_maps *before, test_maps *after)
{
    test_maps_join(before);
    test_maps_join(after);
    for (size_t i = 0; i < before->count || i < after->count; i++) {
        const test_range none = { 0, 0, 0 };
        const test_range *was = i < before->count ? &before->ranges[i] : &none;
        const test_range *is = i < after->count ? &after->ranges[i] : &none;
        if (was->start != is->start || was->end != is->end || was->access != is->access) {
            dprintf(STDERR_FILENO, "mapping was %#zx-%#zx access %u, is %#zx-%#zx access %u\n",
                    (size_t)was->start, (size_t)was->end, was->access, (size_t)is->start,
                    (size_t)is->end, is->access);
            return false;
        }
    }
    return true;
}

/* Adds a range behind the others, joined to the last one if it touches it, whatever the access. */
static inline void test_maps_append(test_maps *maps, uintptr_t start, uintptr_t end)
{
    test_range *last = maps->count > 0 ? &maps->ranges[maps->count - 1] : NULL;
    if (last && last->end == start)
        last->end = end;
    else
        maps->ranges[maps->count++] = (test_range){ start, end, PROT_NONE };
}

/* The parts of `after` that `before` does not cover, in `added`. */
static inline void test_maps_added(const test_maps *before, const test_maps *after,
                                   test_maps *added)
{
    size_t b = 0;
    added->count = 0;
    for (size_t i = 0; i < after->count; i++) {
        test_range left = after->ranges[i];
        while (b < before->count && before->ranges[b].end <= left.start)
            b++;
        for (size_t c = b; left.start < left.end; c++) {
            const bool last = c == before->count || before->ranges[c].start >= left.end;
            const uintptr_t stop = last ? left.end : before->ranges[c].start;
            if (stop > left.start)
                test_maps_append(added, left.start, stop);
            if (last)
                break;
            left.start = before->ranges[c].end;
        }
    }
}

/* How many of the process's mappings lie in these ranges now: what the kernel counts against its
 * limit. */
static inline size_t test_maps_count_within(const test_maps *own)
{
    static test_maps now;
    size_t count = 0;
    test_maps_read(&now);
    for (size_t i = 0; i < now.count; i++) {
        for (size_t k = 0; k < own->count; k++) {
            if (now.ranges[i].start < own->ranges[k].end &&
                now.ranges[i].end > own->ranges[k].start) {
                count++;
                break;
            }
        }
    }
    return count;
}

/* Pages of a range that the process has touched, be it by reading: mincore counts the zero page
 * too. */
static inline size_t test_touched_bytes(uintptr_t start, uintptr_t end)
{
    enum { BATCH_PAGES = 1 << 16 };
    static unsigned char pages[BATCH_PAGES];
    size_t touched = 0;
    while (start < end) {
        size_t bytes = end - start;
        if (bytes > (size_t)BATCH_PAGES * TEST_PAGE_BYTES)
            bytes = (size_t)BATCH_PAGES * TEST_PAGE_BYTES;
        CHECK_EQ(mincore((void *)start, bytes, pages), 0);
        for (size_t page = 0; page < bytes / TEST_PAGE_BYTES; page++)
            touched += (pages[page] & 1u) * (size_t)TEST_PAGE_BYTES;
        start += bytes;
    }
    return touched;
}

typedef struct test_resident {
    const test_maps *own;
    test_range mapping; /* whose lines are being read */
    size_t bytes;
} test_resident;

/* Where the kernel has joined a mapping of ours to a stranger's, only what is touched in our part
 * can be resident there. */
static inline void test_resident_add(test_resident *sum, size_t rss_bytes)
{
    for (size_t i = 0; i < sum->own->count; i++) {
        const test_range *own = &sum->own->ranges[i];
        if (sum->mapping.start >= own->start && sum->mapping.end <= own->end) {
            sum->bytes += rss_bytes;
        } else if (sum->mapping.start < own->end && sum->mapping.end > own->start) {
            const bool later = sum->mapping.start > own->start;
            const bool longer = sum->mapping.end > own->end;
            const size_t touched = test_touched_bytes(later ? sum->mapping.start : own->start,
                                                      longer ? own->end : sum->mapping.end);
            sum->bytes += touched < rss_bytes ? touched : rss_bytes;
        }
    }
}

static inline void test_resident_line(void *arg, const char *line)
{
    test_resident *sum = arg;
    char *rest;
    if (strncmp(line, "Rss:", 4) == 0) {
        test_resident_add(sum, strtoul(line + 4, NULL, 10) * TEST_KIB);
    } else if (line[0] < 'A' || line[0] > 'Z') { /* a mapping begins with its address */
        sum->mapping.start = strtoul(line, &rest, 16);
        sum->mapping.end = strtoul(rest + 1, &rest, 16);
    }
}

/* Bytes of these ranges that are in memory, as the kernel counts resident memory. */
static inline size_t test_resident_bytes(const test_maps *own)
{
    test_resident sum = { own, { 0, 0, 0 }, 0 };
    test_read_lines("/proc/self/smaps", test_resident_line, &sum);
    return sum.bytes;
}

/* Creates an instance and finds out which address ranges it took. */
static inline emma *test_create_mapped(const emma_options *options, test_maps *own)
{
    static test_maps before, after;
    test_maps_read(&before);
    emma *instance = emma_create(options);
    CHECK(instance != NULL);
    test_maps_read(&after);
    test_maps_added(&before, &after, own);
    CHECK_GT(own->count, 0);
    return instance;
}

/* Bit n of the answer's hash is moved by descriptor n: which ones are open, and on what. */
static inline uint64_t test_descriptors(void)
{
    enum { DESCRIPTORS = 1024 };
    uint64_t hash = 0;
    for (int i = 0; i < DESCRIPTORS; i++) {
        const int flags = fcntl(i, F_GETFD);
        if (flags >= 0)
            hash = (hash + (uint64_t)i * 4 + (uint64_t)flags + 1) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return hash;
}

/* ---- code that must die, or must run in a process of its own ---- */

typedef void (*test_child_fn)(void *arg);

/* Lets a trap end the process when this returns. */
static inline void test_on_trap(int number)
{
    test_write_counters();
    signal(number, SIG_DFL);
}

/* Runs `act` in a child; its stderr goes to `text`. Returns the child's wait status. */
static inline int test_run_child(test_child_fn act, void *arg, char *text, size_t text_bytes)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGILL, test_on_trap); /* a sanitizer would catch it */
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        act(arg);
        exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while (used < text_bytes - 1 && (got = read(ends[0], text + used, text_bytes - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

/* Runs `act` in a child, which must end well. */
static inline void test_in_child(test_child_fn act, void *arg)
{
    static char text[4096];
    const int status = test_run_child(act, arg, text, sizeof text);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        dprintf(STDERR_FILENO, "child: wait status %#x, stderr: %s\n", (unsigned)status, text);
        _exit(1);
    }
}

/* Runs `act` in a child, which must write exactly one line to stderr, `message`, and die of a trap. It
 * may itself set what that is, in memory from test_share. */
static inline void test_dies(test_child_fn act, void *arg, const char *message)
{
    static char text[4096];
    const int status = test_run_child(act, arg, text, sizeof text);
    const size_t length = strlen(message);
    if (strncmp(text, message, length) != 0 || strcmp(text + length, "\n") != 0 ||
        !WIFSIGNALED(status) || WTERMSIG(status) != SIGILL) {
        dprintf(STDERR_FILENO, "expected a trap and \"%s\\n\"; got wait status %#x and \"%s\"\n",
                message, (unsigned)status, text);
        _exit(1);
    }
}

/* Zeroed memory that children write to as well. */
static inline void *test_share(size_t bytes)
{
    void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    return shared;
}

/* ---- misuse: what the line is to be ---- */

enum { TEST_PLACE_BYTES = 80, TEST_LINE_BYTES = 256 };

/* The line for a crime of the instance of this name, as the host's handler gets it. */
static inline void test_misuse_line(char line[TEST_LINE_BYTES], const char *name, const char *crime,
                                    const void *address, const char *place)
{
    snprintf(line, TEST_LINE_BYTES, "emma: %s: %s %#zx (%s)", name, crime, (size_t)address, place);
}

typedef struct test_place_search {
    size_t offset;
    emma_chunk_stats chunk; /* with that offset in it; 0 bytes: none that has memory */
} test_place_search;

static inline bool test_place_visit(void *arg, const emma_chunk_stats *chunk)
{
    test_place_search *search = arg;
    if (search->offset - chunk->offset_bytes < chunk->bytes)
        search->chunk = *chunk;
    return true;
}

/* What the line says of a place that is, or was, of a block of `block_bytes`, as its class or run has. */
static inline void test_misuse_place(char place[TEST_PLACE_BYTES], const emma *instance,
                                     const void *address, size_t block_bytes)
{
    const uintptr_t origin = (uintptr_t)instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
    test_place_search search = { (uintptr_t)address - origin, { 0 } };
    CHECK(emma_owns(instance, (void *)origin) && !emma_owns(instance, (void *)(origin - 1)));
    CHECK(emma_walk_chunks(instance, test_place_visit, &search));
    const emma_chunk_stats *chunk = &search.chunk;
    if (chunk->bytes == 0 || chunk->kind == EMMA_CHUNK_FREE)
        snprintf(place, TEST_PLACE_BYTES, "free chunk");
    else if (chunk->kind == EMMA_CHUNK_YOUNG)
        snprintf(place, TEST_PLACE_BYTES, "%zu-byte class", block_bytes);
    else
        snprintf(place, TEST_PLACE_BYTES, "%zu-byte %s", chunk->block_bytes,
                 chunk->kind == EMMA_CHUNK_RUN ? "run" : "class");
}

/* Allocates; tells the bytes of the block's class or run, too. */
static inline void *test_malloc_counted(emma *instance, size_t bytes, size_t *block_bytes)
{
    const size_t before = test_stats(instance).live_bytes;
    void *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    *block_bytes = test_stats(instance).live_bytes - before;
    return block;
}

#endif
