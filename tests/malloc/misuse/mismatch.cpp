/* mismatch.cpp - blocks that come back by a function that does not fit the one they came from: of
 * the kind "pair" where it is another's, of "wrong-size" where it is told another size. */
#include "misuse.h"

#include <dlfcn.h>
#include <new>

namespace {

const std::align_val_t aligned_64{ 64 }, aligned_4096{ 4096 };

enum Factor : std::size_t { HALF, DOUBLE, NONE, ONE_MORE, SIXTEEN };

std::size_t wrong(std::size_t bytes, std::size_t factor)
{
    switch (factor) {
    case HALF:
        return bytes / 2;
    case DOUBLE:
        return bytes * 2;
    case NONE:
        return 0;
    case ONE_MORE:
        return bytes + 1;
    default:
        return bytes * 16;
    }
}

/* Watched neighbours, so that a block that was taken for a larger one is to overlap them. */
template <typename Make, typename Release>
misuse_outcome wrongly(std::size_t bytes, std::size_t believed, Make make, Release release)
{
    const std::size_t blocks = 8;
    void *chosen = nullptr;
    for (std::size_t i = 0; i < blocks; i++) {
        void *block = make();
        if (i == blocks / 2)
            chosen = block;
        else
            misuse_watch(block, bytes);
    }
    release(chosen);
    return misuse_judge(believed ? believed : 1);
}

void *plain_new(std::size_t bytes)
{
    return ::operator new(bytes);
}

void *array_new(std::size_t bytes)
{
    return ::operator new[](bytes);
}

void *aligned_array_new(std::size_t bytes)
{
    return ::operator new[](bytes, aligned_64);
}

void *aligned_new(std::size_t bytes)
{
    return ::operator new(bytes, aligned_64);
}

void *page_new(std::size_t bytes)
{
    return ::operator new(bytes, aligned_4096);
}

void *any_malloc(std::size_t bytes)
{
    return misuse_malloc(bytes);
}

void *any_calloc(std::size_t bytes)
{
    return misuse_calloc(1, bytes);
}

void *any_memalign(std::size_t bytes)
{
    void *block = nullptr;
    misuse_require(posix_memalign(&block, 64, bytes) == 0);
    return block;
}

void *any_aligned_alloc(std::size_t bytes)
{
    return misuse_aligned_alloc(64, misuse_multiple(bytes, 64));
}

void plain_delete(void *block)
{
    ::operator delete(block);
}

void array_delete(void *block)
{
    ::operator delete[](block);
}

void aligned_delete(void *block)
{
    ::operator delete(block, aligned_64);
}

void aligned_array_delete(void *block)
{
    ::operator delete[](block, aligned_64);
}

void page_delete(void *block)
{
    ::operator delete(block, aligned_4096);
}

void any_free(void *block)
{
    misuse_free(block);
}

void any_realloc(void *block)
{
    void *moved = misuse_realloc(block, 4096);
    if (moved)
        misuse_guard(moved, 4096);
}

/* As a case: how a block is made, and how it comes back. */
template <void *(*Make)(std::size_t), void (*Release)(void *)>
misuse_outcome mismatched(std::size_t bytes, std::size_t)
{
    return wrongly(
        bytes, bytes, [=] { return Make(bytes); }, Release);
}

/* The same, coming back by a function that is told the size, which is right. */
template <void *(*Make)(std::size_t), void (*Release)(void *, std::size_t)>
misuse_outcome mismatched_sized(std::size_t bytes, std::size_t)
{
    return wrongly(
        bytes, bytes, [=] { return Make(bytes); }, [=](void *block) { Release(block, bytes); });
}

void sized_delete(void *block, std::size_t bytes)
{
    ::operator delete(block, bytes);
}

void sized_array_delete(void *block, std::size_t bytes)
{
    ::operator delete[](block, bytes);
}

void sized_aligned_delete(void *block, std::size_t bytes)
{
    ::operator delete(block, bytes, aligned_64);
}

void sized_page_delete(void *block, std::size_t bytes)
{
    ::operator delete(block, bytes, aligned_4096);
}

template <void *(*Make)(std::size_t)>
misuse_outcome deleted_wrong_size(std::size_t bytes, std::size_t factor)
{
    const std::size_t told = wrong(bytes, factor);
    return wrongly(
        bytes, told, [=] { return Make(bytes); },
        [=](void *block) { ::operator delete(block, told); });
}

misuse_outcome array_deleted_wrong_size(std::size_t bytes, std::size_t factor)
{
    const std::size_t told = wrong(bytes, factor);
    return wrongly(
        bytes, told, [=] { return ::operator new[](bytes); },
        [=](void *block) { ::operator delete[](block, told); });
}

misuse_outcome aligned_deleted_wrong_size(std::size_t bytes, std::size_t factor)
{
    const std::size_t told = wrong(bytes, factor);
    return wrongly(
        bytes, told, [=] { return aligned_new(bytes); },
        [=](void *block) { ::operator delete(block, told, aligned_64); });
}

/* ---- C23's, which this C library may lack ---- */

template <typename Function> Function find(const char *name)
{
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

misuse_outcome freed_wrong_size(std::size_t bytes, std::size_t factor)
{
    const auto free_sized = find<void (*)(void *, std::size_t)>("free_sized");
    if (!free_sized)
        return MISUSE_NOT_APPLICABLE;
    const std::size_t told = wrong(bytes, factor);
    return wrongly(
        bytes, told, [=] { return misuse_malloc(bytes); },
        [=](void *block) { free_sized(block, told); });
}

misuse_outcome freed_aligned_as(std::size_t bytes, std::size_t told, std::size_t alignment)
{
    using function = void (*)(void *, std::size_t, std::size_t);
    const auto free_aligned_sized = find<function>("free_aligned_sized");
    if (!free_aligned_sized)
        return MISUSE_NOT_APPLICABLE;
    return wrongly(
        bytes, told, [=] { return any_aligned_alloc(bytes); },
        [=](void *block) { free_aligned_sized(block, alignment, told); });
}

misuse_outcome freed_aligned_wrong_size(std::size_t bytes, std::size_t factor)
{
    const std::size_t whole = misuse_multiple(bytes, 64);
    return freed_aligned_as(whole, wrong(whole, factor), 64);
}

misuse_outcome freed_wrong_alignment(std::size_t bytes, std::size_t alignment)
{
    const std::size_t whole = misuse_multiple(bytes, 64);
    return freed_aligned_as(whole, whole, alignment);
}

/* malloc's, as if it had been aligned; and the other way round. */
misuse_outcome freed_as_aligned(std::size_t bytes, std::size_t alignment)
{
    using function = void (*)(void *, std::size_t, std::size_t);
    const auto free_aligned_sized = find<function>("free_aligned_sized");
    if (!free_aligned_sized)
        return MISUSE_NOT_APPLICABLE;
    return wrongly(
        bytes, bytes, [=] { return misuse_malloc(bytes); },
        [=](void *block) { free_aligned_sized(block, alignment, bytes); });
}

misuse_outcome freed_as_unaligned(std::size_t asked, std::size_t)
{
    const std::size_t bytes = misuse_multiple(asked, 64);
    const auto free_sized = find<void (*)(void *, std::size_t)>("free_sized");
    if (!free_sized)
        return MISUSE_NOT_APPLICABLE;
    return wrongly(
        bytes, bytes, [=] { return any_aligned_alloc(bytes); },
        [=](void *block) { free_sized(block, bytes); });
}

/* ---- twice, or not theirs ---- */

template <void *(*Make)(std::size_t), void (*Release)(void *)>
misuse_outcome deleted_twice(std::size_t bytes, std::size_t)
{
    void *block = Make(bytes);
    Release(block);
    Release(block);
    return misuse_judge(bytes);
}

misuse_outcome deleted_inside(std::size_t bytes, std::size_t distance)
{
    if (distance >= bytes)
        return MISUSE_NOT_APPLICABLE;
    char *block = static_cast<char *>(plain_new(bytes));
    misuse_watch(block, bytes);
    plain_delete(block + distance);
    return misuse_judge(bytes);
}

alignas(64) char global[8192];
char *volatile global_start = global; /* the compiler knows what must not be deleted */

misuse_outcome deleted_global(std::size_t bytes, std::size_t distance)
{
    misuse_watch(global, sizeof global);
    plain_delete(global_start + distance);
    return misuse_judge(bytes);
}

misuse_outcome deleted_global_sized(std::size_t bytes, std::size_t distance)
{
    misuse_watch(global, sizeof global);
    ::operator delete(global_start + distance, bytes);
    return misuse_judge(bytes);
}

/* ---- sizes that cannot be meant ---- */

template <typename New> misuse_outcome refused(New allocate)
{
    try {
        return misuse_if(allocate() != nullptr);
    } catch (const std::bad_alloc &) {
        return MISUSE_WITHOUT_EFFECT;
    }
}

misuse_outcome new_minus(std::size_t bytes, std::size_t)
{
    return refused([=] { return plain_new(std::size_t(0) - bytes); });
}

misuse_outcome nothrow_new_minus(std::size_t bytes, std::size_t)
{
    return refused([=] { return ::operator new(std::size_t(0) - bytes, std::nothrow); });
}

misuse_outcome aligned_new_minus(std::size_t bytes, std::size_t)
{
    return refused([=] { return aligned_new(std::size_t(0) - bytes); });
}

misuse_outcome new_absurdly_aligned(std::size_t bytes, std::size_t alignment)
{
    return refused([=] { return ::operator new(bytes, std::align_val_t(alignment)); });
}

} // namespace

extern "C" const misuse_case misuse_mismatch[] = {
    { "new_array_delete", "pair", mismatched<array_new, plain_delete>, 0 },
    { "new_delete_array", "pair", mismatched<plain_new, array_delete>, 0 },
    { "new_free", "pair", mismatched<plain_new, any_free>, 0 },
    { "new_array_free", "pair", mismatched<array_new, any_free>, 0 },
    { "new_realloc", "pair", mismatched<plain_new, any_realloc>, 0 },
    { "malloc_delete", "pair", mismatched<any_malloc, plain_delete>, 0 },
    { "malloc_delete_array", "pair", mismatched<any_malloc, array_delete>, 0 },
    { "aligned_alloc_delete", "pair", mismatched<any_aligned_alloc, plain_delete>, 0 },
    { "aligned_new_delete", "pair", mismatched<aligned_new, plain_delete>, 0 },
    { "aligned_new_free", "pair", mismatched<aligned_new, any_free>, 0 },
    { "aligned_new_page_delete", "pair", mismatched<aligned_new, page_delete>, 0 },
    { "page_new_aligned_delete", "pair", mismatched<page_new, aligned_delete>, 0 },
    { "new_aligned_delete", "pair", mismatched<plain_new, aligned_delete>, 0 },
    { "new_page_delete", "pair", mismatched<plain_new, page_delete>, 0 },
    { "malloc_aligned_delete", "pair", mismatched<any_malloc, aligned_delete>, 0 },
    { "new_array_realloc", "pair", mismatched<array_new, any_realloc>, 0 },
    { "calloc_delete_array", "pair", mismatched<any_calloc, array_delete>, 0 },
    { "memalign_delete", "pair", mismatched<any_memalign, plain_delete>, 0 },
    { "aligned_new_delete_array", "pair", mismatched<aligned_new, array_delete>, 0 },
    { "aligned_new_aligned_delete_array", "pair", mismatched<aligned_new, aligned_array_delete>,
      0 },
    { "aligned_new_array_aligned_delete", "pair", mismatched<aligned_array_new, aligned_delete>,
      0 },
    { "aligned_new_array_free", "pair", mismatched<aligned_array_new, any_free>, 0 },
    { "new_array_sized_delete", "pair", mismatched_sized<array_new, sized_delete>, 0 },
    { "new_sized_delete_array", "pair", mismatched_sized<plain_new, sized_array_delete>, 0 },
    { "malloc_sized_delete", "pair", mismatched_sized<any_malloc, sized_delete>, 0 },
    { "aligned_new_sized_delete", "pair", mismatched_sized<aligned_new, sized_delete>, 0 },
    { "new_sized_aligned_delete", "pair", mismatched_sized<plain_new, sized_aligned_delete>, 0 },
    { "aligned_new_sized_page_delete", "pair", mismatched_sized<aligned_new, sized_page_delete>,
      0 },
    { "free_wrong_alignment", "pair", freed_wrong_alignment, 4096 },
    { "free_aligned_of_malloc", "pair", freed_as_aligned, 64 },
    { "free_sized_of_aligned", "pair", freed_as_unaligned, 0 },
    { "delete_of_half", "wrong-size", deleted_wrong_size<plain_new>, HALF },
    { "delete_of_double", "wrong-size", deleted_wrong_size<plain_new>, DOUBLE },
    { "delete_of_none", "wrong-size", deleted_wrong_size<plain_new>, NONE },
    { "delete_of_one_more", "wrong-size", deleted_wrong_size<plain_new>, ONE_MORE },
    { "delete_of_sixteenfold", "wrong-size", deleted_wrong_size<plain_new>, SIXTEEN },
    { "delete_of_malloc_double", "wrong-size", deleted_wrong_size<any_malloc>, DOUBLE },
    { "delete_array_of_half", "wrong-size", array_deleted_wrong_size, HALF },
    { "delete_array_of_double", "wrong-size", array_deleted_wrong_size, DOUBLE },
    { "delete_array_of_none", "wrong-size", array_deleted_wrong_size, NONE },
    { "delete_array_of_one_more", "wrong-size", array_deleted_wrong_size, ONE_MORE },
    { "delete_array_of_sixteenfold", "wrong-size", array_deleted_wrong_size, SIXTEEN },
    { "aligned_delete_of_none", "wrong-size", aligned_deleted_wrong_size, NONE },
    { "aligned_delete_of_one_more", "wrong-size", aligned_deleted_wrong_size, ONE_MORE },
    { "aligned_delete_of_half", "wrong-size", aligned_deleted_wrong_size, HALF },
    { "aligned_delete_of_double", "wrong-size", aligned_deleted_wrong_size, DOUBLE },
    { "free_sized_of_half", "wrong-size", freed_wrong_size, HALF },
    { "free_sized_of_double", "wrong-size", freed_wrong_size, DOUBLE },
    { "free_sized_of_one_more", "wrong-size", freed_wrong_size, ONE_MORE },
    { "free_aligned_sized_of_half", "wrong-size", freed_aligned_wrong_size, HALF },
    { "free_aligned_sized_of_double", "wrong-size", freed_aligned_wrong_size, DOUBLE },
    { "delete_twice", "double", deleted_twice<plain_new, plain_delete>, 0 },
    { "delete_array_twice", "double", deleted_twice<array_new, array_delete>, 0 },
    { "aligned_delete_twice", "double", deleted_twice<aligned_new, aligned_delete>, 0 },
    { "delete_inside_by_1", "interior", deleted_inside, 1 },
    { "delete_inside_by_16", "interior", deleted_inside, 16 },
    { "delete_of_global", "foreign", deleted_global, 4096 },
    { "delete_of_global_sized", "foreign", deleted_global_sized, 4096 },
    { "new_of_minus", "absurd", new_minus, 0 },
    { "nothrow_new_of_minus", "absurd", nothrow_new_minus, 0 },
    { "aligned_new_of_minus", "absurd", aligned_new_minus, 0 },
    { "new_aligned_to_2_to_63", "absurd", new_absurdly_aligned, std::size_t(1) << 63 },
    { NULL, NULL, NULL, 0 },
};
