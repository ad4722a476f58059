/* emma_report_out.c - text into a descriptor. No stream of the C library's: those allocate, and the
 * heap that is reported may be the one they would allocate from. Numbers do not depend on the
 * locale, which a script may set. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mremap */
#endif
#include "emma_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_BYTES 512

static bool out_make_room(emma_report_out *out, size_t bytes)
{
    if (bytes <= out->kept_room)
        return true;
    const size_t room = 2 * bytes;
    void *kept = out->kept
                     ? mremap(out->kept, out->kept_room, room, MREMAP_MAYMOVE)
                     : mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (kept == MAP_FAILED) {
        out->error = errno;
        return false;
    }
    out->kept = kept;
    out->kept_room = room;
    return true;
}

static void out_keep(emma_report_out *out)
{
    if (!out->error && out_make_room(out, out->kept_bytes + out->used)) {
        memcpy(out->kept + out->kept_bytes, out->buffer, out->used);
        out->kept_bytes += out->used;
    }
    out->used = 0;
}

void emmai_out_flush(emma_report_out *out)
{
    size_t done = 0;
    if (out->keeps) {
        out_keep(out);
        return;
    }
    while (done < out->used && !out->error) {
        const ssize_t count = write(out->descriptor, out->buffer + done, out->used - done);
        if (count >= 0)
            done += (size_t)count;
        else if (errno != EINTR)
            out->error = errno;
    }
    out->used = 0;
}

void emmai_out_bytes(emma_report_out *out, const char *bytes, size_t count)
{
    while (count) {
        if (out->used == sizeof out->buffer)
            emmai_out_flush(out);
        const size_t room = sizeof out->buffer - out->used;
        const size_t part = count < room ? count : room;
        memcpy(out->buffer + out->used, bytes, part);
        out->used += part;
        bytes += part;
        count -= part;
    }
}

void emmai_out_text(emma_report_out *out, const char *text)
{
    emmai_out_bytes(out, text, strlen(text));
}

void emmai_out_format(emma_report_out *out, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0)
        emmai_out_bytes(out, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

void emmai_out_seconds(emma_report_out *out, uint64_t nanoseconds)
{
    emmai_out_format(out, "%llu.%06llu", (unsigned long long)(nanoseconds / 1000000000),
                     (unsigned long long)(nanoseconds % 1000000000 / 1000));
}

/* The bytes of a well-formed UTF-8 sequence at `text` longer than a byte; 0: there is none. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] >= 0xF0 && text[0] <= 0xF4   ? 4
                    : text[0] >= 0xE0 && text[0] <= 0xEF ? 3
                    : text[0] >= 0xC2 && text[0] <= 0xDF ? 2
                                                         : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F) ||
        (text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))
        return 0; /* longer than needed, a surrogate, or beyond the last code point */
    if (text[0] == 0xEF && text[1] == 0xBF && text[2] >= 0xBE)
        return 0; /* no character, and not allowed in XML */
    return length;
}

/* Names may be any bytes, a report has only UTF-8: what is none becomes the replacement character.
 * `escape` writes those below 0x80 that may need it. */
static void out_utf8(emma_report_out *out, const char *text, const char *replacement,
                     void (*escape)(emma_report_out *, char))
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        const size_t length = *at < 0x80 ? 1 : utf8_length(at);
        if (*at < 0x80)
            escape(out, (char)*at);
        else if (length == 0)
            emmai_out_text(out, replacement);
        else
            emmai_out_bytes(out, (const char *)at, length);
        at += length ? length : 1;
    }
}

static void escape_json(emma_report_out *out, char byte)
{
    if (byte == '"' || byte == '\\')
        emmai_out_format(out, "\\%c", byte);
    else if (byte < 0x20 || byte == 0x7F || strchr("<>&", byte))
        emmai_out_format(out, "\\u%04x", (unsigned)byte);
    else
        emmai_out_bytes(out, &byte, 1);
}

void emmai_out_json(emma_report_out *out, const char *text)
{
    emmai_out_text(out, "\"");
    out_utf8(out, text, "\\ufffd", escape_json);
    emmai_out_text(out, "\"");
}

static void escape_xml(emma_report_out *out, char byte)
{
    if (byte < 0x20 || byte == 0x7F)
        emmai_out_text(out, " "); /* XML has no way to write most of them */
    else if (strchr("<>&\"'", byte))
        emmai_out_format(out, "&#%d;", byte);
    else
        emmai_out_bytes(out, &byte, 1);
}

void emmai_out_xml(emma_report_out *out, const char *text)
{
    out_utf8(out, text, "\xEF\xBF\xBD", escape_xml);
}

const char *emma_report_size(char text[EMMA_REPORT_SIZE_BYTES], size_t bytes)
{
    static const char units[] = "KMGTPE";
    if (bytes == EMMA_UNLIMITED)
        return strcpy(text, "none");
    if (bytes < 1024) {
        snprintf(text, EMMA_REPORT_SIZE_BYTES, "%zu bytes", bytes);
        return text;
    }
    unsigned unit = 0;
    for (; bytes >= (size_t)1024 * 1024; unit++)
        bytes /= 1024;
    size_t tenths = (bytes * 10 + 512) / 1024;
    if (tenths == 10240 && units[unit + 1]) { /* it was rounded up to the next unit */
        tenths = 10;
        unit++;
    }
    snprintf(text, EMMA_REPORT_SIZE_BYTES, "%zu.%zu %ciB", tenths / 10, tenths % 10, units[unit]);
    return text;
}

const char *const emmai_report_heads[EMMA_REPORT_FORMATS][2] = {
    [EMMA_REPORT_AS_JSON] = { "{\n  \"emma\": \"", "\",\n  \"process\": " },
    [EMMA_REPORT_AS_PAGE] = { "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
                              "charset=\"utf-8\">\n"
                              "<meta name=\"generator\" content=\"emma ",
                              " report\">\n" },
    [EMMA_REPORT_AS_SVG] = { "<svg xmlns=\"http://www.w3.org/2000/svg\" data-generator=\"emma ",
                             " report\"" },
};

void emmai_out_head(emma_report_out *out, enum emma_report_format format)
{
    emmai_out_text(out, emmai_report_heads[format][0]);
    emmai_out_text(out, emma_version());
    emmai_out_text(out, emmai_report_heads[format][1]);
}
