/* mix_threads.c - workloads in which blocks change threads, and threads come and go. */
#include "mix.h"

#include <semaphore.h>
#include <stdatomic.h>

/* ---- producer_consumer: one half allocates, the other frees; at most QUEUE_BATCHES wait ---- */

#define BATCH_BLOCKS  128
#define QUEUE_BATCHES 16

typedef struct mix_batch {
    void *blocks[BATCH_BLOCKS];
} mix_batch;

typedef struct mix_queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    mix_batch batches[QUEUE_BATCHES];
    unsigned first, length; /* the batches that wait are `length` from `first` on */
    unsigned producers;     /* that are not done */
} mix_queue;

void *prepare_queue(unsigned threads)
{
    static mix_queue shared = { .lock = PTHREAD_MUTEX_INITIALIZER,
                                .not_empty = PTHREAD_COND_INITIALIZER,
                                .not_full = PTHREAD_COND_INITIALIZER };
    shared.producers = threads > 1 ? threads / 2 : 1;
    return &shared;
}

static void put_batch(mix_queue *queue, const mix_batch *batch)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->length == QUEUE_BATCHES)
        pthread_cond_wait(&queue->not_full, &queue->lock);
    queue->batches[(queue->first + queue->length++) % QUEUE_BATCHES] = *batch;
    pthread_cond_signal(&queue->not_empty);
    pthread_mutex_unlock(&queue->lock);
}

