/* fuzz_threads.h - threads that take turns: one holds the baton and goes on with the input, the
 * others wait. So what they do to an instance has one order, which is the input's.
 *
 * The first is the caller's. The others are started when the baton first comes to them, and may
 * end, for the core with all that they have; whoever gets the baton at that place next is a new
 * thread. */
#ifndef EMMA_FUZZ_THREADS_H
#define EMMA_FUZZ_THREADS_H

#include "fuzz_kernel.h"

#include <pthread.h>
#include <semaphore.h>

enum { SEATS = 4, PLACES = 2 };
#define PLACE_BYTES ((size_t)512 * TEST_KIB)

/* Stacks, at the end of which threads have what is their own: the core tells them apart by that. */
static _Alignas(TEST_PAGE_BYTES) unsigned char places[SEATS][PLACES][PLACE_BYTES];

/* A thread's place in the round. */
typedef struct seat {
    unsigned number;
    uint32_t id;    /* what the kernel calls the thread; 0: none yet */
    unsigned place; /* which of its stacks the thread has */
    bool taken;     /* there is a thread */
    bool gone;      /* it ended, and is to be joined */
    pthread_t thread;
    sem_t baton;
} seat;

static struct {
    seat seats[SEATS];
    unsigned whose; /* number of whom the baton is for */
    bool over;      /* the input is at its end */
    bool closing;   /* nobody waits for the baton any more */
    bool (*step)(void);
} turns;

static void seat_take(seat *taken, uint32_t id)
{
    taken->id = id;
    taken->taken = true;
    taken->gone = false;
    kernel.lives[id - KERNEL_ID_FIRST]++;
}

static void *seat_body(void *arg);

/* Gives the baton to whom it is for; a thread is started where none is. */
static void baton_pass(void)
{
    seat *to = &turns.seats[turns.whose];
    if (!to->taken) {
        pthread_attr_t where;
        seat_take(to, to->id ? to->id : kernel_new_id());
        CHECK_EQ(pthread_attr_init(&where), 0);
        CHECK_EQ(pthread_attr_setstack(&where, places[to->number][to->place], PLACE_BYTES), 0);
        CHECK_EQ(pthread_create(&to->thread, &where, seat_body, to), 0);
        CHECK_EQ(pthread_attr_destroy(&where), 0);
    }
    CHECK_EQ(sem_post(&to->baton), 0);
}

/* Waits for the baton; then for the end of who ended in passing it, as the next has its stack. */
static void baton_await(seat *self)
{
    while (sem_wait(&self->baton) != 0)
        CHECK_EQ(errno, EINTR);
    for (size_t i = 0; i < SEATS; i++) {
        seat *ended = &turns.seats[i];
        if (ended->gone && ended->taken) {
            CHECK_EQ(pthread_join(ended->thread, NULL), 0);
            ended->taken = false;
        }
    }
}

/* Does steps while it is this thread's turn, and waits while it is not, until the input is at
 * its end or the thread at its own. */
static void turns_take(seat *self)
{
    while (!turns.over && !self->gone) {
        if (turns.whose == self->number) {
            turns.over = !turns.step();
        } else {
            baton_pass();
            baton_await(self);
        }
    }
}

static void *seat_body(void *arg)
{
    seat *self = arg;
    kernel_id = self->id;
    baton_await(self);
    turns_take(self);
    if (!turns.closing) {
        turns.whose = 0;
        baton_pass();
    }
    return NULL;
}

/* ---- for the one that calls ---- */

/* Makes the calling thread the first, one that the core has never seen. */
static void turns_begin(bool (*step)(void))
{
    memset(&turns, 0, sizeof turns);
    turns.step = step;
    for (unsigned i = 0; i < SEATS; i++) {
        turns.seats[i].number = i;
        CHECK_EQ(sem_init(&turns.seats[i].baton, 0, 0), 0);
    }
    *emmai_thread_self() = (emmai_thread){ 0 };
    kernel_id = kernel_new_id();
    seat_take(&turns.seats[0], kernel_id);
}

/* Does all steps. */
static void turns_play(void)
{
    turns_take(&turns.seats[0]);
    turns.whose = 0;
}

/* Ends the other threads. */
static void turns_end(void)
{
    turns.closing = true;
    for (unsigned i = 1; i < SEATS; i++) {
        seat *other = &turns.seats[i];
        if (!other->taken)
            continue;
        CHECK_EQ(sem_post(&other->baton), 0);
        CHECK_EQ(pthread_join(other->thread, NULL), 0);
        kernel.lives[other->id - KERNEL_ID_FIRST]--;
    }
}

/* ---- for the one whose turn it is ---- */

static void turn_give(unsigned number)
{
    turns.whose = number % SEATS;
}

/* Ends the thread, but for the first. The kernel knows the one that comes next by the same id or
 * another, and it has the same place in memory or another. */
static void turn_end(bool same_id, bool same_place)
{
    seat *self = &turns.seats[turns.whose];
    if (turns.whose == 0)
        return;
    self->gone = true;
    kernel.lives[self->id - KERNEL_ID_FIRST]--;
    self->id = same_id ? self->id : 0;
    self->place = (self->place + !same_place) % PLACES;
}

#endif
