/* test-options: limit=64M */
/* A handler of new's that makes room, for each form of new: the block that comes after all is of that form, and goes back
 * by its delete. */
#include "operators_test.h"

#include <initializer_list>

static const std::size_t large = std::size_t(40) << 20;
static const std::align_val_t narrow{ 8 }, wide{ 4096 };

static void *spare;
static int calls;

static void make_room()
{
    calls++;
    CHECK(spare != nullptr);
    std::free(spare);
    spare = nullptr;
}

/* A block for which there is room only after the handler was called. */
template <typename Make, typename Release> static void come_and_go(Make make, Release release)
{
    spare = std::malloc(large);
    CHECK(spare != nullptr);
    calls = 0;
    void *block = make();
    CHECK(block != nullptr);
    CHECK(calls == 1);
    release(block);
}

int main()
{
    std::set_new_handler(make_room);
    const auto release = [](void *block) { ::operator delete(block); };
    const auto release_array = [](void *block) { ::operator delete[](block, large); };
    come_and_go([] { return ::operator new(large); }, release);
    come_and_go([] { return ::operator new(large, std::nothrow); }, release);
    come_and_go([] { return ::operator new[](large); }, release_array);
    come_and_go([] { return ::operator new[](large, std::nothrow); }, release_array);
    for (const std::align_val_t alignment : { narrow, wide }) {
        const auto release_aligned = [=](void *block) { ::operator delete(block, large, alignment); };
        const auto release_array_aligned = [=](void *block) { ::operator delete[](block, alignment); };
        come_and_go([=] { return ::operator new(large, alignment); }, release_aligned);
        come_and_go([=] { return ::operator new(large, alignment, std::nothrow); }, release_aligned);
        come_and_go([=] { return ::operator new[](large, alignment); }, release_array_aligned);
        come_and_go([=] { return ::operator new[](large, alignment, std::nothrow); }, release_array_aligned);
    }
    return 0;
}
