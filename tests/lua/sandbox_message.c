/* Messages of errors with null characters in them: whole where their length is asked for. */
#include "sandbox_test.h"

static void expect_message(const emma_sandbox *sandbox, const char *text, size_t bytes)
{
    size_t found;
    CHECK(memcmp(emma_sandbox_message_bytes(sandbox, &found), text, bytes + 1) == 0);
    CHECK_EQ(found, bytes);
    CHECK(emma_sandbox_message_bytes(sandbox, &found) == emma_sandbox_message(sandbox));
}

int main(void)
{
    static const char whole[] = "test:1: a\0b", prelude[] = "error('a\\0b')";
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    expect_message(sandbox, "", 0);
    sandbox_test_expect(sandbox, "error('a\\0b')", EMMA_SANDBOX_ERROR);
    expect_message(sandbox, whole, sizeof whole - 1);
    sandbox_test_expect(sandbox, "error(('\\0'):rep(5000), 0)", EMMA_SANDBOX_ERROR);
    memset(message, 0, sizeof message);
    expect_message(sandbox, message, sizeof message - 1);
    sandbox_test_expect(sandbox, "return 1", EMMA_SANDBOX_DONE);
    expect_message(sandbox, "", 0);
    emma_sandbox_destroy(sandbox);

    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.prelude = prelude;
    CHECK(emma_sandbox_pool_create(&options, message) == NULL);
    CHECK(strcmp(message, "error: prelude:1: a\\0b") == 0);
    return 0;
}
