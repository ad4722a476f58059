/* The C++ library that plugin_throws.c opens. */
#include <cstdint>
#include <new>
#include <string>

static volatile std::size_t huge = PTRDIFF_MAX;

/* How many of three things went well. */
extern "C" int plugin_run()
{
    int good = 0;
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        good++;
    }
    std::set_new_handler([] { throw std::bad_alloc(); });
    good += ::operator new(huge, std::nothrow) == nullptr;
    std::set_new_handler(nullptr);
    good += std::string(1000, 'x').size() == 1000;
    return good;
}
