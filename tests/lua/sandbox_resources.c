/* What scripts hold outside is released by rollbacks and by the end, the last first, and what they opened before a
 * checkpoint stays theirs. Files of the io library do so by themselves. */
#include "sandbox_test.h"

static char released[16]; /* the names, in turn */

static void release(void *resource)
{
    const size_t used = strlen(released);
    CHECK_LT(used, sizeof released - 1);
    released[used] = *(const char *)resource;
    released[used + 1] = '\0';
}

static void hold(emma_sandbox *sandbox, const char *name)
{
    CHECK_EQ(emma_sandbox_hold(sandbox, (void *)(uintptr_t)name, release), EMMA_SANDBOX_DONE);
}

static void expect_released(const char *names)
{
    if (strcmp(released, names) != 0)
        fprintf(stderr, "expected '%s', got '%s'\n", names, released);
    CHECK(strcmp(released, names) == 0);
    released[0] = '\0';
}

static void hold_and_release(void)
{
    static const char a[] = "a", b[] = "b", c[] = "c", d[] = "d", e[] = "e";
    unsigned first, second;
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    hold(sandbox, a);
    CHECK_EQ(emma_sandbox_hold(sandbox, (void *)(uintptr_t)a, release), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_hold(sandbox, NULL, release), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_hold(sandbox, released, NULL), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_let_go(sandbox, b), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &first), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_let_go(sandbox, a), EMMA_SANDBOX_INVALID);
    hold(sandbox, b);
    hold(sandbox, c);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &second), EMMA_SANDBOX_DONE);
    hold(sandbox, d);
    hold(sandbox, e);
    CHECK_EQ(emma_sandbox_let_go(sandbox, d), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_let_go(sandbox, b), EMMA_SANDBOX_INVALID);
    expect_released("");
    CHECK_EQ(emma_sandbox_rollback(sandbox, second), EMMA_SANDBOX_DONE);
    expect_released("e");
    hold(sandbox, d);
    CHECK_EQ(emma_sandbox_drop(sandbox, second), EMMA_SANDBOX_DONE);
    expect_released("");
    CHECK_EQ(emma_sandbox_let_go(sandbox, c), EMMA_SANDBOX_DONE); /* since `first` now */
    CHECK_EQ(emma_sandbox_rollback(sandbox, first), EMMA_SANDBOX_DONE);
    expect_released("db");
    hold(sandbox, b);
    CHECK_EQ(sandbox_test_stats(sandbox).resource_count, 2);
    emma_sandbox_destroy(sandbox);
    expect_released("ba");
}

/* ---- Files ---- */

static char path[64];

static size_t descriptors(void)
{
    size_t count = 0;
    for (int i = 0; i < 1024; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

static emma_sandbox *create_with_io(uint64_t deadline_us)
{
    emma_sandbox_options options = sandbox_test_options();
    options.libraries |= EMMA_SANDBOX_IO;
    options.deadline_us = deadline_us;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    const emma_sandbox_value value = sandbox_test_text(path);
    CHECK_EQ(emma_sandbox_set(sandbox, "path", &value), EMMA_SANDBOX_DONE);
    return sandbox;
}

/* Each leaves so many files open. */
static const struct {
    const char *text;
    size_t open;
} openers[] = {
    { "f = io.open(path)", 1 },
    { "f = io.open(path, 'w') f:write('a\\nb\\n') f:close()", 0 },
    { "io.close(io.open(path))", 0 },
    { "do local f <close> = io.open(path) end", 0 },
    { "for i = 1, 5 do io.open(path) end collectgarbage()", 0 },
    { "for l in io.lines(path) do end", 0 },
    { "for l in io.lines(path) do break end", 0 },
    { "next_line = io.lines(path) assert(next_line() == 'a')", 1 },
    { "f = io.open(path) l = f:lines() assert(l() == 'a')", 1 },
    { "io.input(path) assert(io.read() == 'a')", 1 },
    { "io.output(path .. 'x') io.write('y') io.close() assert(not pcall(io.close))", 0 },
    { "p = io.popen('echo hi') assert(p:read() == 'hi')", 1 },
    { "p = io.popen('exit 3') local ok, how, code = p:close() assert(not ok and code == 3)", 0 },
    { "assert(io.type(io.tmpfile()) == 'file')", 1 },
    { "assert(not io.open('/nowhere/at/all')) assert(not pcall(io.lines, '/nowhere'))", 0 },
    { "f = io.open(path) f:close() assert(not pcall(f.read, f) and io.type(f) == 'closed file')",
      0 },
};

static void open_files(void)
{
    emma_sandbox *sandbox = create_with_io(0);
    unsigned level;
    sandbox_test_expect(sandbox,
                        "early = io.open(path, 'w+') early:write('a\\nb\\n') early:flush()",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    const size_t before = descriptors();
    for (size_t i = 0; i < TEST_COUNT(openers); i++) {
        sandbox_test_expect(sandbox, openers[i].text, EMMA_SANDBOX_DONE);
        CHECK_EQ(descriptors(), before + openers[i].open);
        CHECK_EQ(sandbox_test_stats(sandbox).resource_count, 1 + openers[i].open);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        CHECK_EQ(descriptors(), before);
    }
    /* What is closed but was open at the checkpoint is open again. */
    sandbox_test_expect(sandbox, "early:close()", EMMA_SANDBOX_ERROR);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, "early = nil collectgarbage() collectgarbage()",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "early:seek('set') return early:read('a')", "a\nb\n");
    sandbox_test_expect(sandbox, "f = io.open(path)", EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);
    CHECK_EQ(descriptors(), before - 1);
}

/* Stopped at any moment of it, a script leaves no file open. */
static void stop_as_files_open(const char *text)
{
    enum { ROUNDS = 150, DEADLINE_US = 300 };
    emma_sandbox *sandbox = create_with_io(DEADLINE_US);
    unsigned level;
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    const size_t before = descriptors();
    for (int i = 0; i < ROUNDS; i++) {
        sandbox_test_expect(sandbox, text, EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        CHECK_EQ(sandbox_test_stats(sandbox).resource_count, 0);
        CHECK_EQ(descriptors(), before);
    }
    emma_sandbox_destroy(sandbox);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/emma-sandbox-resources-%d", (int)getpid());
    hold_and_release();
    open_files();
    stop_as_files_open("while true do local f = io.open(path) f:close() end");
    stop_as_files_open("while true do pcall(io.open, path) end");
    stop_as_files_open("while true do for l in io.lines(path) do end end");
    stop_as_files_open("while true do io.popen('true') end");
    char second[80];
    snprintf(second, sizeof second, "%sx", path);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(unlink(second), 0);
    return 0;
}
