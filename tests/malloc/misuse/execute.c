/* execute.c - code that an attacker brought into a block, and jumps to. */
#include "misuse.h"

#define ANSWER 42

#if defined(__x86_64__)
static const unsigned char code[] = { 0xb8, ANSWER, 0, 0, 0, 0xc3 };
#elif defined(__aarch64__)
static const unsigned char code[] = { 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#else
static const unsigned char code[] = { 0 };
#define NO_CODE 1
#endif

static void put_code(char *block)
{
    misuse_require(block != NULL);
    memcpy(block, code, sizeof code);
    __builtin___clear_cache(block, block + sizeof code);
}

static misuse_outcome jump(const char *block)
{
#ifdef NO_CODE
    (void)block;
    return MISUSE_NOT_APPLICABLE;
#else
    int (*function)(void);
    memcpy(&function, &block, sizeof function);
    return misuse_if(function() == ANSWER);
#endif
}

static misuse_outcome live(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_malloc(bytes);
    put_code(block);
    return jump(block);
}

static misuse_outcome aligned(size_t bytes, size_t alignment)
{
    char *block = misuse_aligned_alloc(alignment, misuse_multiple(bytes, alignment));
    put_code(block);
    return jump(block);
}

static misuse_outcome freed(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_malloc(bytes);
    misuse_free(block);
    put_code(block);
    return jump(block);
}

const misuse_case misuse_execute[] = {
    { "execute_block", "execute", live, 0 },
    { "execute_aligned_block", "execute", aligned, 4096 },
    { "execute_freed_block", "execute", freed, 0 },
    { NULL, NULL, NULL, 0 },
};
