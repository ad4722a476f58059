/* emma-malloc-text.c - puts lines of text together and writes them, without the C library's
 * streams: from inside an allocation, and before anything is set up. */
#include "emma-malloc.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COUNT_DIGITS ((size_t)20) /* of the largest 64-bit number */

void emmai_malloc_text_add_bytes(malloc_text *text, const char *words, size_t length)
{
    for (size_t i = 0; i < length && text->used < text->size; i++)
        text->bytes[text->used++] = words[i];
}

void emmai_malloc_text_add(malloc_text *text, const char *words)
{
    emmai_malloc_text_add_bytes(text, words, strlen(words));
}

malloc_text emmai_malloc_text(char *buffer, size_t size)
{
    malloc_text text = { buffer, size, 0 };
    emmai_malloc_text_add(&text, "emma: ");
    emmai_malloc_text_add(&text, emmai_malloc_name);
    emmai_malloc_text_add(&text, ": ");
    return text;
}

/* Adds words behind as many spaces as bring them to the width. */
static void text_right(malloc_text *text, const char *words, size_t length, size_t width)
{
    for (size_t i = length; i < width; i++)
        emmai_malloc_text_add(text, " ");
    emmai_malloc_text_add_bytes(text, words, length);
}

/* Writes the digits of a number to the end of `digits`; returns where they start. */
static char *text_digits(char digits[COUNT_DIGITS], uint64_t count)
{
    char *start = digits + COUNT_DIGITS;
    do
        *--start = (char)('0' + count % 10);
    while ((count /= 10) != 0);
    return start;
}

void emmai_malloc_text_count(malloc_text *text, uint64_t count, size_t width)
{
    char digits[COUNT_DIGITS];
    const char *start = text_digits(digits, count);
    text_right(text, start, (size_t)(digits + COUNT_DIGITS - start), width);
}

/* As emma-lua shows sizes: "none", "96 bytes", "1.5 MiB". */
void emmai_malloc_text_size(malloc_text *text, size_t bytes, size_t width)
{
    static const char *const units[] = { " bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
    char buffer[sizeof "1023.9 bytes"];
    malloc_text words = { buffer, sizeof buffer, 0 };
    size_t unit = 0;
    size_t whole = bytes;
    size_t tenths = 0;
    while (whole >= 1024) {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit++;
    }
    if (bytes == EMMA_UNLIMITED) {
        emmai_malloc_text_add(&words, "none");
    } else {
        emmai_malloc_text_count(&words, whole, 0);
        if (unit > 0) {
            emmai_malloc_text_add(&words, ".");
            emmai_malloc_text_count(&words, tenths, 0);
        }
        emmai_malloc_text_add(&words, units[unit]);
    }
    text_right(text, words.bytes, words.used, width);
}

void emmai_malloc_text_write(const malloc_text *text, int descriptor)
{
    const int error = errno;
    size_t done = 0;
    while (done < text->used) {
        const ssize_t written = write(descriptor, text->bytes + done, text->used - done);
        if (written < 0 && errno != EINTR)
            break;
        done += written > 0 ? (size_t)written : 0;
    }
    errno = error;
}

void emmai_malloc_text_say(malloc_text *text, const char *end)
{
    emmai_malloc_text_add(text, end);
    emmai_malloc_text_add(text, "\n");
    emmai_malloc_text_write(text, STDERR_FILENO);
}
