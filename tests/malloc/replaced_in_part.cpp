/* Programs that put their own in the place of one operator only, PART, on top of the allocator that serves all others: what
 * works with the C++ library's works, in a checked build, too. One of them has none of its own, but asks for the address of
 * one: where it is not position-independent, that is an address in the program. */
#include "operators_test.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

enum { NEW, DELETE, NEW_ARRAY, DELETE_ARRAY, ALIGNED_NEW, ALIGNED_DELETE, ADDRESS };

static volatile std::size_t calls;

#if PART == 0
UNSEEN void *operator new(std::size_t bytes)
{
    calls = calls + 1;
    void *block = std::malloc(bytes);
    return block ? block : throw std::bad_alloc();
}
#elif PART == 1
UNSEEN void operator delete(void *block) noexcept
{
    calls = calls + 1;
    std::free(block);
}
#elif PART == 2
UNSEEN void *operator new[](std::size_t bytes)
{
    calls = calls + 1;
    return ::operator new(bytes);
}
#elif PART == 3
UNSEEN void operator delete[](void *block) noexcept
{
    calls = calls + 1;
    ::operator delete(block);
}
#elif PART == 4
UNSEEN void *operator new(std::size_t bytes, std::align_val_t alignment)
{
    calls = calls + 1;
    void *block = nullptr;
    return posix_memalign(&block, std::size_t(alignment), bytes) ? throw std::bad_alloc() : block;
}
#elif PART == 5
UNSEEN void operator delete(void *block, std::align_val_t) noexcept
{
    calls = calls + 1;
    std::free(block);
}
#endif

struct alignas(64) wide {
    int numbers[16];
};

struct named {
    std::string name = std::string(50, 'x');
};

int main()
{
    for (int i = 0; i < 100; i++) {
        delete seen(new int(i));
        delete[] seen(new int[10]);
        delete seen(new named);
        delete[] seen(new named[3]);
        delete seen(new wide);
        delete[] seen(new wide[3]);
        for (const std::align_val_t alignment : { std::align_val_t(32), std::align_val_t(4096) }) {
            void *block = ::operator new(100, alignment);
            CHECK(reinterpret_cast<std::uintptr_t>(block) % std::size_t(alignment) == 0);
            ::operator delete(block, alignment);
        }
        delete seen(new (std::nothrow) named);
        delete[] seen(new (std::nothrow) named[3]);
        delete[] seen(new (std::nothrow) wide[3]);
        std::vector<named> names(20);
        std::vector<wide> numbers(20);
        const auto shared = std::make_shared<named>();
    }
    if (PART == ADDRESS) {
        void *(*allocate)(std::size_t) = ::operator new;
        void (*release)(void *) = ::operator delete;
        const std::function<void *(std::size_t)> call = allocate;
        release(seen(static_cast<char *>(call(100))));
        const std::shared_ptr<void> block(allocate(5), release);
        calls = 1;
    }
    CHECK(calls > 0);
    return 0;
}
