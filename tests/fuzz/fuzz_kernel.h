/* fuzz_kernel.h - the core, on a kernel that answers an input alike whenever it runs: who calls
 * and which threads live is told by the threads themselves (fuzz_threads.h), random numbers are
 * not random, and an instance lies where that of the last input lay. Beneath it is emma_fault.h,
 * which refuses calls and owns the clock. */
#ifndef EMMA_FUZZ_KERNEL_H
#define EMMA_FUZZ_KERNEL_H

#define TEST_END_FAILED() abort()
#define EMMA_SYSCALL      fuzz_syscall
#include "../core/emma_fault.h"

/* Beyond what the kernel gives threads, so that no id is mistaken for one of its own. */
enum { KERNEL_ID_FIRST = 5000000, KERNEL_IDS = 1 << 16 };

static struct {
    uintptr_t place;     /* of the next mapping that may be anywhere */
    size_t mapped_bytes; /* in mappings that were put anywhere, and not unmapped since */
    int descriptors;     /* that are open */
    test_rng rng;
    uint32_t next_id;                /* not given to a thread yet */
    unsigned char lives[KERNEL_IDS]; /* how many threads have this id and are not gone */
} kernel;

static _Thread_local uint32_t kernel_id; /* the calling thread's */

static void kernel_begin(void)
{
    /* Far from all that a process has, with a sanitizer or without. */
    kernel.place = (uintptr_t)1 << 45;
    kernel.mapped_bytes = 0;
    kernel.descriptors = 0;
    kernel.rng = (test_rng){ 1 };
    memset(kernel.lives, 0, kernel.next_id);
    kernel.next_id = 0;
    memset(&fault, 0, sizeof fault);
}

/* Verifies that the core has nothing of the kernel's any more. */
static void kernel_end(void)
{
    CHECK_EQ(kernel.mapped_bytes, 0);
    CHECK_EQ(kernel.descriptors, 0);
}

/* Notes what a call that was answered took, or gave back. */
static void kernel_count(long number, long a, long b)
{
    if (number == SYS_mmap && !a)
        kernel.mapped_bytes += (size_t)b;
    else if (number == SYS_munmap ||
             number == SYS_mremap) /* which moves it to a place that counts */
        kernel.mapped_bytes -= (size_t)b;
    else if (number == SYS_memfd_create || number == SYS_openat)
        kernel.descriptors++;
    else if (number == SYS_close)
        kernel.descriptors--;
}

static uint32_t kernel_new_id(void)
{
    CHECK_LT(kernel.next_id, KERNEL_IDS);
    return KERNEL_ID_FIRST + kernel.next_id++;
}

/* A place for `bytes`; 0, anywhere: for what is only asked for to see whether it is refused. */
static long kernel_place(size_t bytes)
{
    const size_t step = (size_t)64 * TEST_GIB;
    if (bytes > step)
        return 0;
    kernel.place += step;
    return (long)kernel.place;
}

static long kernel_random(void *out, size_t bytes)
{
    CHECK_EQ(bytes, sizeof(uint64_t));
    *(uint64_t *)out = test_random(&kernel.rng);
    return (long)bytes;
}

long fuzz_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    switch (number) {
    case SYS_gettid:
        return kernel_id;
    case SYS_tgkill:
        CHECK_LT(b - KERNEL_ID_FIRST, kernel.next_id);
        return kernel.lives[b - KERNEL_ID_FIRST] ? 0 : -ESRCH;
    case SYS_getrandom:
        return kernel_random((void *)a, (size_t)b);
    }
    const long at = number == SYS_mmap && !a ? kernel_place((size_t)b) : a;
    const long result = fault_syscall(number, at, b, c, d, e, f);
    if ((unsigned long)result <= -(unsigned long)TEST_PAGE_BYTES)
        kernel_count(number, a, b);
    return result;
}

#endif