/* False: all producers are done and nothing waits. */
static bool take_batch(mix_queue *queue, mix_batch *batch)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->length == 0 && queue->producers > 0)
        pthread_cond_wait(&queue->not_empty, &queue->lock);
    bool found = queue->length > 0;
    if (found) {
        *batch = queue->batches[queue->first];
        queue->first = (queue->first + 1) % QUEUE_BATCHES;
        queue->length--;
        pthread_cond_signal(&queue->not_full);
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

static void end_producer(mix_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->producers--;
    pthread_cond_broadcast(&queue->not_empty);
    pthread_mutex_unlock(&queue->lock);
}

static void fill_batch(mix_thread *self, mix_batch *batch)
{
    for (size_t i = 0; i < BATCH_BLOCKS; i++)
        batch->blocks[i] = new_block(mix_random_bytes(self));
    self->operations += BATCH_BLOCKS;
}

static void drop_batch(const mix_batch *batch)
{
    for (size_t i = 0; i < BATCH_BLOCKS; i++)
        drop_block(batch->blocks[i]);
}

/* The thread that is alone fills the queue, then empties it. */
static void run_queue_alone(mix_thread *self)
{
    mix_queue *queue = self->shared;
    mix_batch batch;
    while (self->operations < self->iterations) {
        while (queue->length < QUEUE_BATCHES) {
            fill_batch(self, &batch);
            put_batch(queue, &batch);
        }
        while (queue->length > 0 && take_batch(queue, &batch))
            drop_batch(&batch);
    }
}

void run_queue(mix_thread *self)
{
    mix_queue *queue = self->shared;
    mix_batch batch;
    if (self->count == 1) {
        run_queue_alone(self);
    } else if (self->index < self->count / 2) {
        while (self->operations < self->iterations * self->count / (self->count / 2)) {
            fill_batch(self, &batch);
            put_batch(queue, &batch);
        }
        end_producer(queue);
    } else {
        while (take_batch(queue, &batch))
            drop_batch(&batch);
    }
}

void finish_queue(void *shared)
{
    if (((mix_queue *)shared)->length != 0)
        fail("the queue is not empty at the end");
}

/* ---- cross: slots of all threads; whoever draws a slot frees what another left there ---- */

#define SLOT_COUNT 16384

static _Atomic(void *) slots[SLOT_COUNT];

void *prepare_slots(unsigned threads)
{
    (void)threads;
    return slots;
}

void run_cross(mix_thread *self)
{
    for (uint64_t turn = 0; turn < self->iterations; turn++) {
        _Atomic(void *) *slot = &slots[mix_below(self, SLOT_COUNT)];
        drop_block(atomic_exchange(slot, new_block(mix_random_bytes(self))));
    }
    self->operations += self->iterations;
}

void finish_slots(void *shared)
{
    (void)shared;
    for (size_t i = 0; i < SLOT_COUNT; i++)
        drop_block(slots[i]);
}

/* ---- larson: a thread replaces blocks, then leaves them to a new thread and ends ---- */

#define LARSON_BLOCKS     1000
#define LARSON_GENERATION 50000 /* replacements by one thread */

typedef struct mix_lineage {
    void *blocks[LARSON_BLOCKS];
    uint64_t left; /* replacements */
    mix_thread *self;
    pthread_t predecessor;
    bool has_predecessor;
    sem_t done;
} mix_lineage;

static void replace_blocks(mix_lineage *lineage)
{
    mix_thread *self = lineage->self;
    uint64_t count = lineage->left < LARSON_GENERATION ? lineage->left : LARSON_GENERATION;
    for (uint64_t turn = 0; turn < count; turn++) {
        size_t slot = mix_below(self, LARSON_BLOCKS);
        drop_block(lineage->blocks[slot]);
        lineage->blocks[slot] = new_block(mix_random_bytes(self));
    }
    self->operations += count;
    lineage->left -= count;
}

static void *run_generation(void *argument)
{
    mix_lineage *lineage = argument;
    if (lineage->has_predecessor)
        must_be_zero(pthread_join(lineage->predecessor, NULL), "pthread_join");
    lineage->predecessor = pthread_self();
    lineage->has_predecessor = true;
    replace_blocks(lineage);
    if (lineage->left == 0) {
        sem_post(&lineage->done);
        return NULL;
    }
    pthread_t successor;
    must_be_zero(pthread_create(&successor, NULL, run_generation, lineage), "pthread_create");
    return NULL;
}

void run_larson(mix_thread *self)
{
    mix_lineage *line = must(calloc(1, sizeof *line));
    pthread_t first;
    line->left = self->iterations;
    line->self = self;
    must_be_zero(sem_init(&line->done, 0, 0), "sem_init");
    must_be_zero(pthread_create(&first, NULL, run_generation, line), "pthread_create");
    while (sem_wait(&line->done) != 0)
        ;
    must_be_zero(pthread_join(line->predecessor, NULL), "pthread_join");
    for (size_t slot = 0; slot < LARSON_BLOCKS; slot++)
        drop_block(line->blocks[slot]);
    free(line);
}

/* ---- threads: threads that allocate a little and end ---- */

#define SPAWN_BLOCKS 16

static void *run_short_thread(void *argument)
{
    mix_thread *self = argument;
    void *blocks[SPAWN_BLOCKS];
    for (size_t i = 0; i < SPAWN_BLOCKS; i++)
        blocks[i] = new_block(mix_random_bytes(self));
    for (size_t i = 0; i < SPAWN_BLOCKS; i++)
        drop_block(blocks[i]);
    self->operations += SPAWN_BLOCKS;
    return NULL;
}

void run_spawn(mix_thread *self)
{
    for (uint64_t turn = 0; turn < self->iterations; turn++) {
        pthread_t thread;
        must_be_zero(pthread_create(&thread, NULL, run_short_thread, self), "pthread_create");
        must_be_zero(pthread_join(thread, NULL), "pthread_join");
    }
}

/* ---- shared_objects: small objects that each thread makes and its neighbour frees ---- */

#define OBJECT_ROUND       4096 /* objects that a thread makes before they change hands */
#define OBJECT_LEAST_BYTES ((size_t)16)
#define OBJECT_STEP_BYTES  ((size_t)8)
#define OBJECT_STEPS       15

typedef struct object_board {
    void *objects[MIX_MAX_THREADS][OBJECT_ROUND];
} object_board;

void *prepare_shared_objects(unsigned threads)
{
    (void)threads;
    static object_board board;
    return &board;
}

void run_shared_objects(mix_thread *self)
{
    object_board *board = self->shared;
    void **mine = board->objects[self->index];
    void **next = board->objects[(self->index + 1) % self->count];
    while (self->operations < self->iterations) {
        for (size_t i = 0; i < OBJECT_ROUND; i++) {
            size_t bytes = OBJECT_LEAST_BYTES + OBJECT_STEP_BYTES * mix_below(self, OBJECT_STEPS);
            mine[i] = seal_block(sized_alloc(bytes), bytes);
        }
        pthread_barrier_wait(self->barrier);
        for (size_t i = 0; i < OBJECT_ROUND; i++)
            sized_free(next[i], unseal_block(next[i]));
        pthread_barrier_wait(self->barrier);
        self->operations += OBJECT_ROUND;
    }
}
