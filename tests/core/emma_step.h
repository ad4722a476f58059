/* emma_step.h - the processor's single-step trap: with it on, SIGTRAP comes after each instruction,
 * so a handler meets each state that a signal can meet. String instructions trap after each round.
 *
 * Only for x86_64: ask TEST_CAN_STEP. A test that includes this is not to be instrumented. */
#ifndef EMMA_STEP_H
#define EMMA_STEP_H

#include "emma_test.h"

#if defined(__x86_64__)
#include <ucontext.h>
#include <x86intrin.h>

#define TEST_CAN_STEP 1
enum { TEST_TRAP_FLAG = 0x100 };

/* From one run to the next that stops an instruction later: without optimization, and with counters even more
 * so, a call is several times as many, and all runs together take as long as the square of that. */
#if TEST_COVERAGE
enum { TEST_STEP_STRIDE = 8 };
#elif defined(__OPTIMIZE__)
enum { TEST_STEP_STRIDE = 1 };
#else
enum { TEST_STEP_STRIDE = 4 };
#endif

/* The fences: what the handler reads is written before, what it writes is read after. */
static inline void test_trap_on(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __writeeflags(__readeflags() | TEST_TRAP_FLAG);
}

static inline void test_trap_off(void)
{
    __writeeflags(__readeflags() & ~(unsigned long long)TEST_TRAP_FLAG);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
#else
#define TEST_CAN_STEP 0

static inline void test_trap_on(void)
{
}

static inline void test_trap_off(void)
{
}
#endif

static void (*test_trap_handler)(int);
static _Thread_local void *test_trap_context; /* ucontext_t of what the handler interrupts */

/* By the handler: no more traps until test_trap_on. */
static inline void test_trap_end(void)
{
#if TEST_CAN_STEP
    ((ucontext_t *)test_trap_context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TEST_TRAP_FLAG;
#endif
}

/* By the handler: where the next instruction is. */
static inline uintptr_t test_trap_address(void)
{
#if TEST_CAN_STEP
    return (uintptr_t)((ucontext_t *)test_trap_context)->uc_mcontext.gregs[REG_RIP];
#else
    return 0;
#endif
}

/* By the handler: whether the next instruction is this system call. */
static inline bool test_trap_before_syscall(long number)
{
#if TEST_CAN_STEP
    static const unsigned char code[] = { 0x0f, 0x05 };
    const greg_t *registers = ((ucontext_t *)test_trap_context)->uc_mcontext.gregs;
    return registers[REG_RAX] == number &&
           memcmp((const void *)registers[REG_RIP], code, sizeof code) == 0;
#else
    return number < 0;
#endif
}

static void test_trap_taken(int number, siginfo_t *info, void *context)
{
    (void)info;
    test_trap_context = context;
    test_trap_handler(number);
}

/* Has `handler` run after each instruction between test_trap_on and test_trap_off. */
static inline void test_trap_to(void (*handler)(int))
{
    if (!TEST_CAN_STEP)
        test_skip("the single-step flag is particular to x86_64");
    if (test_under_valgrind())
        test_skip("valgrind has no single-step trap");
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = test_trap_taken;
    action.sa_flags = SA_SIGINFO;
    test_trap_handler = handler;
    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

#endif
