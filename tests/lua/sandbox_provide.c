/* Functions of the host's in values: copies of the arguments, answers that are released whatever happens, errors,
 * bounds. */
#include "sandbox_test.h"

#include <stdio.h>
#include <stdlib.h>

static int released;

static void release(emma_sandbox_answer *answer)
{
    released++;
    free(answer->memory);
}

/* Answers what it gets, in memory of its own; as an error, if the first is a text "fail". */
static void echo(void *arg, emma_sandbox *sandbox, const emma_sandbox_value *arguments, size_t count,
                 emma_sandbox_answer *answer)
{
    (void)sandbox;
    ++*(int *)arg;
    emma_sandbox_value *copies = calloc(count + 1, sizeof *copies);
    CHECK(copies != NULL);
    for (size_t i = 0; i < count; i++)
        copies[i] = arguments[i];
    answer->values = copies;
    answer->count = count;
    answer->memory = copies;
    answer->release = release;
    if (count && copies[0].type == EMMA_SANDBOX_TEXT && strcmp(copies[0].as.text.data, "fail") == 0)
        answer->error = copies[0].as.text.data;
    if (count && copies[0].type == EMMA_SANDBOX_TEXT && strcmp(copies[0].as.text.data, "wrong") == 0)
        copies[0].type = (enum emma_sandbox_type)99;
}

static void nothing(void *arg, emma_sandbox *sandbox, const emma_sandbox_value *arguments, size_t count,
                    emma_sandbox_answer *answer)
{
    (void)arg, (void)sandbox, (void)arguments, (void)count, (void)answer;
}

/* Texts and what each returns. */
static const char *const results[][2] = {
    { "return echo('a', 1, 2.5)", "a" },
    { "return (select(2, echo('a', 'b\\0c')))", "b" },
    { "return echo({ x = { 'deep' } }).x[1]", "deep" },
    { "return tostring(echo())", "bad argument" },
    { "return tostring(nothing())", "bad argument" },
    { "return (select(2, pcall(function() echo('fail') end)))", "test:1: fail" },
    { "return (select(2, pcall(echo, 'wrong')))", "an unknown type" },
    { "return (select(2, pcall(echo, print)))", "an argument is or has a function" },
    { "return (select(2, pcall(echo, ('x'):rep(100000))))", "the arguments are larger than 65536 bytes" },
    { "return tostring((pcall(coroutine.wrap(function() echo('fail') end))))", "false" },
    { "return coroutine.wrap(function() return echo('inside') end)()", "inside" },
};

static void check_results(emma_sandbox *sandbox)
{
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        const enum emma_sandbox_status status = emma_sandbox_run(sandbox, "test", results[i][0], strlen(results[i][0]));
        size_t count;
        const emma_sandbox_value *values = emma_sandbox_results(sandbox, &count);
        const char *got = status == EMMA_SANDBOX_DONE ? values[0].as.text.data : emma_sandbox_message(sandbox);
        if (!strstr(got, results[i][1]))
            fprintf(stderr, "%s: %s\n", results[i][0], got);
        CHECK(strstr(got, results[i][1]) != NULL);
    }
}

/* As many calls as would fill value_bytes many times over, had they left something behind. */
static void check_nothing_is_kept(emma_sandbox *sandbox, int *calls)
{
    static const char many[] = "for i = 1, 5000 do echo(('x'):rep(50), { i }) pcall(echo, {}, print) pcall(echo, 'fail') end";
    const int calls_before = *calls, released_before = released;
    CHECK_EQ(emma_sandbox_run(sandbox, "many", many, sizeof many - 1), EMMA_SANDBOX_DONE);
    CHECK_EQ(*calls - calls_before, 10000);
    CHECK_EQ(released - released_before, 10000);
}

/* An answer that does not fit into the script's memory is released all the same. */
static void check_no_memory(emma_sandbox *sandbox)
{
    static const char full[] = "local all, n = {}, 0 while true do n = n + 1 all[n] = echo(('x'):rep(1000) .. n) end";
    released = 0;
    int *calls = calloc(1, sizeof *calls);
    CHECK_EQ(emma_sandbox_provide(sandbox, "echo", echo, calls), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_run(sandbox, "full", full, sizeof full - 1), EMMA_SANDBOX_MEMORY);
    CHECK(*calls > 100);
    CHECK_EQ(*calls, released);
    free(calls);
}

int main(void)
{
    emma_sandbox_options options = EMMA_SANDBOX_OPTIONS_INIT;
    options.limit_bytes = 1 << 20;
    options.value_bytes = 65536;
    emma_sandbox *sandbox = emma_sandbox_create(&options);
    CHECK(sandbox != NULL);
    int calls = 0;
    CHECK_EQ(emma_sandbox_provide(sandbox, "echo", echo, &calls), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_provide(sandbox, "nothing", nothing, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_provide(sandbox, "a.b", NULL, NULL), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_provide(sandbox, "", echo, NULL), EMMA_SANDBOX_INVALID);
    check_results(sandbox);
    check_nothing_is_kept(sandbox, &calls);
    check_no_memory(sandbox);
    emma_sandbox_destroy(sandbox);
    return 0;
}
