/* test: +canaries +hardened +valgrind +asan */
/* Threads allocate, resize, hand blocks to each other and free them, at random, in one shared
 * instance: contents stay, nothing is lost, and afterwards the state verifies and all is free. */
#include "emma_threads.h"

enum { THREADS = 6, STEPS = 120000, SLOTS = 512, OWN = 64 };

typedef struct parcel {
    size_t bytes;
    uint64_t seed; /* of the pattern in the rest */
    unsigned char rest[];
} parcel;

static emma *instance;
static parcel *slots[SLOTS]; /* any thread, atomic */

static size_t random_bytes(test_rng *rng)
{
    const uint64_t kind = test_random(rng) % 100;
    const size_t most = kind < 70 ? 128 : kind < 92 ? 1024 : kind < 99 ? 9000 : 70000;
    return sizeof(parcel) + test_random(rng) % most;
}

static parcel *pack(parcel *p, size_t bytes, uint64_t seed)
{
    if (p) {
        p->bytes = bytes;
        p->seed = seed;
        test_fill(p->rest, bytes - sizeof *p, seed);
    }
    return p;
}

static void verify(const parcel *p)
{
    CHECK(test_filled(p->rest, p->bytes - sizeof *p, p->seed));
}

static parcel *resize(parcel *p, size_t bytes, uint64_t seed)
{
    const size_t kept = p->bytes < bytes ? p->bytes : bytes;
    const uint64_t old_seed = p->seed;
    parcel *moved = emma_realloc(instance, p, bytes);
    if (!moved)
        return p;
    CHECK(test_filled(moved->rest, kept - sizeof *p, old_seed));
    return pack(moved, bytes, seed);
}

/* One step on a parcel that only this thread has: maybe none. */
static parcel *step(parcel *p, test_rng *rng)
{
    const size_t bytes = random_bytes(rng);
    if (!p)
        return pack(test_random(rng) % 8 ? emma_malloc(instance, bytes)
                                         : emma_calloc(instance, 1, bytes),
                    bytes, test_random(rng));
    verify(p);
    if (test_random(rng) % 4 == 0)
        return resize(p, bytes, test_random(rng));
    emma_free(instance, p);
    return NULL;
}

static size_t steps;

static void *work(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    parcel *own[OWN] = { NULL };
    for (size_t i = 0; i < steps; i++) {
        parcel **mine = &own[test_random(&rng) % OWN];
        *mine = step(*mine, &rng);
        if (test_random(&rng) % 3 == 0) /* what one puts there another takes */
            *mine = __atomic_exchange_n(&slots[test_random(&rng) % SLOTS], *mine, __ATOMIC_ACQ_REL);
    }
    for (size_t i = 0; i < OWN; i++)
        if (own[i]) {
            verify(own[i]);
            emma_free(instance, own[i]);
        }
    return NULL;
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 31000);
    steps = test_steps(STEPS);
    instance = test_create(64 * TEST_MIB, EMMA_SHARED);
    test_thread threads[THREADS];
    test_threads_start(threads, THREADS, work, seed);
    test_threads_join(threads, THREADS);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    size_t left = 0;
    for (size_t i = 0; i < SLOTS; i++)
        left += slots[i] != NULL;
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i]) {
            verify(slots[i]);
            emma_free(instance, slots[i]);
        }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_GT(left, 0);
    CHECK_LE(stats.footprint_bytes, 64 * TEST_MIB);
    emma_destroy(instance);
    return 0;
}
