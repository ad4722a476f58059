/* test: whole uninstrumented +hardened */
/* Each system call that the core makes fails by each error that its manual names, or a filter of
 * system calls gives, once and from there on; madvise and mprotect also when they did what they
 * were asked; getrandom and pwrite64 by doing a part. An allocation may return NULL, a checkpoint
 * may be refused, and nothing else fails: live blocks are intact, a rollback rolls back, the state
 * verifies, and destroy returns everything but the addresses that munmap refuses to take. */
#include "emma_fault.h"
#include "emma_model.h"
#include "emma_threads.h"

enum { STEPS = 30, SLOTS = 16, LARGEST = 60000, ERRORS_MAX = 12, ROWS_MAX = 24 };
#define UNTOUCHED_BYTES (34 * TEST_MIB)

/* What a call does beside answering with the error. */
typedef enum manner { NOTHING, ALL_THE_SAME, A_PART } manner;

typedef struct row {
    long number;
    const char *name;
    unsigned manners;       /* those that it is tried in, as bits */
    int errors[ERRORS_MAX]; /* beside EPERM and ENOSYS, a filter's, which come first; then 0 */
} row;

static const row rows[] = {
    { SYS_mmap,
      "mmap",
      1 << NOTHING,
      { EPERM, ENOSYS, EACCES, EAGAIN, EBADF, EEXIST, EINVAL, ENFILE, ENODEV, ENOMEM, EOVERFLOW } },
    { SYS_mprotect,
      "mprotect",
      1 << NOTHING | 1 << ALL_THE_SAME,
      { EPERM, ENOSYS, EACCES, EINVAL, ENOMEM } },
    { SYS_munmap, "munmap", 1 << NOTHING, { EPERM, ENOSYS, EINVAL, ENOMEM } },
    { SYS_mremap, "mremap", 1 << NOTHING, { EPERM, ENOSYS, EAGAIN, EFAULT, EINVAL, ENOMEM } },
    { SYS_madvise,
      "madvise",
      1 << NOTHING | 1 << ALL_THE_SAME,
      { EPERM, ENOSYS, EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EHWPOISON, EINVAL, EIO, ENOMEM } },
    { SYS_prctl, "prctl", 1 << NOTHING, { EPERM, ENOSYS, EBADF, EFAULT, EINVAL, ENOMEM } },
    { SYS_clock_gettime, "clock_gettime", 1 << NOTHING, { EPERM, ENOSYS, EFAULT, EINVAL } },
    { SYS_getrandom,
      "getrandom",
      1 << NOTHING | 1 << A_PART,
      { EPERM, ENOSYS, EAGAIN, EFAULT, EINTR, EINVAL } },
    { SYS_tgkill, "tgkill", 1 << NOTHING, { EPERM, ENOSYS, EAGAIN, EINVAL } },
    { SYS_getrlimit, "getrlimit", 1 << NOTHING, { EPERM, ENOSYS, EFAULT, EINVAL } },
    { SYS_memfd_create,
      "memfd_create",
      1 << NOTHING,
      { EPERM, ENOSYS, EACCES, EFAULT, EINVAL, EMFILE, ENFILE, ENOMEM } },
    { SYS_ftruncate,
      "ftruncate",
      1 << NOTHING,
      { EPERM, ENOSYS, EBADF, EFBIG, EINTR, EINVAL, EIO, ETXTBSY } },
    { SYS_pwrite64,
      "pwrite64",
      1 << NOTHING | 1 << A_PART,
      { EPERM, ENOSYS, EAGAIN, EBADF, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, ENOSPC } },
    { SYS_fcntl, "fcntl", 1 << NOTHING, { EPERM, ENOSYS, EBADF, EBUSY, EINVAL } },
    { SYS_close, "close", 1 << ALL_THE_SAME, { EINTR, EBADF, EDQUOT, EIO, ENOSPC } },
    { SYS_openat,
      "openat",
      1 << NOTHING,
      { EPERM, ENOSYS, EACCES, EINTR, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR } },
    { SYS_ioctl,
      "ioctl",
      1 << NOTHING,
      { EPERM, ENOSYS, EBADF, EFAULT, EINTR, EINVAL, ENOMEM, ENOTTY } },
};

static struct {
    const row *row; /* the call that fails */
    int error;
    manner manner;
    uint64_t at;               /* at its n-th call, counted from 1; 0: never */
    bool later_too;            /* and all that follow */
    uint64_t failures;         /* so far */
    uint64_t counts[ROWS_MAX]; /* of all calls */
} plan;

static test_maps before, after, lost;
static model m, saved;
static size_t scenarios;
static uint64_t ever[ROWS_MAX]; /* calls, in any scenario that nothing fails in */

/* ---- the kernel ---- */

static size_t row_of(long number)
{
    for (size_t i = 0; i < TEST_COUNT(rows); i++)
        if (rows[i].number == number)
            return i;
    dprintf(STDERR_FILENO, "system call %ld is not in the table\n", number);
    CHECK(number == SYS_gettid || number == SYS_getpid); /* which cannot fail */
    return ROWS_MAX;
}

/* A call that does a part of what it is asked: less, but something. */
static long make_a_part(long number, const long arguments[6])
{
    long fewer[6];
    const int length = number == SYS_getrandom ? 1 : 2;
    memcpy(fewer, arguments, sizeof fewer);
    if (fewer[length] > 1)
        fewer[length] = (fewer[length] + 1) / 3;
    return fault_make(number, fewer);
}

