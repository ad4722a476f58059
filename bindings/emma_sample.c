/* emma_sample.c - see emma_sample.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "emma_sample_texts.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FRAMES_MOST      ((uint32_t)1 << 16)
#define SITES_MOST       ((uint32_t)1 << 14)
#define FRAME_BYTES_MOST ((size_t)8 << 20)
#define STACK_BYTES_MOST ((size_t)2 << 20)
#define BLOCKS_LEAST     ((size_t)1 << 12)
#define BLOCKS_MOST      ((size_t)1 << 22)
#define FILTER_PER_BLOCK 2         /* bytes of the filter, for each place of the table */
#define FILTER_FULL      UINT8_MAX /* such a byte stays */

/* How long a thread waits for another one: it may be gone, as after a fork. */
#define LOCK_TRIES 1000

static const uint8_t no_filter[1];

/* Where nothing is due, ever. */
#define LEFT_FOREVER SIZE_MAX

/* False: it stays as it is; what was to be done is not. */
static bool enter(emma_sampler *sampler)
{
    for (int tries = 0; __atomic_exchange_n(&sampler->locked, true, __ATOMIC_ACQUIRE); tries++) {
        if (tries == LOCK_TRIES)
            return false;
        sched_yield();
    }
    if (sampler->on)
        return true;
    __atomic_store_n(&sampler->locked, false, __ATOMIC_RELEASE);
    return false;
}

static void leave(emma_sampler *sampler)
{
    __atomic_store_n(&sampler->locked, false, __ATOMIC_RELEASE);
}

/* ---- frames and stacks ---- */

uint32_t emma_sample_frame(emma_sampler *sampler, const void *key, size_t key_bytes)
{
    if (!enter(sampler))
        return EMMA_SAMPLE_NONE;
    const uint32_t frame = emmai_sample_intern(&sampler->frames, key, key_bytes);
    leave(sampler);
    return frame;
}

uint32_t emma_sample_stack(emma_sampler *sampler, const uint32_t *frames, size_t count)
{
    uint32_t outermost_first[EMMA_SAMPLE_DEPTH];
    if (count > EMMA_SAMPLE_DEPTH)
        count = EMMA_SAMPLE_DEPTH;
    for (size_t i = 0; i < count; i++) {
        if (frames[i] == EMMA_SAMPLE_NONE)
            return EMMA_SAMPLE_OTHER;
        outermost_first[count - 1 - i] = frames[i];
    }
    if (!count || !enter(sampler))
        return EMMA_SAMPLE_OTHER;
    const uint32_t site =
        emmai_sample_intern(&sampler->stacks, outermost_first, count * sizeof *frames);
    leave(sampler);
    return site == EMMA_SAMPLE_NONE ? EMMA_SAMPLE_OTHER : site;
}

size_t emma_sample_name(char out[EMMA_SAMPLE_NAME_BYTES], const char *function, const char *file,
                        int line)
{
    const size_t function_bytes = strnlen(function, EMMA_SAMPLE_NAME_BYTES / 4);
    const size_t most = EMMA_SAMPLE_NAME_BYTES - function_bytes - 2 - sizeof line;
    size_t file_bytes = strlen(file);
    if (file_bytes > most) { /* its end tells more */
        file += file_bytes - most;
        file_bytes = most;
    }
    char *at = out;
    memcpy(at, function, function_bytes);
    at += function_bytes;
    *at++ = '\0';
    memcpy(at, file, file_bytes);
    at += file_bytes;
    *at++ = '\0';
    memcpy(at, &line, sizeof line);
    return (size_t)(at - out) + sizeof line;
}

const char *emma_sample_frame_key(const emma_sampler *sampler, uint32_t frame, size_t *bytes)
{
    return emmai_sample_text_of(&sampler->frames, frame, bytes);
}

bool emma_sample_name_next(emma_sampler *sampler, const char *name, size_t bytes)
{
    emma_sample_texts *names = &sampler->names;
    return (names->room || emmai_sample_texts_make(names, FRAMES_MOST, FRAME_BYTES_MOST)) &&
           emmai_sample_append(names, name, bytes) != EMMA_SAMPLE_NONE;
}

emma_sample_frame_name emma_sample_frame_of(const emma_sampler *sampler, uint32_t frame)
{
    const emma_sample_texts *texts = sampler->names.room ? &sampler->names : &sampler->frames;
    emma_sample_frame_name name = { "?", "", 0 };
    if (frame >= texts->count)
        return name;
    size_t bytes;
    name.function = emmai_sample_text_of(texts, frame, &bytes);
    name.file = name.function + strlen(name.function) + 1;
    memcpy(&name.line, name.file + strlen(name.file) + 1, sizeof name.line);
    return name;
}

