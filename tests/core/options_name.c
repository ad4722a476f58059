/* The name is copied, cut to EMMA_NAME_MAX_BYTES, without control characters, and stands in every message; without one it is
 * "unnamed". */
#include "emma_test.h"

static char seen[256];

static void keep_message(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                         const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    snprintf(seen, sizeof seen, "%s", message);
}

static void expect_name(const char *name, const char *expected)
{
    char given[256] = "", message[TEST_LINE_BYTES];
    emma_options options = test_options();
    options.misuse_handler = keep_message;
    if (name) {
        snprintf(given, sizeof given, "%s", name);
        options.name = given;
    }
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    memset(given, 'x', sizeof given - 1); /* the copy is the instance's own */
    int outside = 0;
    seen[0] = '\0';
    emma_free(instance, &outside);
    test_misuse_line(message, expected, "foreign pointer", &outside, "outside the region");
    CHECK(strcmp(seen, message) == 0);
    emma_destroy(instance);
}

int main(void)
{
    const char *long_name = "abcdefghijklmnopqrstuvwxyz0123456789";
    char cut[EMMA_NAME_MAX_BYTES + 1] = "";
    memcpy(cut, long_name, EMMA_NAME_MAX_BYTES);
    expect_name(NULL, "unnamed");
    expect_name("lua", "lua");
    expect_name("with space %s%n", "with space %s%n");
    expect_name("two\nlines\t\x1b[31m\x7f", "two?lines??[31m?");
    expect_name("K\xc3\xb6ln", "K\xc3\xb6ln");
    expect_name(cut, cut);
    expect_name(long_name, cut);
    return 0;
}
