/* emma_os.c - the kernel as the core sees it: address space, pages, a clock, stderr.
 *
 * The only file that makes system calls. Ranges are whole pages. Nothing here keeps state. */
#include "emma_internal.h"

#define PROT_NONE_ACCESS                0
#define PROT_READ_WRITE                 3
#define PROT_READ_ONLY                  1
#define MAP_PRIVATE_FILE                0x02
#define MAP_PRIVATE_FIXED_NORESERVE     (0x02 | 0x10 | 0x4000)
#define MAP_PRIVATE_ANONYMOUS_NORESERVE (0x02 | 0x20 | 0x4000)
#define MREMAP_MAYMOVE_FIXED            (1 | 2)
#define MEMFD_CLOEXEC_ALLOW_SEALING     (1 | 2)
#define RESOURCE_FILE_BYTES             1
#define FCNTL_ADD_SEALS                 1033
#define SEAL_ALL                        (1 | 2 | 4 | 8) /* seals, shrink, grow, write */
#define AT_WORKING_FOLDER               (-100)
#define OPEN_READ_CLOEXEC               02000000
#define PAGEMAP_SCAN                    0xC0606610 /* _IOWR('f', 16, struct of 96 bytes) */
#define PAGE_IS_FILE                    4
#define PAGE_IS_PRESENT                 8
#define PAGE_IS_SWAPPED                 16
#define PAGE_IS_ZERO_PAGE               32
#define ADVICE_DONTNEED                 4
#define ADVICE_HUGEPAGE                 14
#define ADVICE_NOHUGEPAGE               15
#define ADVICE_WIPEONFORK               18
#define ADVICE_POPULATE_WRITE           23
#define ADVICE_GUARD_INSTALL            102
#define ADVICE_GUARD_REMOVE             103
#define NO_SUCH_THREAD                  3
#define PRCTL_SET_VMA                   0x53564d41
#define PRCTL_SET_VMA_ANON_NAME         0
#define CLOCK_MONOTONIC                 1
#define CLOCK_MONOTONIC_COARSE          6
#define GETRANDOM_NONBLOCK              1
#define MAX_ERRNO                       4095
#define OVERCOMMIT_PROBE_BYTES          ((size_t)1 << 44)
#define STDERR_DESCRIPTOR               2

_Static_assert(sizeof(emmai_scan) == 96, "as PAGEMAP_SCAN says");

static long os_advise(void *start, size_t bytes, long advice)
{
    return emmai_arch_syscall(EMMAI_SYS_MADVISE, (long)start, (long)bytes, advice, 0, 0, 0);
}

/* What mmap answered, NULL when it refused. */
static void *os_mapped(long result)
{
    return (unsigned long)result > -(unsigned long)MAX_ERRNO - 1 ? NULL : (void *)result;
}

static void *os_map(size_t bytes, long access)
{
    return os_mapped(emmai_arch_syscall(EMMAI_SYS_MMAP, 0, (long)bytes, access,
                                        MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0));
}

/* Reserves address space without access; NULL when refused. */
static void *emmai_os_reserve(size_t bytes)
{
    return os_map(bytes, PROT_NONE_ACCESS);
}

/* Maps zeroed memory; NULL when refused. */
static void *emmai_os_memory(size_t bytes)
{
    return os_map(bytes, PROT_READ_WRITE);
}

/* Where the kernel keeps the address space, as it may at its limit on mappings, it gets the memory
 * back at least: it no longer counts. */
static void emmai_os_release(void *start, size_t bytes)
{
    if (emmai_arch_syscall(EMMAI_SYS_MUNMAP, (long)start, (long)bytes, 0, 0, 0, 0) != 0)
        os_advise(start, bytes, ADVICE_DONTNEED);
}

/* Makes reserved pages readable and writable; false when the kernel refuses the charge. */
static bool emmai_os_commit(void *start, size_t bytes)
{
    return emmai_arch_syscall(EMMAI_SYS_MPROTECT, (long)start, (long)bytes, PROT_READ_WRITE, 0, 0,
                              0) == 0;
}

/* Makes pages readable only; where the kernel refuses, they stay as they are. */
static void emmai_os_protect(void *start, size_t bytes)
{
    emmai_arch_syscall(EMMAI_SYS_MPROTECT, (long)start, (long)bytes, PROT_READ_ONLY, 0, 0, 0);
}

/* Gives pages back: they stay accessible and read as zero. False when the kernel kept them. */
static bool emmai_os_purge(void *start, size_t bytes)
{
    return os_advise(start, bytes, ADVICE_DONTNEED) == 0;
}

