/* Under strict overcommit (vm.overcommit_memory = 2) an instance reserves its region all the same,
 * and commits as it grows. This changes a setting of the whole machine, so it runs only where
 * EMMA_TEST_OVERCOMMIT is 1 and as root, and puts the setting back. */
#include "emma_model.h"

static const char *const setting = "/proc/sys/vm/overcommit_memory";
static model m;

static bool set_overcommit(const char *value)
{
    const int file = open(setting, O_WRONLY);
    if (file < 0)
        return false;
    const bool done = write(file, value, 1) == 1;
    close(file);
    return done;
}

static void act(void *arg)
{
    enum { INSTANCES = 100 };
    static emma *many[INSTANCES];
    (void)arg;
    test_rng rng = { 5 };
    /* Together far more address space than the machine could promise. */
    for (size_t i = 0; i < INSTANCES; i++) {
        many[i] = emma_create(NULL);
        CHECK(many[i] != NULL);
        CHECK_GE(test_stats(many[i]).reserve_bytes, TEST_GIB);
    }
    model_init(&m, many[0], 0, 500);
    for (size_t i = 0; i < 50000; i++)
        model_random_step(&m, &rng, TEST_MIB);
    model_verify(&m);
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(many[i]);
}

int main(void)
{
    char before[2] = "";
    const char *wanted = getenv("EMMA_TEST_OVERCOMMIT");
    if (!wanted || strcmp(wanted, "1") != 0)
        test_skip("EMMA_TEST_OVERCOMMIT is not 1");
    test_need_own_maps();
    const int file = open(setting, O_RDONLY);
    CHECK(file >= 0 && read(file, before, 1) == 1);
    close(file);
    if (!set_overcommit("2"))
        test_skip("the setting cannot be changed");
    static char text[4096];
    const int status = test_run_child(act, NULL, text, sizeof text);
    CHECK(set_overcommit(before));
    fputs(text, stderr);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}
