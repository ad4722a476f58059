/* sandbox_test.h - what the tests of the sandbox kit share. */
#ifndef EMMA_SANDBOX_TEST_H
#define EMMA_SANDBOX_TEST_H

#include "../core/emma_test.h"

#include <lauxlib.h>
#include <lua.h>

#include "emma_sandbox.h"
#include "emma_sandbox_pool.h"

/* Sanitizers and audits make everything slower: bounds of time are for what would never end. */
#define SANDBOX_TEST_DEADLINE_US ((uint64_t)30 * 1000)

static inline emma_sandbox_options sandbox_test_options(void)
{
    const emma_sandbox_options options = EMMA_SANDBOX_OPTIONS_INIT;
    return options;
}

static inline emma_sandbox *sandbox_test_create(const emma_sandbox_options *options)
{
    const char *why = "";
    if (emma_sandbox_options_check(options, &why) != EMMA_SANDBOX_DONE)
        fprintf(stderr, "options: %s\n", why);
    emma_sandbox *sandbox = emma_sandbox_create(options);
    CHECK(sandbox != NULL);
    return sandbox;
}

static inline enum emma_sandbox_status sandbox_test_run(emma_sandbox *sandbox, const char *text)
{
    return emma_sandbox_run(sandbox, "test", text, strlen(text));
}

/* Runs a text that must end with a status; says what happened where it does not. */
static inline void sandbox_test_expect(emma_sandbox *sandbox, const char *text,
                                       enum emma_sandbox_status expected)
{
    const enum emma_sandbox_status status = sandbox_test_run(sandbox, text);
    if (status != expected)
        fprintf(stderr, "%s\nexpected %s, got %s: %s\n%s\n", text,
                emma_sandbox_status_text(expected), emma_sandbox_status_text(status),
                emma_sandbox_message(sandbox), emma_sandbox_traceback(sandbox));
    CHECK_EQ(status, expected);
}

/* Runs a text that must end well with this string as its only result. */
static inline void sandbox_test_result(emma_sandbox *sandbox, const char *text,
                                       const char *expected)
{
    sandbox_test_expect(sandbox, text, EMMA_SANDBOX_DONE);
    size_t count;
    const emma_sandbox_value *results = emma_sandbox_results(sandbox, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(results[0].type, EMMA_SANDBOX_TEXT);
    if (strcmp(results[0].as.text.data, expected) != 0)
        fprintf(stderr, "%s\nexpected '%s', got '%s'\n", text, expected, results[0].as.text.data);
    CHECK(strcmp(results[0].as.text.data, expected) == 0);
}

static inline emma_sandbox_value sandbox_test_integer(int64_t integer)
{
    const emma_sandbox_value value = { .type = EMMA_SANDBOX_INTEGER, .as.integer = integer };
    return value;
}

static inline emma_sandbox_value sandbox_test_text(const char *text)
{
    const emma_sandbox_value value = { .type = EMMA_SANDBOX_TEXT,
                                       .as.text = { text, strlen(text) } };
    return value;
}

static inline emma_sandbox_stats sandbox_test_stats(const emma_sandbox *sandbox)
{
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_get_stats(sandbox, &stats);
    return stats;
}

#endif
