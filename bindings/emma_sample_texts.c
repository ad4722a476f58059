/* emma_sample_texts.c - see emma_sample_texts.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "emma_sample_texts.h"

#include <string.h>
#include <sys/mman.h>

void *emmai_sample_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

bool emmai_sample_texts_make(emma_sample_texts *texts, uint32_t room, size_t byte_room)
{
    texts->room = room;
    texts->byte_room = byte_room;
    texts->bytes = emmai_sample_pages(byte_room);
    texts->ends = emmai_sample_pages(room * sizeof *texts->ends);
    texts->index = emmai_sample_pages(2 * room * sizeof *texts->index);
    return texts->bytes && texts->ends && texts->index;
}

const char *emmai_sample_text_of(const emma_sample_texts *texts, uint32_t number, size_t *bytes)
{
    const size_t start = number ? texts->ends[number - 1] : 0;
    *bytes = texts->ends[number] - start;
    return texts->bytes + start;
}

/* FNV-1a. */
static uint32_t hash_text(const unsigned char *text, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ text[i]) * 0x100000001b3;
    return (uint32_t)(hash ^ hash >> 32);
}

uint32_t emmai_sample_append(emma_sample_texts *texts, const void *text, size_t bytes)
{
    if (texts->count == texts->room || texts->byte_room - texts->used < bytes)
        return EMMA_SAMPLE_NONE;
    memcpy(texts->bytes + texts->used, text, bytes);
    texts->used += bytes;
    const uint32_t number = texts->count;
    texts->ends[number] = (uint32_t)texts->used;
    __atomic_store_n(&texts->count, number + 1, __ATOMIC_RELEASE); /* others may be reading */
    return number;
}

uint32_t emmai_sample_intern(emma_sample_texts *texts, const void *text, size_t bytes)
{
    const uint32_t mask = 2 * texts->room - 1;
    uint32_t place = hash_text(text, bytes) & mask;
    for (; texts->index[place]; place = (place + 1) & mask) {
        size_t length;
        const char *found = emmai_sample_text_of(texts, texts->index[place] - 1, &length);
        if (length == bytes && memcmp(found, text, bytes) == 0)
            return texts->index[place] - 1;
    }
    const uint32_t number = emmai_sample_append(texts, text, bytes);
    if (number != EMMA_SAMPLE_NONE)
        texts->index[place] = number + 1;
    return number;
}
