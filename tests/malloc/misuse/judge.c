/* judge.c - finds out what a misuse had for effect: misuse.h. */
#include "misuse.h"

#include <pthread.h>
#include <unistd.h>

void *(*volatile misuse_malloc)(size_t bytes) = malloc;
void *(*volatile misuse_calloc)(size_t count, size_t bytes) = calloc;
void *(*volatile misuse_realloc)(void *block, size_t bytes) = realloc;
void *(*volatile misuse_aligned_alloc)(size_t alignment, size_t bytes) = aligned_alloc;
void (*volatile misuse_free)(void *block) = free;
size_t (*volatile misuse_usable)(void *block) = malloc_usable_size;

#define WATCHED_MAX   8192
#define WATCHED_FIRST 0x80u /* the bytes that memory in use is filled with, one after the other */
#define WATCHED_LAST  0xbfu
#define IN_A_ROW      8

/* How much is allocated to see what is handed out, and how many blocks of it at most. */
#define PROBE_BYTES ((size_t)4 << 20)
#define PROBES_MAX  ((size_t)2048)

typedef struct watched {
    const unsigned char *start;
    size_t bytes;
    unsigned char byte; /* 0: not filled */
} watched;

static watched in_use[WATCHED_MAX];
static size_t in_use_count;

void misuse_require(bool condition)
{
    if (!condition)
        _exit(MISUSE_CANNOT_RUN);
}

static watched *use(const void *start, size_t bytes)
{
    misuse_require(start && in_use_count < WATCHED_MAX);
    watched *added = &in_use[in_use_count++];
    *added = (watched){ .start = (const unsigned char *)start, .bytes = bytes };
    return added;
}

void misuse_guard(const void *start, size_t bytes)
{
    use(start, bytes);
}

void misuse_watch(void *start, size_t bytes)
{
    const size_t distinct = WATCHED_LAST - WATCHED_FIRST + 1;
    watched *added = use(start, bytes);
    added->byte = (unsigned char)(WATCHED_FIRST + in_use_count % distinct);
    memset(start, added->byte, bytes);
}

void misuse_forget(const void *start)
{
    for (size_t i = in_use_count; i-- > 0;) {
        if (in_use[i].start == start) {
            in_use[i] = in_use[--in_use_count];
            return;
        }
    }
}

bool misuse_starts(const void *start)
{
    for (size_t i = 0; i < in_use_count; i++)
        if (in_use[i].start == start)
            return true;
    return false;
}

void *misuse_block(size_t bytes)
{
    void *block = misuse_malloc(bytes);
    misuse_watch(block, bytes);
    return block;
}

void misuse_release(void *block)
{
    misuse_forget(block);
    misuse_free(block);
}

char *misuse_amid_others(size_t bytes)
{
    char *middle = NULL;
    for (size_t i = 0; i < MISUSE_OTHERS; i++) {
        char *block = (char *)misuse_block(bytes);
        if (i == MISUSE_OTHERS / 2)
            middle = block;
    }
    return middle;
}

static size_t probes(size_t bytes)
{
    const size_t count = PROBE_BYTES / bytes;
    return count < MISUSE_PROBES ? MISUSE_PROBES : count > PROBES_MAX ? PROBES_MAX : count;
}

bool misuse_take_again(const void *block, size_t bytes)
{
    for (size_t i = probes(bytes); i > 0; i--)
        if (misuse_block(bytes) == block)
            return true;
    return false;
}

static bool is_intact(const watched *each)
{
    return !each->byte || (each->start[0] == each->byte &&
                           memcmp(each->start, each->start + 1, each->bytes - 1) == 0);
}

static bool overlaps(const watched *each, const unsigned char *start, size_t bytes)
{
    return start < each->start + each->bytes && each->start < start + bytes;
}

static bool overlaps_any(const void *start, size_t bytes)
{
    for (size_t i = 0; i < in_use_count; i++)
        if (overlaps(&in_use[i], (const unsigned char *)start, bytes))
            return true;
    return false;
}

misuse_outcome misuse_if(bool succeeded)
{
    return succeeded ? MISUSE_SUCCEEDED : MISUSE_WITHOUT_EFFECT;
}

misuse_outcome misuse_judge(size_t bytes)
{
    for (size_t i = 0; i < in_use_count; i++)
        if (!is_intact(&in_use[i]))
            return MISUSE_SUCCEEDED;
    for (size_t i = probes(bytes); i > 0; i--) {
        void *block = misuse_malloc(bytes);
        if (!block)
            break;
        if (overlaps_any(block, bytes))
            return MISUSE_SUCCEEDED;
        misuse_guard(block, bytes);
    }
    return MISUSE_WITHOUT_EFFECT;
}

bool misuse_sees_watched(const void *start, size_t bytes)
{
    const volatile unsigned char *each = (const volatile unsigned char *)start;
    unsigned char last = 0;
    for (size_t i = 0, row = 0; i < bytes; i++) {
        const unsigned char byte = each[i];
        row = byte == last ? row + 1 : 1;
        last = byte;
        if (row >= IN_A_ROW && byte >= WATCHED_FIRST && byte <= WATCHED_LAST)
            return true;
    }
    return false;
}

void misuse_in_thread(void *(*function)(void *), void *arg)
{
    pthread_t thread;
    misuse_require(pthread_create(&thread, NULL, function, arg) == 0);
    misuse_require(pthread_join(thread, NULL) == 0);
}

static void *free_it(void *block)
{
    misuse_free(block);
    return NULL;
}

void misuse_free_in_thread(void *block)
{
    misuse_in_thread(free_it, block);
}
