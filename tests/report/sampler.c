/* Estimates of a sampler are right in the mean, for small and for large blocks, for what lives and what was allocated; tables that
 * are full are counted. */
#include "emma_sample.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE ((size_t)4096)

static uint32_t make_site(emma_sampler *sampler, const char *function)
{
    char key[EMMA_SAMPLE_NAME_BYTES];
    const uint32_t frame =
        emma_sample_frame(sampler, key, emma_sample_name(key, function, "file", 7));
    return emma_sample_stack(sampler, &frame, 1);
}

static void allocate(emma_sampler *sampler, uintptr_t address, size_t bytes, uint32_t site)
{
    if (!emma_sample_is_due(sampler, bytes))
        return;
    const double weight = emma_sample_draw(sampler, bytes);
    if (weight != 0)
        emma_sample_add(sampler, (const void *)address, bytes, weight, site);
}

static void release(emma_sampler *sampler, uintptr_t address)
{
    emma_sample_block gone;
    if (emma_sample_may_have(sampler, (const void *)address))
        emma_sample_lift(sampler, (const void *)address, &gone);
}

static void assert_near(const char *what, double found, double expected, double bytes)
{
    const double deviation = sqrt(bytes * (double)RATE) * expected / bytes;
    if (fabs(found - expected) <= 6 * deviation)
        return;
    printf("%s: %.0f, not %.0f +- %.0f\n", what, found, expected, deviation);
    exit(1);
}

/* Two sites in turn, with a period that divides the rate: a fixed stride would see one of them only. */
static void estimates(void)
{
    enum { ROUNDS = 400000, SMALL = 48, OTHER = 80, KEPT = 4 };
    static emma_sampler sampler;
    assert(emma_sample_start(&sampler, RATE));
    const uint32_t small = make_site(&sampler, "small"), other = make_site(&sampler, "other");
    const uint32_t large = make_site(&sampler, "large");
    assert(small != other && make_site(&sampler, "small") == small);
    for (uintptr_t i = 1; i <= ROUNDS; i++) {
        allocate(&sampler, i * 256, SMALL, small);
        allocate(&sampler, i * 256 + 128, OTHER, other);
        release(&sampler, i * 256 + 128);
        if (i % KEPT)
            release(&sampler, i * 256);
    }
    for (uintptr_t i = 1; i <= 100; i++) {
        allocate(&sampler, i << 40, 2 * RATE + i, large);
        if (i > 40)
            release(&sampler, i << 40);
    }
    const double bytes = (double)ROUNDS * SMALL;
    assert_near("bytes", sampler.sites[small].bytes, bytes, bytes);
    assert_near("blocks", sampler.sites[small].blocks, ROUNDS, bytes);
    assert_near("live", sampler.sites[small].live_bytes, bytes / KEPT, bytes / KEPT);
    assert_near("others", sampler.sites[other].bytes, (double)ROUNDS * OTHER,
                (double)ROUNDS * OTHER);
    assert(fabs(sampler.sites[other].live_bytes) < 1);
    /* Large ones are all there, each for itself. */
    assert(sampler.sites[large].blocks == 100 && sampler.sites[large].live_blocks == 40);
    assert(sampler.sites[large].live_bytes == 40.0 * 2 * RATE + 40 * 41 / 2);
    emma_sample_stop(&sampler);
    allocate(&sampler, 8, 100 * RATE, large);
    release(&sampler, (uintptr_t)1 << 40);
    assert(sampler.sites[large].blocks == 100 && sampler.sites[large].live_blocks == 40);
}

/* A size between the strata, which may have no place in it, one or several. */
static void estimates_between(void)
{
    enum { ROUNDS = 20000 };
    static emma_sampler sampler;
    const size_t bytes = RATE + RATE / 2;
    assert(emma_sample_start(&sampler, RATE));
    const uint32_t site = make_site(&sampler, "between");
    for (uintptr_t i = 1; i <= ROUNDS; i++) {
        allocate(&sampler, i * 65536, bytes, site);
        release(&sampler, i * 65536);
    }
    assert_near("between", sampler.sites[site].blocks, ROUNDS, ROUNDS * (double)bytes);
}

/* Every block: what is counted is exact, through growth of the tables and chains that close up. */
static void every_block(void)
{
    enum { BLOCKS = 50000 };
    static emma_sampler sampler;
    assert(emma_sample_start(&sampler, 1));
    const uint32_t site = make_site(&sampler, "every");
    for (uintptr_t i = 1; i <= BLOCKS; i++)
        allocate(&sampler, i * 16, 24, site);
    for (uintptr_t i = 3; i <= BLOCKS; i += 3)
        release(&sampler, i * 16);
    for (uintptr_t i = 1; i <= BLOCKS; i++) {
        emma_sample_block found;
        const bool is_there = emma_sample_may_have(&sampler, (const void *)(i * 16)) &&
                              emma_sample_lift(&sampler, (const void *)(i * 16), &found);
        assert(is_there == (i % 3 != 0));
        if (is_there)
            emma_sample_put(&sampler, (const void *)(i * 16), 16, &found);
    }
    assert(sampler.sites[site].live_blocks == BLOCKS - BLOCKS / 3);
    assert(sampler.sites[site].live_bytes == 16.0 * (BLOCKS - BLOCKS / 3));
    assert(sampler.samples == BLOCKS && sampler.missed == 0);
}

/* Samples that wait get the site that is told next, also those that are gone by then; a block at the same address once more is one. */
static void pending(void)
{
    static emma_sampler sampler;
    assert(emma_sample_start(&sampler, 1));
    const uint32_t site = make_site(&sampler, "told");
    allocate(&sampler, 1024, 100, EMMA_SAMPLE_PENDING);
    allocate(&sampler, 2048, 100, EMMA_SAMPLE_PENDING);
    release(&sampler, 1024);
    allocate(&sampler, 1024, 50, EMMA_SAMPLE_PENDING);
    emma_sample_settle(&sampler, site);
    assert(sampler.sites[site].bytes == 250 && sampler.sites[site].live_bytes == 150);
    assert(sampler.sites[EMMA_SAMPLE_PENDING].live_bytes == 0);
    allocate(&sampler, 2048, 7, site); /* its end was not seen */
    assert(sampler.sites[site].live_bytes == 57 && sampler.sites[site].live_blocks == 2);
}

static void overflow(void)
{
    enum { SITES = 20000 };
    static emma_sampler sampler;
    assert(emma_sample_start(&sampler, 1));
    size_t others = 0;
    for (uintptr_t i = 1; i <= SITES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%zu", (size_t)i);
        const uint32_t site = make_site(&sampler, name);
        others += site == EMMA_SAMPLE_OTHER;
        allocate(&sampler, i * 16, 10, site);
    }
    assert(others > 0 && others < SITES);
    assert(sampler.sites[EMMA_SAMPLE_OTHER].live_blocks == (double)others);
    const uint32_t *frames;
    assert(emma_sample_frames_of(&sampler, EMMA_SAMPLE_OTHER, &frames) == 1);
    assert(strcmp(emma_sample_frame_of(&sampler, frames[0]).function, "(other sites)") == 0);
}

int main(void)
{
    estimates();
    estimates_between();
    every_block();
    pending();
    overflow();
    return 0;
}
