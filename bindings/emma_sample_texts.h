/* emma_sample_texts.h - the sampler's own: byte strings, each once, numbered from 0,
 * that stay where they are. */
#ifndef EMMA_SAMPLE_TEXTS_H
#define EMMA_SAMPLE_TEXTS_H

#include "emma_sample.h"

/* Zeros of the kernel's own, which it gives as they are touched; NULL: there are none. */
void *emmai_sample_pages(size_t bytes);

/* `room`: a power of two. False: the kernel has no memory. */
bool emmai_sample_texts_make(emma_sample_texts *texts, uint32_t room, size_t byte_room);

/* What has that number; *bytes: its length. */
const char *emmai_sample_text_of(const emma_sample_texts *texts, uint32_t number, size_t *bytes);

/* Adds one, whether it is there already or not; EMMA_SAMPLE_NONE: there is no room. */
uint32_t emmai_sample_append(emma_sample_texts *texts, const void *text, size_t bytes);

/* The number of the one that is the same, added if there is none;
 * EMMA_SAMPLE_NONE: there is no room. */
uint32_t emmai_sample_intern(emma_sample_texts *texts, const void *text, size_t bytes);

#endif
