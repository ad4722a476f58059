/* test: races */
/* Instances come and go in several threads while the thread looks at them: what it looks at is there. */
#include "export_test.h"

#include <stdatomic.h>

enum { THREADS = 3, ROUNDS = 400, AT_ONCE = 30 };

static atomic_bool ends;
static size_t rounds;

/* Addresses are used again by another thread; ThreadSanitizer, which does not see emma's system calls, is told by this that one
 * comes after the other. The exporter's thread takes no part in it. */
static pthread_mutex_t addresses = PTHREAD_MUTEX_INITIALIZER;

static emma *create(unsigned flags)
{
    pthread_mutex_lock(&addresses);
    emma *instance = test_create(TEST_MIB, flags);
    pthread_mutex_unlock(&addresses);
    return instance;
}

static void destroy(emma *instance)
{
    pthread_mutex_lock(&addresses);
    emma_destroy(instance);
    pthread_mutex_unlock(&addresses);
}

static void *come_and_go(void *arg)
{
    emma *instances[AT_ONCE];
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            instances[i] = create(i % 2 ? EMMA_SHARED : EMMA_CHECKPOINTS);
            emma_export_add(instances[i], "comes", "test", i % 2 ? EMMA_EXPORT_LIVE : 0);
            CHECK(emma_malloc(instances[i], 1000 * (i + 1)) != NULL);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            emma_export_remove(instances[i]);
            destroy(instances[i]);
        }
    }
    return arg;
}

/* Figures of a slot are of one instance: number, name and limit go together. */
static size_t read_page(const export_page *page)
{
    size_t shown = 0;
    for (size_t i = 0; i < page->slot_count; i++) {
        export_slot slot;
        export_test_slot(page, i, &slot);
        CHECK_EQ(slot.number ? TEST_MIB : 0, slot.figures[EXPORT_FIGURE_LIMIT]);
        CHECK(strcmp(slot.name, slot.number ? "comes" : "") == 0);
        shown += slot.number != 0;
    }
    return shown;
}

static void *read_all(void *arg)
{
    size_t *slots = arg;
    while (!atomic_load(&ends)) {
        size_t bytes;
        const export_page *page = export_test_find(getpid(), &bytes);
        if (!page)
            continue;
        while (!atomic_load(&ends) && !__atomic_load_n(&page->closed, __ATOMIC_ACQUIRE))
            *slots += read_page(page);
        munmap((void *)(uintptr_t)page, bytes);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS], reader;
    size_t slots = 0;
    rounds = test_steps(ROUNDS);
    CHECK_EQ(emma_export_start(), 0);
    CHECK_EQ(pthread_create(&reader, NULL, read_all, &slots), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    atomic_store(&ends, true);
    CHECK_EQ(pthread_join(reader, NULL), 0);
    printf("%zu slots were looked at\n", slots);
    CHECK_GT(slots, 0);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
    emma_export_stop();
    return 0;
}
