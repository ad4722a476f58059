/* test: uninstrumented */
/* A handler forks just before a rollback, a checkpoint or a trim asks the kernel which pages differ, by a descriptor
 * that in the child is about the parent, which goes on meanwhile: in the child the call does what it should. */
#include "emma_model.h"
#include "emma_step.h"
#include <sys/syscall.h>

enum { SLOTS = 50, STEPS = 100, SIZE_MAX_BYTES = 50000 };

static model m, saved, before;
static unsigned level;
static size_t forks_at;
static pid_t child; /* of the handler's; 0: this is it, or there is none */
static int parents_end;
static size_t *questions; /* in a call so far, shared with children */

static void on_trap(int number)
{
    (void)number;
    if (!test_trap_before_syscall(SYS_ioctl) || ++*questions != forks_at)
        return;
    int ends[2];
    char none;
    CHECK_EQ(pipe(ends), 0);
    child = (pid_t)syscall(SYS_fork);
    CHECK_GE(child, 0);
    close(ends[child != 0 ? 0 : 1]);
    if (child)
        parents_end = ends[1];
    else
        CHECK_EQ(read(ends[0], &none, 1), 0); /* the parent has gone on */
    test_trap_end();
}

static void call_rollback(void)
{
    test_trap_on();
    const enum emma_status status = emma_rollback(m.instance, level);
    test_trap_off();
    CHECK_EQ(status, EMMA_OK);
    model_restore(&m, &saved);
}

static void call_checkpoint(void)
{
    unsigned further;
    test_trap_on();
    const enum emma_status status = emma_checkpoint(m.instance, &further);
    test_trap_off();
    CHECK_EQ(status, EMMA_OK);
    model_save(&m, &before);
    test_rng rng = { 5 };
    for (int i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, SIZE_MAX_BYTES);
    CHECK_EQ(emma_rollback(m.instance, further), EMMA_OK);
    model_restore(&m, &before);
}

static void call_trim(void)
{
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    model_restore(&m, &saved);
    test_trap_on();
    emma_trim(m.instance);
    test_trap_off();
}

static void (*const acts[])(void) = { call_rollback, call_checkpoint, call_trim };

/* In a process of its own. */
static void work(void *act)
{
    test_rng rng = { 3 };
    for (int i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, SIZE_MAX_BYTES);
    (*(void (*const *)(void))act)();
    if (child) {
        int status;
        model_free_all(&m);
        emma_trim(m.instance);
        close(parents_end);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        return;
    }
    for (int i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, SIZE_MAX_BYTES);
    model_verify(&m);
    CHECK_EQ(emma_check(m.instance), EMMA_OK);
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    model_restore(&m, &saved);
    model_verify(&m);
    for (size_t bytes = 1; bytes < 100000; bytes += bytes / 2 + 50) {
        unsigned char *zeroed = emma_calloc(m.instance, 1, bytes);
        CHECK(zeroed && test_zeroed(zeroed, bytes));
    }
    CHECK_EQ(emma_check(m.instance), EMMA_OK);
}

int main(void)
{
    test_trap_to(on_trap);
    questions = test_share(sizeof *questions);
    model_init(&m, test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS), 0, SLOTS);
    test_rng rng = { 1 };
    for (int i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, SIZE_MAX_BYTES);
    CHECK_EQ(emma_checkpoint(m.instance, &level), EMMA_OK);
    model_save(&m, &saved);
    for (size_t i = 0; i < TEST_COUNT(acts); i++) {
        forks_at = 0;
        do {
            forks_at++;
            *questions = 0;
            test_in_child(work, (void *)(uintptr_t)&acts[i]);
        } while (*questions >= forks_at);
        printf("%zu questions\n", forks_at - 1);
        CHECK_GT(forks_at, 2);
    }
    emma_destroy(m.instance);
    return 0;
}
