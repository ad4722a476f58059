/* C++'s operators new and delete in all their forms: alignment, sizes, the new handler, std::bad_alloc,
 * nothrow. What one form gives comes back by another in mismatched.c. */
#include "operators_test.h"

#include <malloc.h>
#include <stdexcept>
#include <string>
#include <vector>

static const std::size_t huge = PTRDIFF_MAX;
static volatile std::size_t volatile_huge = huge;

static bool aligned(const void *block, std::size_t alignment)
{
    return block && reinterpret_cast<std::uintptr_t>(block) % alignment == 0;
}

static void test_forms()
{
    for (std::size_t bytes = 0; bytes < 5000; bytes += 37) {
        const std::align_val_t wide{ 128 };
        void *block = seen(::operator new(bytes));
        CHECK(aligned(block, 16));
        ::operator delete(block);
        block = seen(::operator new[](bytes));
        CHECK(aligned(block, 16));
        ::operator delete[](block);
        ::operator delete(seen(::operator new(bytes)), bytes);
        ::operator delete[](seen(::operator new[](bytes)), bytes);
        ::operator delete(seen(::operator new(bytes, std::nothrow)), std::nothrow);
        ::operator delete[](seen(::operator new[](bytes, std::nothrow)), std::nothrow);
        block = seen(::operator new(bytes, wide));
        CHECK(aligned(block, 128));
        ::operator delete(block, wide);
        block = seen(::operator new[](bytes, wide));
        CHECK(aligned(block, 128));
        ::operator delete[](block, wide);
        ::operator delete(seen(::operator new(bytes, wide)), bytes, wide);
        ::operator delete[](seen(::operator new[](bytes, wide)), bytes, wide);
        ::operator delete(seen(::operator new(bytes, wide, std::nothrow)), wide, std::nothrow);
        ::operator delete[](seen(::operator new[](bytes, wide, std::nothrow)), wide, std::nothrow);
        CHECK(malloc_usable_size(block = seen(::operator new(bytes))) >= bytes);
        ::operator delete(block);
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
}

static void test_throws()
{
    const std::size_t bytes = volatile_huge;
    const std::align_val_t wide{ 64 };
    CHECK(throws_bad_alloc([&] { seen(::operator new(bytes)); }));
    CHECK(throws_bad_alloc([&] { seen(::operator new[](bytes)); }));
    CHECK(throws_bad_alloc([&] { seen(::operator new(bytes, wide)); }));
    CHECK(throws_bad_alloc([&] { seen(::operator new[](bytes, wide)); }));
    CHECK(seen(::operator new(bytes, std::nothrow)) == nullptr);
    CHECK(seen(::operator new[](bytes, std::nothrow)) == nullptr);
    CHECK(seen(::operator new(bytes, wide, std::nothrow)) == nullptr);
    CHECK(seen(::operator new[](bytes, wide, std::nothrow)) == nullptr);
    std::vector<std::string> words(10, std::string(1000, 'x'));
    CHECK(throws_bad_alloc([&] { words.resize(words.max_size() / 2); }));
    CHECK(words.size() == 10 && words[9].size() == 1000);
}

static int calls;

static void handle_thrice()
{
    if (++calls == 3)
        std::set_new_handler(nullptr);
}

static void handle_by_throwing()
{
    calls++;
    throw std::bad_alloc();
}

static void test_handler()
{
    const std::size_t bytes = volatile_huge;
    calls = 0;
    std::set_new_handler(handle_thrice);
    CHECK(throws_bad_alloc([&] { seen(::operator new(bytes)); }));
    CHECK(calls == 3);

    calls = 0;
    std::set_new_handler(handle_by_throwing);
    CHECK(throws_bad_alloc([&] { seen(::operator new[](bytes)); }));
    CHECK(throws_bad_alloc([&] { seen(::operator new[](bytes, std::align_val_t{ 4096 })); }));
    CHECK(calls == 2);
    /* nothrow calls the handler, too, and returns what it throws as nullptr. */
    CHECK(seen(::operator new(bytes, std::nothrow)) == nullptr);
    CHECK(seen(::operator new[](bytes, std::align_val_t{ 64 }, std::nothrow)) == nullptr);
    CHECK(calls == 4);
    std::set_new_handler(nullptr);
}

int main()
{
    void *block = std::malloc(25);
    CHECK(malloc_usable_size(block) <= 32);
    std::free(block);
    test_forms();
    test_throws();
    test_handler();
    return 0;
}
