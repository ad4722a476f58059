/* emma.h in C++: it compiles without a warning, links, and its names are usable as a C++ program would. */
#include "../../core/emma.h"

#include <cstdio>
#include <cstring>
#include <new>

namespace
{
struct deleter {
    emma *instance;
    void operator()(void *block) const { emma_free(instance, block); }
};

struct point {
    double x, y;
};

bool count(void *arg, void *, std::size_t bytes)
{
    *static_cast<std::size_t *>(arg) += bytes;
    return true;
}
} // namespace

int main()
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.limit_bytes = std::size_t(1) << 20;
    options.name = "c++";
    if (emma_options_check(&options) != EMMA_OK)
        return 1;
    emma *instance = emma_create(&options);
    if (!instance)
        return 2;
    point *made = new (emma_malloc(instance, sizeof(point))) point{ 1, 2 };
    std::size_t walked = 0;
    if (!emma_walk(instance, count, &walked) || walked < sizeof(point))
        return 3;
    emma_stats stats = {};
    stats.struct_bytes = sizeof stats;
    emma_get_stats(instance, &stats);
    if (stats.live_blocks != 1 || made->y != 2)
        return 4;
    deleter{ instance }(made);
    emma_destroy(instance);
    return std::strcmp(emma_version(), EMMA_VERSION) == 0 ? 0 : 5;
}
