/* test: plain */
/* Scripts that only make garbage live within a limit, though the collector rests after a
 * checkpoint: some of Lua's functions give up where memory is refused, instead of collecting
 * first. What goes well without a checkpoint does so with one. */
#include "sandbox_test.h"

static const char *const idioms[] = {
    "for i = 1, %d do local s = ('x'):rep(%d) .. i end",
    "for i = 1, %d do local s = table.concat({('y'):rep(%d), i}) end",
    "for i = 1, %d do local s = ('Z'):rep(%d):lower() end",
    "for i = 1, %d do local s = ('ab'):rep(%d // 2):gsub('a', 'c') end",
    "for i = 1, %d do local t = {} for k = 1, %d // 16 do t[k] = k end end",
};

static const size_t limits_kib[] = { 128, 192, 256, 512, 1024 };
static const int sizes[] = { 1100, 3000, 9000, 20000, 40000 };

static enum emma_sandbox_status run(size_t limit_kib, const char *script, bool with_checkpoint)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = limit_kib * TEST_KIB;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    if (with_checkpoint)
        CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    const enum emma_sandbox_status status = sandbox_test_run(sandbox, script);
    emma_sandbox_destroy(sandbox);
    return status;
}

int main(void)
{
    char script[200];
    unsigned went_well = 0;
    for (size_t i = 0; i < TEST_COUNT(idioms); i++) {
        for (size_t k = 0; k < TEST_COUNT(limits_kib); k++) {
            for (size_t n = 0; n < TEST_COUNT(sizes); n++) {
                snprintf(script, sizeof script, idioms[i], (int)(4 * TEST_MIB) / sizes[n],
                         sizes[n]);
                if (run(limits_kib[k], script, false) != EMMA_SANDBOX_DONE)
                    continue;
                went_well++;
                const enum emma_sandbox_status status = run(limits_kib[k], script, true);
                if (status != EMMA_SANDBOX_DONE)
                    fprintf(stderr, "%zu KiB: %s\n", limits_kib[k], script);
                CHECK_EQ(status, EMMA_SANDBOX_DONE);
            }
        }
    }
    CHECK_GT(went_well, 50);
    return 0;
}
