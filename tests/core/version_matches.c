/* The version of the copy that is linked is the header's, and the header's parts make up its whole.
 */
#include "emma_test.h"

int main(void)
{
    char parts[64];
    snprintf(parts, sizeof parts, "%d.%d.%d", EMMA_VERSION_MAJOR, EMMA_VERSION_MINOR,
             EMMA_VERSION_PATCH);
    CHECK(strcmp(parts, EMMA_VERSION) == 0);
    CHECK(strcmp(emma_version(), EMMA_VERSION) == 0);
    return 0;
}
