/* emma_fault.h - the core, with a layer between it and the kernel that can refuse a system call and
 * owns the clock.
 *
 * A test that includes this compiles the core itself. It may define EMMA_SYSCALL before, for a
 * layer of its own above this one. A refusal is -ENOMEM, and the call is not made. munmap and
 * close are never refused: releasing cannot fail; nor is what tells a thread its id. Any thread
 * may be in here at any time. */
#ifndef EMMA_FAULT_H
#define EMMA_FAULT_H

#include <sys/syscall.h>

#include "emma_test.h"

#ifndef EMMA_SYSCALL
#define EMMA_SYSCALL fault_syscall
#endif
long fault_syscall(long number, long a, long b, long c, long d, long e, long f);
#include "../../core/emma.c"

static struct {
    uint64_t calls;              /* that could have been refused; atomic */
    uint64_t failures;           /* that were; atomic */
    uint64_t at;                 /* the call to refuse, counted from 1; 0: none */
    uint64_t from;               /* this and all later ones are refused; 0: none */
    uint64_t every;              /* each n-th is refused; 0: none */
    uint64_t clock_ms;           /* what the core's clock shows */
    void (*before)(long number); /* runs before each call, as a signal handler would */
    /* Answers in the kernel's place where it returns true; `b` is the call's second argument. */
    bool (*answer)(long number, long b, long *result);
    /* The same, told all arguments; it may make the call itself, by fault_make. */
    bool (*replace)(long number, const long arguments[6], long *result);
} fault;

static _Thread_local uint64_t fault_mine; /* failures of this thread's calls */

static inline bool fault_may_refuse(long number)
{
    return number != SYS_munmap && number != SYS_close && number != SYS_write &&
           number != SYS_gettid && number != SYS_getpid;
}

static inline bool fault_refuses(void)
{
    const uint64_t call = __atomic_add_fetch(&fault.calls, 1, __ATOMIC_RELAXED);
    return (fault.at && call == fault.at) || (fault.from && call >= fault.from) ||
           (fault.every && call % fault.every == 0);
}

/* What the kernel answers. */
static inline long fault_make(long number, const long arguments[6])
{
    const int saved = errno;
    const long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                arguments[4], arguments[5]);
    const long answer = result == -1 ? -errno : result;
    errno = saved;
    return answer;
}

long fault_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (fault.before)
        fault.before(number);
    const long arguments[6] = { a, b, c, d, e, f };
    long answered;
    if ((fault.answer && fault.answer(number, b, &answered)) ||
        (fault.replace && fault.replace(number, arguments, &answered)))
        return answered;
    if (number == SYS_clock_gettime) {
        long *now = (long *)b;
        now[0] = (long)(fault.clock_ms / 1000);
        now[1] = (long)(fault.clock_ms % 1000 * 1000000);
        return 0;
    }
    if (fault_may_refuse(number) && fault_refuses()) {
        __atomic_add_fetch(&fault.failures, 1, __ATOMIC_RELAXED);
        fault_mine++;
        return -ENOMEM;
    }
    return fault_make(number, arguments);
}

static inline uint64_t fault_failures(void)
{
    return fault_mine;
}

static inline void fault_none(void)
{
    fault.at = fault.from = fault.every = 0;
}

#endif
