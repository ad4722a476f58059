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
#define EMMAI_SYS_MMAP          9
#define EMMAI_SYS_MPROTECT      10
#define EMMAI_SYS_MUNMAP        11
#define EMMAI_SYS_MADVISE       28
#define EMMAI_SYS_PRCTL         157
#define EMMAI_SYS_CLOCK_GETTIME 228
#define EMMAI_SYS_GETRANDOM     318

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

/* From this many bytes on the string instructions beat a loop. */
#define EMMAI_STRING_MIN_BYTES ((size_t)16 * 1024)

/* 16 bytes, wherever they start, whatever their type. */
typedef uint64_t emmai_vector __attribute__((vector_size(16), aligned(8), may_alias));
typedef uint64_t emmai_word __attribute__((may_alias));

#define EMMAI_FENCE_LOOP() __asm__ volatile("" : : : "memory")

/* Copies bytes, a multiple of 8, between blocks that do not overlap; both are 8-aligned. */
static inline void emmai_arch_copy(void *to, const void *from, size_t bytes)
{
    if (bytes >= EMMAI_STRING_MIN_BYTES) {
        size_t words = bytes / sizeof(uint64_t);
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
        return;
    }
    char *target = to;
    const char *source = from;
    for (const char *end = source + bytes / 32 * 32; source != end; source += 32, target += 32) {
        emmai_vector low = *(const emmai_vector *)(const void *)source;
        emmai_vector high = *(const emmai_vector *)(const void *)(source + 16);
        *(emmai_vector *)(void *)target = low;
        *(emmai_vector *)(void *)(target + 16) = high;
        EMMAI_FENCE_LOOP();
    }
    if (bytes & 16) {
        *(emmai_vector *)(void *)target = *(const emmai_vector *)(const void *)source;
        source += 16;
        target += 16;
    }
    if (bytes & 8)
        *(emmai_word *)(void *)target = *(const emmai_word *)(const void *)source;
}

/* Zeroes bytes, a multiple of 8, of an 8-aligned block. */
static inline void emmai_arch_zero(void *to, size_t bytes)
{
    if (bytes >= EMMAI_STRING_MIN_BYTES) {
        size_t words = bytes / sizeof(uint64_t);
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
        return;
    }
    emmai_vector *target = to;
    for (; bytes >= sizeof *target; bytes -= sizeof *target) {
        *target++ = (emmai_vector){ 0, 0 };
        EMMAI_FENCE_LOOP();
    }
    if (bytes)
        *(emmai_word *)(void *)target = 0;
}

#endif