/* Gives pages back, and has every touch of them fault until emmai_os_unguard. False when the kernel
 * kept them: before Linux 6.13, or where memory is locked; it may have begun: none stays a guard. */
static bool emmai_os_guard(void *start, size_t bytes)
{
    bool guarded = os_advise(start, bytes, ADVICE_GUARD_INSTALL) == 0;
    if (!guarded)
        os_advise(start, bytes, ADVICE_GUARD_REMOVE);
    return guarded;
}

static bool emmai_os_unguard(void *start, size_t bytes)
{
    return os_advise(start, bytes, ADVICE_GUARD_REMOVE) == 0;
}

/* Keeps the kernel from putting a huge page where emma counts small ones (the hard limit). False when it kept
 * an earlier advice, or has no huge pages. */
static bool emmai_os_small_pages(void *start, size_t bytes)
{
    return os_advise(start, bytes, ADVICE_NOHUGEPAGE) == 0;
}

/* Lets the kernel serve touches of a range by huge pages, where it has any. */
static void emmai_os_huge_pages(void *start, size_t bytes)
{
    os_advise(start, bytes, ADVICE_HUGEPAGE);
}

/* Faults pages in by one call instead of one fault each; kernels before 5.14 do not, and then
 * faults do it. */
static void emmai_os_populate(void *start, size_t bytes)
{
    os_advise(start, bytes, ADVICE_POPULATE_WRITE);
}

/* Whether making reserved pages accessible is free of charge (vm.overcommit_memory is not 2): found
 * out by asking for more than any machine has, since /proc may be missing or forbidden. */
static bool emmai_os_overcommits(void)
{
    void *probe = os_map(OVERCOMMIT_PROBE_BYTES, PROT_READ_WRITE);
    if (probe)
        emmai_os_release(probe, OVERCOMMIT_PROBE_BYTES);
    return probe != NULL;
}

static void emmai_os_name(void *start, size_t bytes, const char *name)
{
    emmai_arch_syscall(EMMAI_SYS_PRCTL, PRCTL_SET_VMA, PRCTL_SET_VMA_ANON_NAME, (long)start,
                       (long)bytes, (long)name, 0);
}

static uint64_t os_now_ns(long clock)
{
    int64_t now[2]; /* seconds, nanoseconds */
    now[0] = now[1] = 0;
    emmai_arch_syscall(EMMAI_SYS_CLOCK_GETTIME, clock, (long)now, 0, 0, 0, 0);
    return (uint64_t)now[0] * 1000000000 + (uint64_t)now[1];
}

/* Milliseconds of a clock that never goes back, some behind. */
static uint64_t emmai_os_now_ms(void)
{
    return os_now_ns(CLOCK_MONOTONIC_COARSE) / 1000000;
}

/* Microseconds of a clock that never goes back. */
static uint64_t emmai_os_now_us(void)
{
    return os_now_ns(CLOCK_MONOTONIC) / 1000;
}

/* A number that an attacker should not know; weaker where the kernel has no entropy to give yet. */
static uint64_t emmai_os_random(const void *fallback)
{
    uint64_t value = 0;
    emmai_arch_syscall(EMMAI_SYS_GETRANDOM, (long)&value, sizeof value, GETRANDOM_NONBLOCK, 0, 0,
                       0);
    if (!value) /* two instances at the same address are not of the same moment */
        value = ((uint64_t)(uintptr_t)fallback + emmai_arch_ticks()) * 0x9e3779b97f4a7c15u;
    return value;
}

/* The kernel's id of the calling thread. */
static long emmai_os_thread_id(void)
{
    return emmai_arch_syscall(EMMAI_SYS_GETTID, 0, 0, 0, 0, 0, 0);
}

/* The kernel's id of the process. */
static long emmai_os_process_id(void)
{
    return emmai_arch_syscall(EMMAI_SYS_GETPID, 0, 0, 0, 0, 0, 0);
}

/* Whether a process has a thread with this id. */
static bool emmai_os_thread_lives(uint32_t process_id, uint32_t kernel_id)
{
    return emmai_arch_syscall(EMMAI_SYS_TGKILL, (long)process_id, (long)kernel_id, 0, 0, 0, 0) !=
           -NO_SUCH_THREAD;
}

/* Makes the kernel clear pages in the child of a fork; false where it cannot (before Linux 4.14). */
static bool emmai_os_clear_on_fork(void *start, size_t bytes)
{
    return os_advise(start, bytes, ADVICE_WIPEONFORK) == 0;
}

