/* Prints the version of emma, as a script in a sandbox returns it. */
#include <stdio.h>
#include <string.h>

#include "emma_sandbox.h"

int main(void)
{
    static const char script[] = "return 'emma ' .. version";
    emma_sandbox *sandbox = emma_sandbox_create(NULL);
    const emma_sandbox_value version = { .type = EMMA_SANDBOX_TEXT,
                                         .as.text = { emma_version(), strlen(emma_version()) } };
    if (sandbox == NULL || emma_sandbox_set(sandbox, "version", &version) != EMMA_SANDBOX_DONE ||
        emma_sandbox_run(sandbox, NULL, script, strlen(script)) != EMMA_SANDBOX_DONE)
        return 1;
    size_t count;
    const emma_sandbox_value *results = emma_sandbox_results(sandbox, &count);
    puts(results[0].as.text.data);
    emma_sandbox_destroy(sandbox);
    return count == 1 ? 0 : 1;
}
