/* operators_test.h - what the tests of C++'s operators share. */
#ifndef OPERATORS_TEST_H
#define OPERATORS_TEST_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            std::_Exit(1);                                                               \
        }                                                                                \
    } while (0)

/* Of a function: compilers believe to know what an operator does. */
#define UNSEEN __attribute__((noinline))

/* Hides where a block comes from: compilers leave out a new that is only deleted. */
template <typename Type> static inline Type *seen(Type *block)
{
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

template <typename Call> static inline bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

#endif
