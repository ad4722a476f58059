/* two_emmas.h - what the two halves of the example two_emmas.c know of each other. It names nothing of emma: each
 * half has a copy of its own. */
#ifndef TWO_EMMAS_H
#define TWO_EMMAS_H

#include <stdbool.h>

typedef struct plugin_heap plugin_heap;

plugin_heap *plugin_create(void);
void plugin_destroy(plugin_heap *heap);
void plugin_free(plugin_heap *heap, void *block);
void plugin_free_twice(plugin_heap *heap);
bool plugin_owns(const plugin_heap *heap, const void *address);
bool plugin_is_sound(plugin_heap *heap);

/* The plug-in's emma_malloc, to show that it is another function than the host's. */
void *plugin_allocator(void);

/* What emma last said of the plug-in. */
const char *plugin_last_crime(void);

#endif
