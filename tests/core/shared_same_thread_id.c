/* test: whole */
/* The kernel gives a dead thread's id to a new one: whether that lies at the same place or not, it takes what the dead
 * one left, but for a heap that it stopped inside, or that another takes just then; and while a thread lives that bears
 * the id, others leave that heap alone. Ids are the test's own. */
#include "emma_fault.h"
#include "emma_threads.h"

enum {
    ID = 5000000,
    OTHER_ID = 5000001,
    BLOCKS = 40,
    TURNS = 50,
    PLACES = 2
}; /* ids beyond the kernel's */
#define PLACE_BYTES ((size_t)256 * TEST_KIB)

/* A thread at one of two places, which tell threads apart by their thread-local storage. */
typedef struct visitor {
    long id;
    size_t place;
    bool dies_inside;
    bool stays; /* until the others are done */
} visitor;

static emma *instance;
static _Alignas(4096) char places[PLACES][PLACE_BYTES];
static _Thread_local const visitor *self;
static size_t living[2];                     /* threads that bear ID and OTHER_ID; atomic */
static pthread_barrier_t arrived, may_leave; /* of the one that stays */
static pthread_t staying;
static bool comes_meanwhile; /* it does when the kernel has just said that nobody bears ID */

static void come_and_stay(size_t place);

static bool answer(long number, long b, long *result)
{
    if (number == SYS_gettid && self) {
        *result = self->id;
        return true;
    }
    if (number != SYS_tgkill || b < ID)
        return false;
    *result = __atomic_load_n(&living[b - ID], __ATOMIC_RELAXED) ? 0 : -ESRCH;
    if (comes_meanwhile && b == ID) {
        comes_meanwhile = false;
        come_and_stay(0);
    }
    return true;
}

static void leave(void)
{
    __atomic_sub_fetch(&living[self->id - ID], 1, __ATOMIC_RELAXED);
    syscall(SYS_exit, 0);
}

static void leave_inside(long number)
{
    if (self && self->dies_inside && number == SYS_mprotect)
        leave();
}

/* Allocates blocks of many classes, checks that they are its own, and ends by the kernel's own call. */
static void *visit(void *arg)
{
    void *blocks[BLOCKS];
    self = arg;
    __atomic_add_fetch(&living[self->id - ID], 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, 16 + i * 40);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], 16 + i * 40, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], 16 + i * 40, i));
        emma_free(instance, blocks[i]);
    }
    if (self->stays) {
        pthread_barrier_wait(&arrived);
        pthread_barrier_wait(&may_leave);
    }
    if (self->dies_inside)
        emma_malloc(instance, 64 * TEST_MIB); /* needs more made accessible */
    leave();
    return NULL;
}

static pthread_t start(const visitor *v)
{
    pthread_attr_t at;
    pthread_t thread;
    CHECK_EQ(pthread_attr_init(&at), 0);
    CHECK_EQ(pthread_attr_setstack(&at, places[v->place], PLACE_BYTES), 0);
    CHECK_EQ(pthread_create(&thread, &at, visit, (void *)(uintptr_t)v), 0);
    CHECK_EQ(pthread_attr_destroy(&at), 0);
    return thread;
}

static void run(visitor v)
{
    CHECK_EQ(pthread_join(start(&v), NULL), 0);
}

static size_t heaps(void)
{
    return emmai_sync_get(&instance->control->heap_count);
}

static size_t run_successors(void)
{
    for (size_t i = 0; i < TURNS; i++)
        run((visitor){ .id = ID, .place = i / 2 % PLACES });
    CHECK_EQ(heaps(), 1);
    run((visitor){ .id = OTHER_ID });
    CHECK_EQ(heaps(), 1);
    return 0;
}

/* What it was inside stays closed, and is lost with the block that it was about to have. */
static size_t run_death_inside(void)
{
    for (size_t i = 0; i < TURNS; i++) {
        run((visitor){ .id = ID, .dies_inside = true });
        CHECK_EQ(heaps(), 1 + i);
        run((visitor){ .id = ID, .place = i % PLACES });
        CHECK_EQ(heaps(), 2 + i);
    }
    return TURNS;
}

static void come_and_stay(size_t place)
{
    static visitor stays;
    stays = (visitor){ .id = ID, .place = place, .stays = true };
    CHECK_EQ(pthread_barrier_init(&arrived, NULL, 2), 0);
    CHECK_EQ(pthread_barrier_init(&may_leave, NULL, 2), 0);
    staying = start(&stays);
    pthread_barrier_wait(&arrived);
}

static void let_leave(void)
{
    pthread_barrier_wait(&may_leave);
    CHECK_EQ(pthread_join(staying, NULL), 0);
    CHECK_EQ(pthread_barrier_destroy(&arrived), 0);
    CHECK_EQ(pthread_barrier_destroy(&may_leave), 0);
}

/* A dead thread's id is borne by one that has no need of its heap yet, or has taken it: either way it
 * looks alive to others. */
static size_t run_borne(void)
{
    run((visitor){ .id = ID });
    come_and_stay(1);
    CHECK_EQ(heaps(), 1);
    for (size_t i = 0; i < TURNS; i++)
        run((visitor){ .id = OTHER_ID });
    CHECK_EQ(heaps(), 2);
    let_leave();
    return 0;
}

/* It is borne again, at the same place, when another has heard that it is dead and not yet taken its heap: one of the
 * two has that heap, the other one a new one. */
static size_t run_borne_meanwhile(void)
{
    run((visitor){ .id = ID });
    comes_meanwhile = true;
    run((visitor){ .id = OTHER_ID, .place = 1 });
    CHECK(!comes_meanwhile);
    CHECK_EQ(heaps(), 2);
    let_leave();
    return 0;
}

int main(void)
{
    size_t (*const tries[])(void) = { run_successors, run_death_inside, run_borne,
                                      run_borne_meanwhile };
    fault.answer = answer;
    fault.before = leave_inside;
    for (size_t i = 0; i < TEST_COUNT(tries); i++) {
        instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
        const size_t lost = tries[i]();
        CHECK_LE(test_stats(instance).live_blocks, lost);
        CHECK_EQ(emma_check(instance), EMMA_OK);
        emma_destroy(instance);
    }
    return 0;
}