static bool fail(long number, const long arguments[6], long *result)
{
    if (number == SYS_gettid || number == SYS_getpid)
        return false;
    const size_t i = row_of(number);
    const uint64_t count = ++plan.counts[i];
    if (&rows[i] != plan.row || !plan.at || !(plan.later_too ? count >= plan.at : count == plan.at))
        return false;
    plan.failures++;
    if (plan.manner == A_PART) {
        *result = make_a_part(number, arguments);
        return true;
    }
    if (plan.manner == ALL_THE_SAME)
        fault_make(number, arguments);
    *result = -plan.error;
    return true;
}

static uint64_t failures(void)
{
    return plan.failures;
}

/* ---- what is done ---- */

static void work(test_rng *rng)
{
    for (int i = 0; i < STEPS; i++) {
        model_random_step(&m, rng, LARGEST);
        if (i % 8 == 0)
            fault.clock_ms += 300;
    }
    emma_trim(m.instance);
}

/* What the kernel is asked for huge pages for, and to populate. */
static void use_much(void)
{
    emma_free(m.instance, emma_malloc(m.instance, UNTOUCHED_BYTES));
    emma_trim(m.instance);
    static void *blocks[300];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = emma_malloc(m.instance, 1000);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        emma_free(m.instance, blocks[i]);
}

/* A thread that ends without saying so; what comes after it takes its heap. */
static void *use_and_end(void *arg)
{
    emma_free(m.instance, emma_malloc(m.instance, 500));
    return arg;
}

static bool checkpoint(unsigned *level)
{
    const uint64_t failed = plan.failures;
    const enum emma_status status = emma_checkpoint(m.instance, level);
    CHECK(status == EMMA_OK || (status == EMMA_NO_MEMORY && plan.failures > failed));
    return status == EMMA_OK;
}

static void use_checkpoints(test_rng *rng)
{
    unsigned level, further;
    const bool made = checkpoint(&level);
    model_save(&m, &saved);
    work(rng);
    checkpoint(&further);
    work(rng);
    model_verify(&m);
    if (!made)
        return;
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    model_restore(&m, &saved);
    model_verify(&m);
    work(rng);
    CHECK_EQ(emma_checkpoint_drop(m.instance, level), EMMA_OK);
    model_verify(&m);
}

static void use(unsigned flags)
{
    test_rng rng = { 4711 };
    model_init(&m, m.instance, flags, SLOTS);
    m.faults = failures;
    work(&rng);
    if (!flags)
        use_much();
    if (flags & EMMA_SHARED) {
        test_thread_run(use_and_end, NULL);
        test_thread_run(use_and_end, NULL);
    }
    if (flags & EMMA_CHECKPOINTS)
        use_checkpoints(&rng);
    model_verify(&m);
    CHECK_EQ(emma_reset(m.instance), EMMA_OK);
    model_init(&m, m.instance, flags, SLOTS);
    m.faults = failures;
    work(&rng);
    model_verify(&m);
    model_free_all(&m);
}

/* Takes away what munmap did not; none of it has memory. */
static void return_lost(void)
{
    test_maps_added(&before, &after, &lost);
    CHECK_EQ(test_resident_bytes(&lost), 0);
    for (size_t i = 0; i < lost.count; i++) {
        const test_range *range = &lost.ranges[i];
        CHECK_EQ(munmap((void *)range->start, range->end - range->start), 0);
    }
    test_maps_read(&after);
}

static void scenario(unsigned flags)
{
    emma_options options = test_options();
    options.flags = flags;
    options.reserve_bytes = 128 * TEST_MIB;
    options.name = "errors";
    plan.failures = fault.clock_ms = 0;
    memset(plan.counts, 0, sizeof plan.counts);
    fault.replace = fail;
    m.instance = emma_create(&options);
    CHECK(m.instance || plan.failures);
    if (m.instance) {
        use(flags);
        emma_destroy(m.instance);
    }
    fault.replace = NULL;
}

static void leaves_nothing(void)
{
    test_maps_read(&after);
    if (plan.row->number == SYS_munmap)
        return_lost();
    CHECK(test_maps_same(&before, &after));
}

/* ---- each in turn ---- */

static void try_error(const row *each, int error, manner how, uint64_t count, unsigned flags)
{
    plan.row = each;
    plan.error = error;
    plan.manner = how;
    for (unsigned later_too = 0; later_too <= 1; later_too++) {
        plan.later_too = later_too;
        for (plan.at = 1; plan.at <= count; plan.at += 1 + plan.at / (later_too ? 1 : 2)) {
            scenario(flags);
            leaves_nothing();
            scenarios++;
            CHECK_GT(plan.failures, 0);
        }
    }
}

static void try_row(size_t i, uint64_t count, unsigned flags)
{
    const row *each = &rows[i];
    for (manner how = NOTHING; how <= A_PART; how++) {
        if (!(each->manners & 1u << how))
            continue;
        const size_t errors = how == A_PART ? 1 : ERRORS_MAX;
        for (size_t k = 0; k < errors && each->errors[k]; k++)
            try_error(each, each->errors[k], how, count, flags);
    }
}

static void run(unsigned flags)
{
    uint64_t counts[ROWS_MAX];
    plan.row = NULL;
    scenario(flags); /* the C library keeps the threads' stacks */
    test_maps_read(&before);
    scenario(flags);
    memcpy(counts, plan.counts, sizeof counts);
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        ever[i] += counts[i];
        try_row(i, counts[i], flags);
    }
}

int main(void)
{
    test_need_own_maps();
    const uint64_t descriptors = test_descriptors();
    run(0);
    run(EMMA_SHARED);
    run(EMMA_CHECKPOINTS);
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        printf("%s: %llu calls\n", rows[i].name, (unsigned long long)ever[i]);
        CHECK(ever[i] > 0 || (rows[i].number == SYS_getrandom && !EMMA_CHECKS));
    }
    printf("%zu scenarios\n", scenarios);
    CHECK_EQ(test_descriptors(), descriptors);
    return 0;
}
