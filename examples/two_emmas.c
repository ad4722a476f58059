/* two_emmas.c - two copies of emma with different build options in one program: a fast one for the host's own
 * data, and one that checks every block for a plug-in that is not trusted.
 *
 * This file sees the copy with the prefix fast_, two_emmas_safe.c the one with the prefix safe_.
 *
 * Build, in the project's top folder:
 *     cc -O2 -Icore -DEMMA_PREFIX=fast_ -c core/emma.c -o fast_emma.o
 *     cc -O2 -Icore -DEMMA_PREFIX=safe_ -DEMMA_CHECKS=1 -c core/emma.c -o safe_emma.o
 *     cc -O2 -Icore -DEMMA_PREFIX=fast_ -c examples/two_emmas.c -o two_emmas.o
 *     cc -O2 -Icore -DEMMA_PREFIX=safe_ -c examples/two_emmas_safe.c -o two_emmas_safe.o
 *     cc two_emmas.o two_emmas_safe.o fast_emma.o safe_emma.o -o two_emmas
 *
 * Expected output:
 *     two copies: yes
 *     the host's block belongs to the host: yes, to the plug-in: no
 *     the plug-in frees a block twice: emma: plug-in: double free of 0x... (112-byte class)
 *     the plug-in frees the host's block: emma: plug-in: foreign pointer 0x... (outside the region)
 *     the host's block is intact: yes
 *     both states are sound: yes
 */
#include <stdio.h>
#include <string.h>

#include "emma.h"
#include "two_emmas.h"

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

int main(void)
{
    static const char text[] = "the host's own data";
    emma_options options = EMMA_OPTIONS_INIT;
    options.name = "host";
    emma *host = emma_create(&options);
    plugin_heap *plugin = plugin_create();
    char *block = host == NULL ? NULL : emma_malloc(host, sizeof text);
    if (plugin == NULL || block == NULL) {
        fputs("two_emmas: no memory\n", stderr);
        return 1;
    }
    memcpy(block, text, sizeof text);

    printf("two copies: %s\n", yes_no((void *)emma_malloc != plugin_allocator()));
    printf("the host's block belongs to the host: %s, to the plug-in: %s\n",
           yes_no(emma_owns(host, block)), yes_no(plugin_owns(plugin, block)));

    plugin_free_twice(plugin);
    printf("the plug-in frees a block twice: %s\n", plugin_last_crime());
    plugin_free(plugin, block);
    printf("the plug-in frees the host's block: %s\n", plugin_last_crime());

    printf("the host's block is intact: %s\n", yes_no(memcmp(block, text, sizeof text) == 0));
    printf("both states are sound: %s\n",
           yes_no(emma_check(host) == EMMA_OK && plugin_is_sound(plugin)));
    plugin_destroy(plugin);
    emma_destroy(host);
    return 0;
}
