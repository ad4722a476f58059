/* two_emmas_safe.c - the half of two_emmas.c that uses the checking copy of emma. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "emma.h"
#include "two_emmas.h"

enum { CRIME_MAX_BYTES = 80, BLOCK_BYTES = 100 };

static char last_crime[CRIME_MAX_BYTES] = "nothing";

/* Notes what was wrong, without the address, which is another one each time, and returns: the offending
 * call then does nothing. */
static void note_crime(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                       const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    const char *digits = strstr(message, " 0x") + 3;
    snprintf(last_crime, sizeof last_crime, "%.*s...%s", (int)(digits - message), message,
             digits + strspn(digits, "0123456789abcdef"));
}

plugin_heap *plugin_create(void)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.name = "plug-in";
    options.misuse_handler = note_crime;
    return (plugin_heap *)emma_create(&options);
}

void plugin_destroy(plugin_heap *heap)
{
    emma_destroy((emma *)heap);
}

void plugin_free(plugin_heap *heap, void *block)
{
    emma_free((emma *)heap, block);
}

void plugin_free_twice(plugin_heap *heap)
{
    void *block = emma_malloc((emma *)heap, BLOCK_BYTES);
    emma_free((emma *)heap, block);
    emma_free((emma *)heap, block);
}

bool plugin_owns(const plugin_heap *heap, const void *address)
{
    return emma_owns((const emma *)heap, address);
}

bool plugin_is_sound(plugin_heap *heap)
{
    return emma_check((emma *)heap) == EMMA_OK;
}

void *plugin_allocator(void)
{
    return (void *)emma_malloc;
}

const char *plugin_last_crime(void)
{
    return last_crime;
}