/* ---- files in memory ---- */

/* Whether a file may be so large: the kernel ends a process that makes a larger one. */
static bool os_file_may_be(size_t bytes)
{
    uint64_t limit[2]; /* soft, hard */
    limit[0] = 0;
    return emmai_arch_syscall(EMMAI_SYS_GETRLIMIT, RESOURCE_FILE_BYTES, (long)limit, 0, 0, 0, 0) ==
               0 &&
           bytes <= limit[0];
}

/* Makes a file of `bytes` that has nothing yet; negative when refused, or by a kernel before 3.17. */
static int emmai_os_file(const char *name, size_t bytes)
{
    if (!os_file_may_be(bytes))
        return -1;
    long file = emmai_arch_syscall(EMMAI_SYS_MEMFD_CREATE, (long)name, MEMFD_CLOEXEC_ALLOW_SEALING,
                                   0, 0, 0, 0);
    if (file >= 0 && emmai_arch_syscall(EMMAI_SYS_FTRUNCATE, file, (long)bytes, 0, 0, 0, 0) != 0) {
        emmai_os_close((int)file);
        return -1;
    }
    return (int)file;
}

static void emmai_os_close(int file)
{
    emmai_arch_syscall(EMMAI_SYS_CLOSE, file, 0, 0, 0, 0, 0);
}

/* Writes at an offset; false when the kernel has no memory for it. */
static bool emmai_os_write(int file, const char *bytes, size_t count, size_t offset)
{
    while (count) {
        long done = emmai_arch_syscall(EMMAI_SYS_PWRITE64, file, (long)bytes, (long)count,
                                       (long)offset, 0, 0);
        if (done <= 0)
            return false;
        bytes += done;
        offset += (size_t)done;
        count -= (size_t)done;
    }
    return true;
}

/* Keeps everybody from changing the file. */
static bool emmai_os_seal(int file)
{
    return emmai_arch_syscall(EMMAI_SYS_FCNTL, file, FCNTL_ADD_SEALS, SEAL_ALL, 0, 0, 0) == 0;
}

/* Maps the file to be read; NULL when refused. Privately: before 6.7 the kernel refuses a shared view of a sealed
 * file. */
static const char *emmai_os_view(int file, size_t bytes)
{
    return os_mapped(emmai_arch_syscall(EMMAI_SYS_MMAP, 0, (long)bytes, PROT_READ_ONLY,
                                        MAP_PRIVATE_FILE, file, 0));
}

/* Puts a part of the file in the place of memory, privately: what is written there stays there. */
static bool emmai_os_overlay(int file, void *start, size_t bytes, size_t offset)
{
    return os_mapped(emmai_arch_syscall(EMMAI_SYS_MMAP, (long)start, (long)bytes, PROT_READ_WRITE,
                                        MAP_PRIVATE_FIXED_NORESERVE, file, (long)offset)) != NULL;
}

/* Puts memory in the place of other memory, in one step. */
static bool emmai_os_move(void *from, size_t bytes, void *to)
{
    return os_mapped(emmai_arch_syscall(EMMAI_SYS_MREMAP, (long)from, (long)bytes, (long)bytes,
                                        MREMAP_MAYMOVE_FIXED, (long)to, 0)) != NULL;
}

/* ---- which pages are a mapping's own ---- */

/* Opens what emmai_os_scan asks, of the process that this is now; negative where there is no /proc. */
static int emmai_os_open_scan(void)
{
    return (int)emmai_arch_syscall(EMMAI_SYS_OPENAT, AT_WORKING_FOLDER, (long)"/proc/self/pagemap",
                                   OPEN_READ_CLOEXEC, 0, 0, 0);
}

/* Fills scan->regions with stretches of anonymous pages, from scan->start on, written to or swapped out; sets
 * scan->walk_end to where it stopped. Returns how many; negative before Linux 6.7. */
static long emmai_os_scan(int file, emmai_scan *scan)
{
    scan->bytes = sizeof *scan;
    scan->inverted = scan->all_of = PAGE_IS_FILE | PAGE_IS_ZERO_PAGE;
    scan->any_of = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    scan->report = PAGE_IS_PRESENT;
    return emmai_arch_syscall(EMMAI_SYS_IOCTL, file, PAGEMAP_SCAN, (long)scan, 0, 0, 0);
}

static void emmai_os_print(const char *text, size_t bytes)
{
    emmai_arch_syscall(EMMAI_SYS_WRITE, STDERR_DESCRIPTOR, (long)text, (long)bytes, 0, 0, 0);
}
