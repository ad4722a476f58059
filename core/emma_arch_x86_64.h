/* emma_arch_x86_64.h - what is particular to Linux on x86_64: system calls, copying and filling.
 *
 * The only file with inline assembly. The loops are in assembly, or fenced by it, because compilers
 * turn plain ones into calls of memcpy and memset, which a freestanding core cannot have. */
#ifndef EMMA_ARCH_X86_64_H
#define EMMA_ARCH_X86_64_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__x86_64__) || !defined(__linux__) || defined(__ILP32__)
#error "emma runs on 64-bit Linux on x86_64"
#endif

#define EMMAI_SYS_WRITE         1
#define EMMAI_SYS_CLOSE         3
#define EMMAI_SYS_MMAP          9
#define EMMAI_SYS_MPROTECT      10
#define EMMAI_SYS_MUNMAP        11
#define EMMAI_SYS_IOCTL         16
#define EMMAI_SYS_PWRITE64      18
#define EMMAI_SYS_MREMAP        25
#define EMMAI_SYS_MADVISE       28
#define EMMAI_SYS_GETPID        39
#define EMMAI_SYS_FCNTL         72
#define EMMAI_SYS_FTRUNCATE     77
#define EMMAI_SYS_GETRLIMIT     97
#define EMMAI_SYS_PRCTL         157
#define EMMAI_SYS_GETTID        186
#define EMMAI_SYS_CLOCK_GETTIME 228
#define EMMAI_SYS_TGKILL        234
#define EMMAI_SYS_OPENAT        257
#define EMMAI_SYS_GETRANDOM     318
#define EMMAI_SYS_MEMFD_CREATE  319

#ifdef EMMA_SYSCALL
/* A test's system-call layer, with the kernel's convention: -errno on failure. */
extern long EMMA_SYSCALL(long number, long a, long b, long c, long d, long e, long f);
#define emmai_arch_syscall EMMA_SYSCALL
#else
static inline long emmai_arch_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#endif

/* A number that grows with time. */
static inline uint64_t emmai_arch_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* NULL, though the compiler does not know it: where a function ends in it, clang keeps the call of
 * the function a jump. */
static inline void *emmai_arch_null(void)
{
    void *null = NULL;
    __asm__("" : "+r"(null));
    return null;
}

/* From this many bytes on the string instructions beat a loop. */
#define EMMAI_STRING_MIN_BYTES ((size_t)2 * 1024)

/* 16 bytes of words, or of any bytes, whatever their type. */
typedef uint64_t emmai_vector __attribute__((vector_size(16), aligned(8), may_alias));
typedef uint64_t emmai_vector_anywhere __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t emmai_word __attribute__((may_alias));

#define EMMAI_FENCE_LOOP() __asm__ volatile("" : : : "memory")

static inline int emmai_arch_is_zero(emmai_vector vector)
{
    return !(vector[0] | vector[1]);
}

static inline void emmai_arch_zero_32(char *to)
{
    emmai_vector *target = (void *)to;
    target[0] = target[1] = (emmai_vector){ 0, 0 };
}

static inline void emmai_arch_copy_16(char *to, const char *from)
{
    *(emmai_vector *)(void *)to = *(const emmai_vector *)(const void *)from;
}

static inline void emmai_arch_copy_32(char *to, const char *from)
{
    emmai_arch_copy_16(to, from);
    emmai_arch_copy_16(to + 16, from + 16);
}

/* Copies bytes, a multiple of 8 and not 0, between blocks that do not overlap; both are 8-aligned.
 * From the end to the start, where the last step may copy some bytes again. */
static inline void emmai_arch_copy_short(void *target, const void *source, size_t bytes)
{
    char *to = target;
    const char *from = source;
    if (bytes >= 32) {
        for (ptrdiff_t i = (ptrdiff_t)bytes - 32; i > 0; i -= 32) {
            emmai_arch_copy_32(to + i, from + i);
            __asm__ volatile("" : "+r"(i) : : "memory");
        }
        emmai_arch_copy_32(to, from);
    } else if (bytes >= 16) {
        emmai_arch_copy_16(to + bytes - 16, from + bytes - 16);
        emmai_arch_copy_16(to, from);
    } else {
        *(emmai_word *)target = *(const emmai_word *)source;
    }
}

/* The same, for any length. */
static inline void emmai_arch_copy(void *to, const void *from, size_t bytes)
{
    if (bytes < EMMAI_STRING_MIN_BYTES) {
        emmai_arch_copy_short(to, from, bytes);
        return;
    }
    size_t words = bytes / sizeof(uint64_t);
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* Zeroes bytes, a multiple of 8, of an 8-aligned block. */
static inline void emmai_arch_zero(void *to, size_t bytes)
{
    if (bytes >= EMMAI_STRING_MIN_BYTES) {
        size_t words = bytes / sizeof(uint64_t);
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
        return;
    }
    char *target = to;
    emmai_word *word = to;
    if (bytes >= 32) {
        for (ptrdiff_t i = (ptrdiff_t)bytes - 32; i > 0; i -= 32) {
            emmai_arch_zero_32(target + i);
            EMMAI_FENCE_LOOP();
        }
        emmai_arch_zero_32(target);
    } else if (bytes >= 8) {
        word[0] = word[bytes / 16] = word[bytes / 8 - 1] = 0;
    }
}

#endif
