/* threads.c - double frees by several threads; those of the kind "race" at the same time, where a
 * check and the note of it would have to be one step. */
#include "misuse.h"

#include <pthread.h>

#define ROUNDS 200

typedef struct shared_block {
    void *block;
    size_t bytes;
} shared_block;

static void *allocate(void *arg)
{
    shared_block *shared = arg;
    shared->block = misuse_malloc(shared->bytes);
    return NULL;
}

static void *release_twice(void *block)
{
    misuse_free(block);
    misuse_free(block);
    return NULL;
}

/* A thread was there before: what its start allocates is not to take the place of what was
 * freed. */
static misuse_outcome here_then_there(size_t bytes, size_t by)
{
    shared_block early = { NULL, bytes };
    (void)by;
    misuse_in_thread(allocate, &early);
    void *block = misuse_malloc(bytes);
    misuse_free(block);
    misuse_free_in_thread(block);
    return misuse_judge(bytes);
}

static misuse_outcome there_then_here(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_malloc(bytes);
    misuse_free_in_thread(block);
    misuse_free(block);
    return misuse_judge(bytes);
}

static misuse_outcome there_twice(size_t bytes, size_t by)
{
    (void)by;
    misuse_in_thread(release_twice, misuse_malloc(bytes));
    return misuse_judge(bytes);
}

static misuse_outcome in_two_others(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_malloc(bytes);
    misuse_free_in_thread(block);
    misuse_free_in_thread(block);
    return misuse_judge(bytes);
}

static misuse_outcome of_ended(size_t bytes, size_t by)
{
    (void)by;
    shared_block shared = { NULL, bytes };
    misuse_in_thread(allocate, &shared);
    misuse_require(shared.block != NULL);
    release_twice(shared.block);
    return misuse_judge(bytes);
}

/* ---- races ---- */

static pthread_barrier_t barrier;
static void *volatile raced;
static volatile size_t raced_bytes;

static void *race_free(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&barrier);
        misuse_free(raced);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void *race_realloc(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&barrier);
        misuse_realloc(raced, 4 * raced_bytes);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static misuse_outcome race(size_t bytes, void *(*other)(void *))
{
    pthread_t thread;
    raced_bytes = bytes;
    misuse_require(pthread_barrier_init(&barrier, NULL, 2) == 0);
    misuse_require(pthread_create(&thread, NULL, other, NULL) == 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        raced = misuse_malloc(bytes);
        misuse_require(raced != NULL);
        pthread_barrier_wait(&barrier);
        misuse_free(raced);
        pthread_barrier_wait(&barrier);
    }
    return misuse_judge(bytes);
}

static misuse_outcome both_free(size_t bytes, size_t by)
{
    (void)by;
    return race(bytes, race_free);
}

static misuse_outcome free_and_realloc(size_t bytes, size_t by)
{
    (void)by;
    return race(bytes, race_realloc);
}

const misuse_case misuse_threads[] = {
    { "double_free_here_then_there", "double", here_then_there, 0 },
    { "double_free_there_then_here", "double", there_then_here, 0 },
    { "double_free_there_twice", "double", there_twice, 0 },
    { "double_free_in_two_others", "double", in_two_others, 0 },
    { "double_free_of_ended_thread", "double", of_ended, 0 },
    { "race_of_two_frees", "race", both_free, 0 },
    { "race_of_free_and_realloc", "race", free_and_realloc, 0 },
    { NULL, NULL, NULL, 0 },
};
