/* emma_size.h - reads a size as users write it: bytes, or a number of K, M or G (or KB,
 * KiB and so on, in either case; 1024 each time). Needs no C library, so that it also
 * serves before that is set up. */
#ifndef EMMA_SIZE_H
#define EMMA_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMMAI_SIZE_KIB_SHIFT 10
#define EMMAI_SIZE_MIB_SHIFT 20
#define EMMAI_SIZE_GIB_SHIFT 30

enum emmai_size_result { EMMAI_SIZE_OK, EMMAI_SIZE_NONE, EMMAI_SIZE_TOO_LARGE };

static inline char emmai_size_lower(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

/* "", or K, M, G with an optional "B" or "iB", in any case. False: something else. */
static inline bool emmai_size_unit(const char *unit, size_t length, unsigned *shift)
{
    *shift = 0;
    if (length == 0)
        return true;
    const char letter = emmai_size_lower(unit[0]);
    if (letter != 'k' && letter != 'm' && letter != 'g')
        return false;
    *shift = letter == 'k'   ? EMMAI_SIZE_KIB_SHIFT
             : letter == 'm' ? EMMAI_SIZE_MIB_SHIFT
                             : EMMAI_SIZE_GIB_SHIFT;
    if (length == 2)
        return emmai_size_lower(unit[1]) == 'b';
    if (length == 3)
        return emmai_size_lower(unit[1]) == 'i' && emmai_size_lower(unit[2]) == 'b';
    return length == 1;
}

/* Reads the `length` characters at `text`, all of them; sets *bytes, at most
 * PTRDIFF_MAX, if they are a size. */
static inline enum emmai_size_result emmai_size_read(const char *text, size_t length, size_t *bytes)
{
    size_t at = 0;
    size_t count = 0;
    bool fits = true;
    for (; at < length && text[at] >= '0' && text[at] <= '9'; at++) {
        const size_t digit = (size_t)(text[at] - '0');
        fits = fits && count <= (SIZE_MAX - digit) / 10;
        count = count * 10 + digit;
    }
    unsigned shift;
    if (at == 0 || !emmai_size_unit(text + at, length - at, &shift))
        return EMMAI_SIZE_NONE;
    if (!fits || count > (size_t)PTRDIFF_MAX >> shift)
        return EMMAI_SIZE_TOO_LARGE;
    *bytes = count << shift;
    return EMMAI_SIZE_OK;
}

#endif
