/* A program that puts its own in the place of operator new and delete, and leaves the other forms to others: all of these
 * come to its own then, as C++ has it, with whatever it puts before its blocks. */
#include "operators_test.h"

#include <string>
#include <vector>

static std::size_t news, deletes;
static bool refuses;

static const std::size_t before = 16; /* bytes of the program's, before each block */
static const std::align_val_t wide{ 128 };

static void *give(char *start, std::size_t bytes)
{
    if (!start)
        throw std::bad_alloc();
    news++;
    *reinterpret_cast<std::size_t *>(start) = bytes;
    return start + bytes;
}

static void take(void *block, std::size_t bytes)
{
    if (!block)
        return;
    deletes++;
    char *start = static_cast<char *>(block) - bytes;
    CHECK(*reinterpret_cast<std::size_t *>(start) == bytes);
    std::free(start);
}

UNSEEN void *operator new(std::size_t bytes)
{
    return give(refuses ? nullptr : static_cast<char *>(std::malloc(before + bytes)), before);
}

UNSEEN void operator delete(void *block) noexcept
{
    take(block, before);
}

UNSEEN void *operator new(std::size_t bytes, std::align_val_t alignment)
{
    const std::size_t more = static_cast<std::size_t>(alignment);
    void *start = nullptr;
    if (refuses || posix_memalign(&start, more, more + bytes))
        start = nullptr;
    return give(static_cast<char *>(start), more);
}

UNSEEN void operator delete(void *block, std::align_val_t alignment) noexcept
{
    take(block, static_cast<std::size_t>(alignment));
}

static void use_forms(std::size_t bytes)
{
    ::operator delete(seen(::operator new(bytes)), bytes);
    ::operator delete(seen(::operator new(bytes, std::nothrow)), std::nothrow);
    ::operator delete[](seen(::operator new[](bytes)));
    ::operator delete[](seen(::operator new[](bytes)), bytes);
    ::operator delete[](seen(::operator new[](bytes, std::nothrow)), std::nothrow);
    ::operator delete(seen(::operator new(bytes, wide)), bytes, wide);
    ::operator delete(seen(::operator new(bytes, wide, std::nothrow)), wide, std::nothrow);
    ::operator delete[](seen(::operator new[](bytes, wide)), wide);
    ::operator delete[](seen(::operator new[](bytes, wide)), bytes, wide);
    ::operator delete[](seen(::operator new[](bytes, wide, std::nothrow)), wide, std::nothrow);
}

int main()
{
    use_forms(100);
    CHECK(news == 10 && deletes == 10);
    use_forms(100000);
    CHECK(news == 20 && deletes == 20);

    {
        std::vector<std::string> strings(100, std::string(100, 'x'));
        CHECK(news >= 121);
    }
    CHECK(news == deletes);

    refuses = true;
    CHECK(throws_bad_alloc([] { seen(::operator new[](1)); }));
    CHECK(throws_bad_alloc([] { seen(::operator new[](1, wide)); }));
    CHECK(!seen(::operator new(1, std::nothrow)));
    CHECK(!seen(::operator new[](1, std::nothrow)));
    CHECK(!seen(::operator new(1, wide, std::nothrow)));
    CHECK(!seen(::operator new[](1, wide, std::nothrow)));
    CHECK(news == deletes);
    return 0;
}