size_t emma_sample_frames_of(const emma_sampler *sampler, uint32_t site, const uint32_t **frames)
{
    size_t bytes;
    *frames = (const uint32_t *)(const void *)emmai_sample_text_of(&sampler->stacks, site, &bytes);
    return bytes / sizeof **frames;
}

/* ---- which blocks are samples ---- */

/* xorshift64*. */
static uint64_t next_random(emma_sampler *sampler)
{
    uint64_t x = sampler->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sampler->random = x;
    return x * 0x2545F4914F6CDD1D >> 11;
}

static size_t next_gap(emma_sampler *sampler)
{
    return 1 + (size_t)(next_random(sampler) % (2 * (uint64_t)sampler->rate_bytes - 1));
}

double emma_sample_draw(emma_sampler *sampler, size_t bytes)
{
    if (!enter(sampler))
        return 0;
    double weight = 1;
    if (bytes < 2 * sampler->rate_bytes) {
        size_t left = sampler->left, rest = bytes, places = 0;
        for (; rest >= left; places++) {
            rest -= left;
            left = next_gap(sampler);
        }
        __atomic_store_n(&sampler->left, left - rest, __ATOMIC_RELAXED);
        weight = (double)places * (double)sampler->rate_bytes / (double)bytes;
    }
    leave(sampler);
    return weight;
}

/* ---- samples that live ---- */

static size_t hash_address(uintptr_t address)
{
    return (address >> 3) * (size_t)0x9E3779B97F4A7C15 >> 32;
}

static size_t block_place(const emma_sampler *sampler, uintptr_t address)
{
    const size_t mask = sampler->block_room - 1;
    size_t place = hash_address(address) & mask;
    while (sampler->blocks[place].address && sampler->blocks[place].address != address)
        place = (place + 1) & mask;
    return place;
}

static void filter_count(emma_sampler *sampler, uintptr_t address, int change)
{
    uint8_t *count = (uint8_t *)(uintptr_t)sampler->filter +
                     (address >> EMMA_SAMPLE_GRAIN_SHIFT & sampler->filter_mask);
    if (*count != FILTER_FULL)
        *count = (uint8_t)(*count + change);
}

/* For a table of another size. Another thread that frees a sample at this very moment, which
 * needs a second lock of Python's, may miss it. */
static void make_filter(emma_sampler *sampler)
{
    const size_t bytes = sampler->block_room * FILTER_PER_BLOCK;
    memset((uint8_t *)(uintptr_t)sampler->filter, 0, bytes);
    __atomic_store_n(&sampler->filter_mask, bytes - 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < sampler->block_room; i++)
        if (sampler->blocks[i].address)
            filter_count(sampler, sampler->blocks[i].address, 1);
}

static bool grow_blocks(emma_sampler *sampler)
{
    emma_sample_block *before = sampler->blocks;
    const size_t room = sampler->block_room;
    emma_sample_block *blocks =
        room < BLOCKS_MOST ? emmai_sample_pages(2 * room * sizeof *blocks) : NULL;
    if (!blocks)
        return false;
    sampler->blocks = blocks;
    sampler->block_room = 2 * room;
    for (size_t i = 0; i < room; i++)
        if (before[i].address)
            blocks[block_place(sampler, before[i].address)] = before[i];
    munmap(before, room * sizeof *before);
    make_filter(sampler);
    return true;
}

static void count_live(emma_sampler *sampler, const emma_sample_block *block, double sign)
{
    emma_sample_site *site = &sampler->sites[block->site];
    site->live_blocks += sign * block->weight;
    site->live_bytes += sign * block->weight * (double)block->bytes;
}

/* What follows in the chain moves up. */
static void remove_at(emma_sampler *sampler, size_t hole)
{
    const size_t mask = sampler->block_room - 1;
    count_live(sampler, &sampler->blocks[hole], -1);
    filter_count(sampler, sampler->blocks[hole].address, -1);
    sampler->block_count--;
    for (size_t i = (hole + 1) & mask; sampler->blocks[i].address; i = (i + 1) & mask) {
        const size_t home = hash_address(sampler->blocks[i].address) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            sampler->blocks[hole] = sampler->blocks[i];
            hole = i;
        }
    }
    sampler->blocks[hole].address = 0;
}

/* One that is there already was freed behind the sampler's back. False: there is no room. */
static bool insert(emma_sampler *sampler, const emma_sample_block *block)
{
    if (sampler->block_count >= sampler->block_room / 4 * 3 && !grow_blocks(sampler)) {
        sampler->missed++;
        return false;
    }
    size_t place = block_place(sampler, block->address);
    if (sampler->blocks[place].address) {
        remove_at(sampler, place);
        place = block_place(sampler, block->address);
    }
    sampler->blocks[place] = *block;
    sampler->block_count++;
    count_live(sampler, block, 1);
    filter_count(sampler, block->address, 1);
    return true;
}

