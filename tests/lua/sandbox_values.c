/* Values into sandboxes and out of them: every type comes back as it went in, and what cannot be handed over is named. */
#include "sandbox_test.h"

#include <limits.h>
#include <math.h>

static const emma_sandbox_value nothing = { .type = EMMA_SANDBOX_NIL };

static emma_sandbox_value number(double value)
{
    return (emma_sandbox_value){ .type = EMMA_SANDBOX_FLOAT, .as.number = value };
}

static emma_sandbox_value bytes(const char *data, size_t count)
{
    return (emma_sandbox_value){ .type = EMMA_SANDBOX_TEXT, .as.text = { data, count } };
}

static emma_sandbox_value table(const emma_sandbox_pair *items, size_t count)
{
    return (emma_sandbox_value){ .type = EMMA_SANDBOX_PAIRS, .as.pairs = { items, count } };
}

static bool same(const emma_sandbox_value *a, const emma_sandbox_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case EMMA_SANDBOX_NIL:
        return true;
    case EMMA_SANDBOX_BOOLEAN:
        return a->as.boolean == b->as.boolean;
    case EMMA_SANDBOX_INTEGER:
        return a->as.integer == b->as.integer;
    case EMMA_SANDBOX_FLOAT:
        return (isnan(a->as.number) && isnan(b->as.number)) ||
               memcmp(&a->as.number, &b->as.number, sizeof(double)) == 0;
    case EMMA_SANDBOX_TEXT:
        return a->as.text.bytes == b->as.text.bytes &&
               (!a->as.text.bytes ||
                memcmp(a->as.text.data, b->as.text.data, a->as.text.bytes) == 0);
    case EMMA_SANDBOX_PAIRS:
        if (a->as.pairs.count != b->as.pairs.count)
            return false;
        for (size_t i = 0, k; i < a->as.pairs.count; i++) { /* in any order */
            for (k = 0; k < b->as.pairs.count; k++)
                if (same(&a->as.pairs.items[i].key, &b->as.pairs.items[k].key) &&
                    same(&a->as.pairs.items[i].value, &b->as.pairs.items[k].value))
                    break;
            if (k == b->as.pairs.count)
                return false;
        }
        return true;
    }
    return false;
}

static const emma_sandbox_value *results(emma_sandbox *sandbox, size_t expected)
{
    size_t count;
    const emma_sandbox_value *values = emma_sandbox_results(sandbox, &count);
    CHECK_EQ(count, expected);
    return values;
}

static void echo_all(emma_sandbox *sandbox, unsigned level)
{
    static char large[100000];
    memset(large, 'l', sizeof large);
    const emma_sandbox_pair inner[] = { { sandbox_test_integer(1), sandbox_test_text("one") },
                                        { number(0.5), number(-0.0) },
                                        { bytes("k\0k", 3), bytes(large, sizeof large) } };
    const emma_sandbox_pair outer[] = { { sandbox_test_text("in"), table(inner, 3) },
                                        { { .type = EMMA_SANDBOX_BOOLEAN, .as.boolean = true },
                                          table(NULL, 0) } };
    const emma_sandbox_value values[] = {
        nothing,
        { .type = EMMA_SANDBOX_BOOLEAN, .as.boolean = true },
        { .type = EMMA_SANDBOX_BOOLEAN, .as.boolean = false },
        sandbox_test_integer(INT64_MAX),
        sandbox_test_integer(INT64_MIN),
        sandbox_test_integer(0),
        number(NAN),
        number(INFINITY),
        number(-INFINITY),
        number(1e308),
        number(3.0),
        bytes("", 0),
        bytes(NULL, 0),
        bytes("a\0b\0", 4),
        bytes(large, sizeof large),
        table(outer, 2),
        nothing,
    };
    CHECK_EQ(emma_sandbox_call(sandbox, "game.echo", values, TEST_COUNT(values)),
             EMMA_SANDBOX_DONE);
    const emma_sandbox_value *back = results(sandbox, TEST_COUNT(values));
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    for (size_t i = 0; i < TEST_COUNT(values); i++) {
        CHECK(same(&values[i], &back[i]));
        if (back[i].type == EMMA_SANDBOX_TEXT)
            CHECK_EQ(back[i].as.text.data[back[i].as.text.bytes], 0);
    }
    CHECK_EQ(emma_sandbox_run(sandbox, NULL, "", 0), EMMA_SANDBOX_DONE);
    CHECK(results(sandbox, 0) == NULL);
}

/* A text that ends with an error whose message has this in it. */
static void expect_error(emma_sandbox *sandbox, const char *text, const char *message)
{
    sandbox_test_expect(sandbox, text, EMMA_SANDBOX_ERROR);
    if (!strstr(emma_sandbox_message(sandbox), message))
        fprintf(stderr, "%s\nexpected '%s', got '%s'\n", text, message,
                emma_sandbox_message(sandbox));
    CHECK(strstr(emma_sandbox_message(sandbox), message) != NULL);
    results(sandbox, 0);
}

static void expect_invalid(emma_sandbox *sandbox, const emma_sandbox_value *value,
                           const char *message)
{
    CHECK_EQ(emma_sandbox_call(sandbox, "game.echo", value, 1), EMMA_SANDBOX_INVALID);
    CHECK(strncmp(emma_sandbox_message(sandbox), "argument 1: ", 12) == 0);
    CHECK(strstr(emma_sandbox_message(sandbox), message) != NULL);
    CHECK_EQ(emma_sandbox_set(sandbox, "x", value), EMMA_SANDBOX_INVALID);
    CHECK(strncmp(emma_sandbox_message(sandbox), "x: ", 3) == 0);
}

