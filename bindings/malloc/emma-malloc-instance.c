/* emma-malloc-instance.c - makes the process's instance, and notices when threads end.
 *
 * Whoever comes first makes the instance; if two do, the one that loses the compare-and-exchange
 * destroys its own. No lock, so a signal handler or a child of a fork may come at any moment. */
#include "emma-malloc.h"
#include "../emma_export.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Address space without a limit: so many times the machine's memory, which costs page tables only
 * where it is used, and each of the instance's two zones can hold all there is. */
#define RESERVE_FACTOR      ((size_t)4)
#define RESERVE_LEAST_BYTES ((size_t)4 << 30)
#define RESERVE_MOST_BYTES  ((size_t)4 << 40)

emma *emmai_malloc_shared;
malloc_options emmai_malloc_asked;

/* ---- creation ---- */

static size_t reserve_for_machine(void)
{
    struct sysinfo machine;
    size_t bytes = 0;
    if (sysinfo(&machine) == 0 &&
        !__builtin_mul_overflow(machine.totalram + machine.totalswap, machine.mem_unit, &bytes))
        bytes = bytes < RESERVE_MOST_BYTES / RESERVE_FACTOR ? bytes * RESERVE_FACTOR
                                                            : RESERVE_MOST_BYTES;
    if (bytes < RESERVE_LEAST_BYTES)
        bytes = RESERVE_LEAST_BYTES;
    /* Where the address space is limited, stacks and libraries need some too. */
    struct rlimit space;
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY &&
        bytes > space.rlim_cur / 2)
        bytes = space.rlim_cur / 2;
    return bytes;
}

/* Creates with the address space wanted, or half of it, and so on; last
 * with what emma_create finds. */
static emma *create_with_room(emma_options *options)
{
    options->reserve_bytes = reserve_for_machine();
    emma *instance = emma_create(options);
    while (!instance && options->reserve_bytes / 2 >= RESERVE_LEAST_BYTES) {
        options->reserve_bytes /= 2;
        instance = emma_create(options);
    }
    options->reserve_bytes = 0;
    return instance ? instance : emma_create(options);
}

static emma *create(const malloc_options *asked)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = EMMA_SHARED;
    options.name = emmai_malloc_name;
    options.limit_bytes = asked->limit_bytes;
    options.soft_limit_bytes = asked->soft_limit_bytes;
    options.reserve_bytes = asked->reserve_bytes;
    options.decay_ms = asked->decay_ms;
    options.spare_bytes = asked->spare_bytes;
    options.limit_handler = emmai_malloc_warn;
    emma *instance = NULL;
    if (asked->reserve_bytes) {
        instance = emma_create(&options);
        if (!instance)
            emmai_malloc_refuse_reserve(asked->reserve_bytes);
    }
    options.reserve_bytes = 0;
    if (!instance && asked->limit_bytes != EMMA_UNLIMITED)
        instance = emma_create(&options);
    return instance ? instance : create_with_room(&options);
}

static MALLOC_NOINLINE emma *create_first(void)
{
    const int error = errno;
    malloc_options asked;
    emmai_malloc_read_options(&asked);
    emmai_malloc_asked = asked; /* what another thread may write at the same time is the same */
    emma *instance = create(&asked);
    emma *first = NULL;
    if (instance && !__atomic_compare_exchange_n(&emmai_malloc_shared, &first, instance, false,
                                                 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        emma_destroy(instance);
        instance = first;
    } else if (instance && asked.stats && emmai_malloc_is_to_report()) {
        emmai_malloc_report_at_exit();
    }
    errno = error;
    return instance;
}

emma *emmai_malloc_instance(void)
{
    emma *instance = malloc_instance_if_made();
    return instance ? instance : create_first();
}

bool emmai_malloc_is_to_report(void)
{
    return emmai_malloc_asked.process == 0 || emmai_malloc_asked.process == (uint64_t)getpid();
}

/* No thread looks at it before it is whole, and none calls emma_reset: what
 * is live can be summed up. */
void emmai_malloc_export(const char *kind)
{
    emma *instance = malloc_instance_if_made();
    if (!instance || !emmai_malloc_asked.exports)
        return;
    const int error = emma_export_start();
    if (error == 0) {
        emma_export_add(instance, emmai_malloc_name, kind, EMMA_EXPORT_LIVE);
        return;
    }
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "EMMA_OPTIONS: export: nothing is shown to 'emma top': ");
    emmai_malloc_text_say(&text, strerror(error));
}

/* ---- threads ---- */

/* What a thread-specific key is while there is none. */
#define NO_KEY (-1)

/* The key whose destructor runs when a thread ends; any thread, atomic. */
static int end_key = NO_KEY;

/* The thread may still allocate, in later destructors: then it registers again. */
static void thread_ends(void *instance)
{
    emmai_malloc_leave_heap(instance);
}

static int end_key_make(void)
{
    pthread_key_t key;
    int made = NO_KEY;
    if (pthread_key_create(&key, thread_ends) != 0)
        return NO_KEY;
    if (__atomic_compare_exchange_n(&end_key, &made, (int)key, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return (int)key;
    pthread_key_delete(key);
    return made;
}

/* Without a key, or where the C library has no room to note it, the core finds out about a thread's
 * end by itself, later. */
void emmai_malloc_meet_thread(emma *instance)
{
    int key = __atomic_load_n(&end_key, __ATOMIC_ACQUIRE);
    if (key == NO_KEY)
        key = end_key_make();
    if (key != NO_KEY)
        pthread_setspecific((pthread_key_t)key, instance);
}
