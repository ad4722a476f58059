/* emma_realloc from and to the sizes next to every edge: of each size class, of pages and of the
 * chunks that large blocks are made of. Contents kept, neighbours intact, and a block never has
 * less than was asked for. */
#include "emma_test.h"

enum { EDGES_MAX = 4096, NEAR = 2 };

static size_t edges[EDGES_MAX], edge_count;

static void add_edge(size_t centre)
{
    for (size_t bytes = centre > NEAR ? centre - NEAR : 0; bytes <= centre + NEAR; bytes++) {
        CHECK_LT(edge_count, EDGES_MAX);
        edges[edge_count++] = bytes;
    }
}

static void collect_edges(const emma *instance)
{
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    edge_count = 0;
    for (unsigned i = 0; emma_get_class_stats(instance, i, &kind); i++)
        add_edge(kind.block_bytes);
    CHECK_GT(edge_count, 10 * (2 * NEAR + 1));
    for (size_t shift = 12; shift <= 18; shift++) {
        add_edge((size_t)1 << shift);
        add_edge((size_t)3 << shift);
    }
}

static void try_pair(emma *instance, size_t from, size_t to)
{
    unsigned char *before = emma_malloc(instance, from);
    unsigned char *block = emma_malloc(instance, from);
    unsigned char *behind = emma_malloc(instance, from);
    unsigned char *target = emma_malloc(instance, to);
    CHECK(before && block && behind && target);
    test_fill(before, from, 1);
    test_fill(block, from, 2);
    test_fill(behind, from, 3);
    test_fill(target, to, 4);
    block = emma_realloc(instance, block, to);
    CHECK(block != NULL);
    CHECK_GE(emma_usable_size(instance, block), to);
    CHECK(test_filled(block, from < to ? from : to, 2));
    memset(block, 0xee, to);
    CHECK(test_filled(before, from, 1));
    CHECK(test_filled(behind, from, 3));
    CHECK(test_filled(target, to, 4));
    emma_free_sized(instance, before, from);
    emma_free_sized(instance, block, to);
    emma_free_sized(instance, behind, from);
    emma_free_sized(instance, target, to);
}

static void run(unsigned flags, size_t pairs)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    collect_edges(instance);
    test_rng rng = test_rng_from(flags + 11);
    for (size_t i = 0; i + 2 * NEAR + 1 < edge_count; i++) {
        try_pair(instance, edges[i], edges[i + 2 * NEAR + 1]);
        try_pair(instance, edges[i + 2 * NEAR + 1], edges[i]);
        try_pair(instance, edges[i], edges[i + 1]);
    }
    for (size_t i = 0; i < pairs; i++)
        try_pair(instance, edges[test_below(&rng, edge_count)],
                 edges[test_below(&rng, edge_count)]);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    run(0, test_steps(20000));
    run(EMMA_ALIGN8, test_steps(20000));
    return 0;
}