static void refuse_results(emma_sandbox *sandbox)
{
    expect_error(sandbox, "local t = {} t.t = t return t", "value_depth");
    expect_error(sandbox, "local t = {} for i = 1, 16 do t = {t} end return t", "value_depth");
    sandbox_test_expect(sandbox, "local t = {} for i = 1, 15 do t = {t} end return t",
                        EMMA_SANDBOX_DONE);
    expect_error(sandbox, "return ('x'):rep(1 << 20)", "value_bytes");
    expect_error(sandbox, "local t = {} for i = 1, 30000 do t[i] = i end return t", "value_bytes");
    expect_error(sandbox, "return 1, print", "function");
    expect_error(sandbox, "return {{x = coroutine.create(print)}}", "thread");
    expect_error(sandbox, "return setmetatable({print}, {__pairs = error})", "function");
}

static void refuse_arguments(emma_sandbox *sandbox)
{
    const emma_sandbox_value unknown = { .type = (enum emma_sandbox_type)99 };
    const emma_sandbox_pair nil_key = { nothing, nothing };
    const emma_sandbox_pair nan_key = { number(NAN), nothing };
    const emma_sandbox_pair deep_key = { unknown, nothing };
    const emma_sandbox_value no_data = bytes(NULL, 1), no_items = table(NULL, 1);
    const emma_sandbox_value with_nil = table(&nil_key, 1), with_nan = table(&nan_key, 1);
    const emma_sandbox_value with_unknown = table(&deep_key, 1);
    static emma_sandbox_pair chain[20];
    for (size_t i = 0; i < TEST_COUNT(chain); i++)
        chain[i] =
            (emma_sandbox_pair){ sandbox_test_integer(1), i ? table(&chain[i - 1], 1) : nothing };
    const emma_sandbox_value deep = table(&chain[16], 1), not_deep = table(&chain[15], 1);
    expect_invalid(sandbox, &unknown, "unknown type");
    expect_invalid(sandbox, &with_unknown, "unknown type");
    expect_invalid(sandbox, &no_data, "data");
    expect_invalid(sandbox, &no_items, "items");
    expect_invalid(sandbox, &with_nil, "nil");
    expect_invalid(sandbox, &with_nan, "NaN");
    expect_invalid(sandbox, &deep, "value_depth");
    CHECK_EQ(emma_sandbox_set(sandbox, "x", &not_deep), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_call(sandbox, "game.echo", NULL, 1), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_call(sandbox, "game.echo", &nothing, 100000), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_call(sandbox, NULL, NULL, 0), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_call(sandbox, "", NULL, 0), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_run(sandbox, NULL, NULL, 0), EMMA_SANDBOX_INVALID);
}

static void use_names(emma_sandbox *sandbox)
{
    const emma_sandbox_value seven = sandbox_test_integer(7);
    CHECK_EQ(emma_sandbox_set(sandbox, "a.b.c", &seven), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set(sandbox, "a.b.d", &seven), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return a.b.c .. a.b.d .. tostring(a.c)", "77nil");
    CHECK_EQ(emma_sandbox_set(sandbox, "a.b", NULL), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return tostring(a.b)", "nil");
    sandbox_test_expect(sandbox, "n = 5 setmetatable(_G, {__newindex = error, __index = error})",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set(sandbox, "n.x", &seven), EMMA_SANDBOX_INVALID);
    CHECK(strstr(emma_sandbox_message(sandbox), "n.x") != NULL);
    CHECK_EQ(emma_sandbox_register(sandbox, "n.x.y", (lua_CFunction)abort, NULL),
             EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_set(sandbox, "fresh.x", &seven), EMMA_SANDBOX_DONE); /* no metamethod */
    CHECK_EQ(emma_sandbox_call(sandbox, "n.x", NULL, 0), EMMA_SANDBOX_ERROR);
    CHECK_EQ(emma_sandbox_call(sandbox, "none", NULL, 0), EMMA_SANDBOX_ERROR);
    CHECK(strstr(emma_sandbox_message(sandbox), "'none'") != NULL);
    CHECK_EQ(emma_sandbox_call(sandbox, "n", NULL, 0), EMMA_SANDBOX_ERROR);
}

/* What one call returned can be what the next one is given; other functions of the kit leave it. */
static void hand_results_on(emma_sandbox *sandbox)
{
    size_t count;
    sandbox_test_expect(sandbox, "function twice(t) t[#t + 1] = #t return t end return {'a', 'b'}",
                        EMMA_SANDBOX_DONE);
    for (int i = 0; i < 20; i++) {
        const emma_sandbox_value *before = emma_sandbox_results(sandbox, &count);
        CHECK_EQ(count, 1);
        CHECK_EQ(emma_sandbox_set(sandbox, "kept", before), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_results(sandbox, &count), before);
        CHECK_EQ(emma_sandbox_call(sandbox, "twice", before, count), EMMA_SANDBOX_DONE);
    }
    CHECK_EQ(emma_sandbox_results(sandbox, &count)->as.pairs.count, 22);
    sandbox_test_result(sandbox, "return #kept .. kept[1]", "21a");
}

int main(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    unsigned level;
    sandbox_test_expect(sandbox, "game = {echo = function(...) return ... end}", EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    echo_all(sandbox, level);
    refuse_results(sandbox);
    refuse_arguments(sandbox);
    hand_results_on(sandbox);
    use_names(sandbox);
    emma_sandbox_destroy(sandbox);
    return 0;
}
