/* Where the address space is limited, the instance takes a part of it that leaves room for others. */
#include "malloc_test.h"

static void use(void *arg)
{
    (void)arg;
    execl("/proc/self/exe", "address_space", "limited", NULL);
}

static void *thread(void *arg)
{
    free(malloc(1000));
    return arg;
}

static int limited(void)
{
    void *blocks[100];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = malloc(100000);
        CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        free(blocks[i]);
    pthread_t id;
    CHECK_EQ(pthread_create(&id, NULL, thread, NULL), 0);
    CHECK_EQ(pthread_join(id, NULL), 0);
    return 0;
}

static void use_under(void *arg)
{
    const struct rlimit space = { *(rlim_t *)arg, *(rlim_t *)arg };
    CHECK_EQ(setrlimit(RLIMIT_AS, &space), 0);
    use(NULL);
}

int main(int argc, char **argv)
{
    (void)argv;
    malloc_test_serves();
    if (argc > 1)
        return limited();
    static rlim_t sizes[] = { 128 * TEST_MIB, TEST_GIB, 5 * TEST_GIB, 100 * TEST_GIB };
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        test_in_child(use_under, &sizes[i]);
    return 0;
}
