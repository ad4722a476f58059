/* no_libc.c - a static program without a C library: its own _start, and emma for its memory.
 *
 * Build, in the project's top folder (x86-64 Linux):
 *     cc -O2 -ffreestanding -fno-stack-protector -fno-pie -nostdlib -static -Icore \
 *         examples/no_libc.c core/emma.c -o no_libc
 *
 * Expected output:
 *     primes below 200000: 17984, the last one 199999
 *     live blocks: 0
 *     emma_check: OK
 */
#include "emma.h"

#if !defined(__x86_64__) || !defined(__linux__)
#error "this example knows the system calls of x86-64 Linux only"
#endif

enum { SYS_WRITE = 1, SYS_EXIT_GROUP = 231, STANDARD_OUTPUT = 1 };
enum { BELOW = 200000, PRIMES_AT_FIRST = 16, DIGITS_MAX = 20 };

static long system_call(long number, long first, const void *second, size_t third)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

_Noreturn static void leave(int status)
{
    for (;;)
        system_call(SYS_EXIT_GROUP, status, NULL, 0);
}

static void print(const char *text)
{
    size_t bytes = 0;
    while (text[bytes] != '\0')
        bytes++;
    system_call(SYS_WRITE, STANDARD_OUTPUT, text, bytes);
}

static void print_number(size_t number)
{
    char digits[DIGITS_MAX + 1];
    char *first = digits + DIGITS_MAX;
    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(first);
}

/* Primes in a block that grows as they are found. */
typedef struct prime_list {
    size_t *primes;
    size_t count;
    size_t room;
} prime_list;

static bool prime_list_add(emma *instance, prime_list *list, size_t prime)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? PRIMES_AT_FIRST : list->room * 2;
        size_t *primes = emma_realloc(instance, list->primes, room * sizeof *primes);
        if (primes == NULL)
            return false;
        list->primes = primes;
        list->room = room;
    }
    list->primes[list->count++] = prime;
    return true;
}

static bool find_primes(emma *instance, prime_list *list)
{
    bool *composite = emma_calloc(instance, BELOW, sizeof *composite);
    bool found = composite != NULL;
    for (size_t n = 2; found && n < BELOW; n++) {
        if (composite[n])
            continue;
        found = prime_list_add(instance, list, n);
        for (size_t multiple = n * n; multiple < BELOW; multiple += n)
            composite[multiple] = true;
    }
    emma_free(instance, composite);
    return found;
}

static int run(void)
{
    emma *instance = emma_create(NULL);
    if (instance == NULL)
        return 1;

    prime_list list = { NULL, 0, 0 };
    if (!find_primes(instance, &list))
        return 1;
    print("primes below ");
    print_number(BELOW);
    print(": ");
    print_number(list.count);
    print(", the last one ");
    print_number(list.primes[list.count - 1]);
    emma_free(instance, list.primes);

    emma_stats stats;
    stats.struct_bytes = sizeof stats;
    emma_get_stats(instance, &stats);
    print("\nlive blocks: ");
    print_number(stats.live_blocks);
    print("\nemma_check: ");
    print(emma_check(instance) == EMMA_OK ? "OK\n" : "failed\n");
    emma_destroy(instance);
    return 0;
}

/* Called by _start, with the stack aligned as the calling convention wants it. */
__attribute__((used)) _Noreturn static void start(void)
{
    leave(run());
}

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    and $-16, %rsp\n"
        "    call start\n");
