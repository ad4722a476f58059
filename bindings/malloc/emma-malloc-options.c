/* emma-malloc-options.c - reads EMMA_OPTIONS: KEY=VALUE,KEY=VALUE,...
 *
 * It is read once, by the call that makes the instance. What it does not know, and values that are
 * none, it names on stderr, a line each, and goes on without them. */
#include "emma-malloc.h"
#include "../emma_size.h"

#include <stdlib.h>
#include <string.h>

#define VARIABLE "EMMA_OPTIONS"

/* The part of a value that a message shows. */
#define SHOWN_MAX_BYTES ((size_t)80)

char emmai_malloc_name[EMMA_NAME_MAX_BYTES + 1] = MALLOC_NAME;
char emmai_malloc_report_path[MALLOC_PATH_BYTES];

typedef struct word {
    const char *start;
    size_t length;
} word;

static bool word_is(word given, const char *name)
{
    return given.length == strlen(name) && memcmp(given.start, name, given.length) == 0;
}

/* ---- messages ---- */

static malloc_text complaint(char buffer[MALLOC_LINE_BYTES])
{
    malloc_text text = emmai_malloc_text(buffer, MALLOC_LINE_BYTES);
    emmai_malloc_text_add(&text, VARIABLE ": ");
    return text;
}

/* Bytes that a terminal might take for orders are shown as '?'. */
static void add_shown(malloc_text *text, word value)
{
    for (size_t i = 0; i < value.length; i++) {
        const unsigned char byte = (unsigned char)value.start[i];
        emmai_malloc_text_add_bytes(text, byte < ' ' || byte == 0x7f ? "?" : &value.start[i], 1);
    }
}

static void add_quoted(malloc_text *text, word value)
{
    const bool fits = value.length <= SHOWN_MAX_BYTES;
    emmai_malloc_text_add(text, "'");
    add_shown(text, (word){ value.start, fits ? value.length : SHOWN_MAX_BYTES });
    emmai_malloc_text_add(text, fits ? "'" : "...'");
}

static void refuse_key(word key, const char *before, const char *after)
{
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = complaint(buffer);
    emmai_malloc_text_add(&text, before);
    add_quoted(&text, key);
    emmai_malloc_text_say(&text, after);
}

static void refuse_value(word key, word value, const char *why)
{
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = complaint(buffer);
    emmai_malloc_text_add_bytes(&text, key.start, key.length);
    emmai_malloc_text_add(&text, ": ");
    add_quoted(&text, value);
    emmai_malloc_text_say(&text, why);
}

static void refuse_small(word key, word value, size_t least)
{
    char buffer[sizeof " is below the minimum of  bytes" + 20];
    malloc_text why = { buffer, sizeof buffer - 1, 0 };
    emmai_malloc_text_add(&why, " is below the minimum of ");
    emmai_malloc_text_count(&why, least, 0);
    emmai_malloc_text_add(&why, " bytes");
    buffer[why.used] = '\0';
    refuse_value(key, value, buffer);
}

/* ---- values ---- */

static void read_size(word key, word value, size_t least, size_t *out)
{
    size_t bytes;
    switch (emmai_size_read(value.start, value.length, &bytes)) {
    case EMMAI_SIZE_NONE:
        refuse_value(key, value, " is not a size (use bytes or K, M, G)");
        return;
    case EMMAI_SIZE_TOO_LARGE:
        refuse_value(key, value, " is too large");
        return;
    case EMMAI_SIZE_OK:
        break;
    }
    if (bytes < least)
        refuse_small(key, value, least);
    else
        *out = bytes;
}

static void read_reserve(word key, word value, size_t *out)
{
    emma_options asked = EMMA_OPTIONS_INIT;
    read_size(key, value, EMMA_RESERVE_MIN_BYTES, &asked.reserve_bytes);
    if (emma_options_check(&asked) == EMMA_OK)
        *out = asked.reserve_bytes ? asked.reserve_bytes : *out;
    else
        refuse_value(key, value, " is too large");
}

static void read_switch(word key, word value, bool *out)
{
    if (word_is(value, "0") || word_is(value, "1"))
        *out = value.start[0] == '1';
    else
        refuse_value(key, value, " is neither 0 nor 1");
}