void emma_sample_add(emma_sampler *sampler, const void *address, size_t bytes, double weight,
                     uint32_t site)
{
    const emma_sample_block block = { (uintptr_t)address, weight, bytes, site };
    if (!enter(sampler)) {
        __atomic_fetch_add(&sampler->missed, 1, __ATOMIC_RELAXED);
        return;
    }
    sampler->samples++;
    sampler->sites[site].blocks += weight;
    sampler->sites[site].bytes += weight * (double)bytes;
    if (insert(sampler, &block) && site == EMMA_SAMPLE_PENDING &&
        sampler->pending_count < EMMA_SAMPLE_PENDING_MOST)
        sampler->pending[sampler->pending_count++] = block.address;
    leave(sampler);
}

/* Of more blocks than are written down, the rest stays where it is. */
void emma_sample_settle(emma_sampler *sampler, uint32_t site)
{
    if (!enter(sampler))
        return;
    emma_sample_site *pending = &sampler->sites[EMMA_SAMPLE_PENDING];
    sampler->sites[site].blocks += pending->blocks;
    sampler->sites[site].bytes += pending->bytes;
    pending->blocks = pending->bytes = 0;
    for (size_t i = 0; i < sampler->pending_count; i++) {
        emma_sample_block *block = &sampler->blocks[block_place(sampler, sampler->pending[i])];
        if (!block->address || block->site != EMMA_SAMPLE_PENDING)
            continue;
        count_live(sampler, block, -1);
        block->site = site;
        count_live(sampler, block, 1);
    }
    sampler->pending_count = 0;
    leave(sampler);
}

bool emma_sample_lift(emma_sampler *sampler, const void *address, emma_sample_block *out)
{
    if (!enter(sampler))
        return false;
    const size_t place = block_place(sampler, (uintptr_t)address);
    *out = sampler->blocks[place];
    if (out->address)
        remove_at(sampler, place);
    leave(sampler);
    return out->address != 0;
}

void emma_sample_put(emma_sampler *sampler, const void *address, size_t bytes,
                     const emma_sample_block *lifted)
{
    emma_sample_block block = *lifted;
    block.address = (uintptr_t)address;
    block.bytes = bytes;
    if (!enter(sampler))
        return;
    if (insert(sampler, &block) && block.site == EMMA_SAMPLE_PENDING &&
        sampler->pending_count < EMMA_SAMPLE_PENDING_MOST)
        sampler->pending[sampler->pending_count++] = block.address;
    leave(sampler);
}

/* ---- begin and end ---- */

uint32_t emma_sample_fixed_site(emma_sampler *sampler, const char *name)
{
    char key[EMMA_SAMPLE_NAME_BYTES];
    const uint32_t frame = emma_sample_frame(sampler, key, emma_sample_name(key, name, "", 0));
    return emma_sample_stack(sampler, &frame, 1);
}

static bool make_tables(emma_sampler *sampler)
{
    sampler->sites = emmai_sample_pages(SITES_MOST * sizeof *sampler->sites);
    sampler->block_room = BLOCKS_LEAST;
    sampler->blocks = emmai_sample_pages(BLOCKS_LEAST * sizeof *sampler->blocks);
    sampler->filter = emmai_sample_pages(BLOCKS_MOST * FILTER_PER_BLOCK);
    return sampler->sites && sampler->blocks && sampler->filter &&
           emmai_sample_texts_make(&sampler->frames, FRAMES_MOST, FRAME_BYTES_MOST) &&
           emmai_sample_texts_make(&sampler->stacks, SITES_MOST, STACK_BYTES_MOST);
}

bool emma_sample_start(emma_sampler *sampler, size_t rate_bytes)
{
    struct timespec now;
    sampler->left = LEFT_FOREVER;
    if (!make_tables(sampler)) {
        sampler->filter = no_filter;
        return false;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    sampler->random = ((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec ^ (uintptr_t)sampler) | 1;
    for (int i = 0; i < 8; i++)
        next_random(sampler);
    sampler->rate_bytes = rate_bytes < SIZE_MAX / 4 ? rate_bytes : SIZE_MAX / 4;
    make_filter(sampler);
    const size_t first = next_gap(sampler), second = next_gap(sampler);
    sampler->left = first < second ? first : second;
    sampler->on = true;
    emma_sample_fixed_site(sampler, "(other sites)");
    emma_sample_fixed_site(sampler, "(not known)");
    return true;
}

void emma_sample_stop(emma_sampler *sampler)
{
    if (!sampler->rate_bytes || !enter(sampler))
        return;
    __atomic_store_n(&sampler->left, LEFT_FOREVER, __ATOMIC_RELAXED);
    __atomic_store_n(&sampler->on, false, __ATOMIC_RELAXED);
    leave(sampler);
}
