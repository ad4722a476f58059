/* test: uninstrumented */
/* The core makes the system calls that it says and no other: a filter kills the process on any
 * other one, brk first of all, while instances are created, used hard and destroyed. */
#include "emma_model.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { STEPS = 100000, SLOTS = 120 }; /* so few slots that the model's qsort needs no heap */

static model m;

static void forbid_the_rest(void)
{
    static const int allowed[] = { SYS_mmap,      SYS_mprotect, SYS_munmap,
                                   SYS_madvise,   SYS_prctl,    SYS_clock_gettime,
                                   SYS_getrandom, SYS_write,    SYS_exit_group };
    enum { COUNT = TEST_COUNT(allowed) };
    struct sock_filter code[COUNT + 3];
    code[0] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < COUNT; i++) {
        const unsigned char jump = (unsigned char)(COUNT - i);
        code[1 + i] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], jump, 0);
    }
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = { TEST_COUNT(code), code };
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(TEST_EXIT_SKIPPED);
}

static void use(void *arg)
{
    const size_t steps = *(size_t *)arg;
    test_rng rng = { 4242 };
    forbid_the_rest();
    for (unsigned flags = 0; flags <= EMMA_ALIGN8; flags += EMMA_ALIGN8) {
        emma *instance = test_create(64 * TEST_MIB, flags);
        model_init(&m, instance, flags, SLOTS);
        m.may_refuse = true;
        for (size_t i = 0; i < steps; i++)
            model_random_step(&m, &rng, 2 * TEST_MIB);
        model_verify(&m);
        emma_trim(instance);
        CHECK_EQ(emma_set_limit(instance, 128 * TEST_MIB), EMMA_OK);
        CHECK_EQ(emma_reset(instance), EMMA_OK);
        emma_destroy(instance);
    }
    syscall(SYS_exit_group, 0);
}

static void use_brk(void *arg)
{
    (void)arg;
    forbid_the_rest();
    syscall(SYS_brk, 0);
    syscall(SYS_exit_group, 0);
}

int main(void)
{
    static char text[4096];
    if (test_under_valgrind())
        test_skip("the filter would meet valgrind's own system calls");
    int status = test_run_child(use_brk, NULL, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_EXIT_SKIPPED)
        test_skip("no system-call filters here");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS); /* the filter works */
    size_t steps = test_steps(STEPS);
    status = test_run_child(use, &steps, text, sizeof text);
    fputs(text, stderr);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}