static void read_name(word value)
{
    malloc_text text = { emmai_malloc_name, EMMA_NAME_MAX_BYTES, 0 };
    add_shown(&text, value);
    emmai_malloc_name[text.used] = '\0';
}

static bool is_number(word value, size_t *out)
{
    const char last = value.start[value.length - 1];
    return last >= '0' && last <= '9' &&
           emmai_size_read(value.start, value.length, out) == EMMAI_SIZE_OK;
}

static void read_number(word key, word value, uint64_t *out)
{
    size_t number;
    if (is_number(value, &number))
        *out = number;
    else
        refuse_value(key, value, " is not a number");
}

static void read_decay(word key, word value, size_t *out)
{
    size_t milliseconds;
    if (word_is(value, "never"))
        *out = EMMA_DECAY_NEVER;
    else if (is_number(value, &milliseconds))
        *out = milliseconds;
    else
        refuse_value(key, value, " is neither a number of milliseconds nor never");
}

static int hex_digit(char letter)
{
    const char *digits = "0123456789ABCDEF";
    const char *found = letter ? strchr(digits, letter) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* A path as it is, but for %XX, which is a byte in hexadecimal: commas cannot stand in a list. */
static void read_path(word key, word value)
{
    size_t length = 0;
    for (size_t i = 0; i < value.length && length < MALLOC_PATH_BYTES; length++) {
        const bool is_code = value.length - i >= 3 && value.start[i] == '%' &&
                             hex_digit(value.start[i + 1]) >= 0 &&
                             hex_digit(value.start[i + 2]) >= 0;
        emmai_malloc_report_path[length] =
            is_code ? (char)(hex_digit(value.start[i + 1]) << 4 | hex_digit(value.start[i + 2]))
                    : value.start[i];
        i += is_code ? 3 : 1;
    }
    if (length == MALLOC_PATH_BYTES) {
        length = 0;
        refuse_value(key, value, " is too long");
    }
    emmai_malloc_report_path[length] = '\0';
}

/* NAME+NAME+..., of Python's domains. */
static void read_domains(word key, word value, unsigned *out)
{
    static const char *const names[] = { "raw", "mem", "obj" };
    unsigned domains = 0;
    for (const char *start = value.start, *end = value.start + value.length; start < end;) {
        const char *plus = memchr(start, '+', (size_t)(end - start));
        const word name = { start, (size_t)((plus ? plus : end) - start) };
        size_t found = 0;
        while (found < sizeof names / sizeof names[0] && !word_is(name, names[found]))
            found++;
        if (found == sizeof names / sizeof names[0]) {
            refuse_value(key, name, " is none of raw, mem and obj");
            return;
        }
        domains |= 1u << found;
        start = plus ? plus + 1 : end;
    }
    *out = domains;
}

/* ---- the list ---- */

/* Those from CHILDREN on are for Python; elsewhere they mean nothing. */
typedef enum option {
    LIMIT,
    SOFT_LIMIT,
    RESERVE,
    DECAY,
    STATS,
    MISMATCH,
    EXPORT,
    NAME,
    CHILDREN,
    DOMAINS,
    PROCESS,
    REPORT,
    SAMPLE,
    OPTION_COUNT
} option;

static option option_of(word key)
{
    static const char *const names[OPTION_COUNT] = { "limit",    "soft-limit", "reserve", "decay",
                                                     "stats",    "mismatch",   "export",  "name",
                                                     "children", "domains",    "process", "report",
                                                     "sample" };
    size_t found = 0;
    while (found < OPTION_COUNT && !word_is(key, names[found]))
        found++;
    return (option)found;
}

static void read_value(option asked, word key, word value, malloc_options *out)
{
    switch (asked) {
    case LIMIT:
        read_size(key, value, MALLOC_LIMIT_MIN_BYTES, &out->limit_bytes);
        break;
    case SOFT_LIMIT:
        read_size(key, value, MALLOC_LIMIT_MIN_BYTES, &out->soft_limit_bytes);
        break;
    case RESERVE:
        read_reserve(key, value, &out->reserve_bytes);
        break;
    case DECAY:
        read_decay(key, value, &out->decay_ms);
        break;
    case STATS:
        read_switch(key, value, &out->stats);
        break;
    case MISMATCH:
        read_switch(key, value, &out->mismatch);
        break;
    case EXPORT:
        read_switch(key, value, &out->exports);
        break;
    case NAME:
        read_name(value);
        break;
    case CHILDREN:
        read_switch(key, value, &out->children);
        break;
    case DOMAINS:
        read_domains(key, value, &out->domains);
        break;
    case PROCESS:
        read_number(key, value, &out->process);
        break;
    case REPORT:
        read_path(key, value);
        break;
    case SAMPLE:
        read_size(key, value, 1, &out->sample_bytes);
        break;
    case OPTION_COUNT:
        break;
    }
}

static void read_item(word item, malloc_options *out)
{
    const char *equals = memchr(item.start, '=', item.length);
    const size_t key_length = equals ? (size_t)(equals - item.start) : item.length;
    const word key = { item.start, key_length };
    const option asked = option_of(key);
    if (item.length == 0)
        return;
    if (asked == OPTION_COUNT)
        refuse_key(key, "unknown option ", "");
    else if (!equals || key_length + 1 == item.length)
        refuse_key(key, "", " needs a value");
    else
        read_value(asked, key, (word){ equals + 1, item.length - key_length - 1 }, out);
}

static void complain(const char *what)
{
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = complaint(buffer);
    emmai_malloc_text_say(&text, what);
}

/* Where two options contradict each other, the second one goes. */
static void compare_options(malloc_options *out)
{
    const bool is_limited = out->limit_bytes != EMMA_UNLIMITED;
    if (is_limited && out->soft_limit_bytes != EMMA_UNLIMITED &&
        out->soft_limit_bytes > out->limit_bytes) {
        complain("soft-limit is above limit");
        out->soft_limit_bytes = EMMA_UNLIMITED;
    }
    if (is_limited && out->reserve_bytes && out->reserve_bytes < out->limit_bytes) {
        complain("reserve is below limit");
        out->reserve_bytes = 0;
    }
}

/* Of a limit, so much is held back for the error path: for MemoryError, its traceback,
 * and who catches it. Python 3.13 prints its traceback by a module that it imports just
 * then, which takes 3 MiB. */
#define SPARE_SHARE      4
#define SPARE_MOST_BYTES ((size_t)4 << 20)

static size_t spare_for(size_t limit_bytes)
{
    const size_t share = limit_bytes / SPARE_SHARE;
    return share < SPARE_MOST_BYTES ? share : SPARE_MOST_BYTES;
}

#if EMMA_PYTHON
#pragma weak Py_GetVersion
extern const char *Py_GetVersion(void);
#endif

/* A limit is Python's. A program that it starts, which has malloc from here too, is another
 * matter. */
static void lift_limits_outside_python(malloc_options *out)
{
#if EMMA_PYTHON
    if (Py_GetVersion)
        return;
    out->limit_bytes = out->soft_limit_bytes = EMMA_UNLIMITED;
#else
    (void)out;
#endif
}

static void read_list(const char *list, malloc_options *out)
{
    while (*list) {
        const size_t length = strcspn(list, ",");
        read_item((word){ list, length }, out);
        list += length + (list[length] == ',');
    }
    compare_options(out);
    lift_limits_outside_python(out);
    if (EMMA_PYTHON && out->limit_bytes != EMMA_UNLIMITED)
        out->spare_bytes = spare_for(out->limit_bytes);
}

void emmai_malloc_refuse_reserve(size_t bytes)
{
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = complaint(buffer);
    emmai_malloc_text_add(&text, "reserve: the system refuses ");
    emmai_malloc_text_size(&text, bytes, 0);
    emmai_malloc_text_say(&text, " of address space");
}

void emmai_malloc_read_options(malloc_options *out)
{
    char early[MALLOC_EARLY_BYTES];
    *out = (malloc_options){ .limit_bytes = EMMA_UNLIMITED,
                             .soft_limit_bytes = EMMA_UNLIMITED,
                             .decay_ms = EMMA_DECAY_DEFAULT_MS,
                             .mismatch = true,
                             .children = true,
                             .domains = ~0u };
    const char *list = emmai_malloc_find_variable(VARIABLE, early);
    if (list)
        read_list(list, out);
}
