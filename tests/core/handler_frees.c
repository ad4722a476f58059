/* test: whole */
/* What a signal handler frees while a call is inside: nothing, if that call is a reset, which has freed it already;
 * what is no block is told at once; and a block that is written to before the next call finds it is no way
 * out of the instance. */
#include "emma_fault.h"

enum { BLOCKS = 200, BLOCK_BYTES = 3000 };

static emma *instance;
static void *blocks[BLOCKS];
static void *to_free; /* by the handler, once */
static size_t handled;
static enum emma_misuse crime;
static const void *culprit;
static size_t reports;

static void report(void *arg, emma *from, enum emma_misuse what, const void *address,
                   const char *message)
{
    (void)arg, (void)from, (void)message;
    reports++;
    crime = what;
    culprit = address;
}

/* As a signal handler would, that comes just before a system call. */
static void handler(long number)
{
    (void)number;
    if (!to_free)
        return;
    void *block = to_free;
    to_free = NULL;
    handled++;
    emma_free(instance, block);
}

static void create(void)
{
    emma_options options = test_options();
    options.misuse_handler = report;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    reports = handled = 0;
}

/* Has the handler free `block` inside a call that makes one. */
static void interrupt_with(void *block)
{
    to_free = block;
    CHECK(emma_malloc(instance, TEST_MIB) != NULL);
    CHECK_EQ(handled, 1);
}

static void in_reset(void)
{
    create();
    to_free = blocks[0]; /* of those that are gone first */
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(handled, 1);
    CHECK(emma_malloc(instance, TEST_MIB) != NULL); /* would find what was put off */
    CHECK_EQ(reports, 0);
    CHECK_EQ(test_stats(instance).live_blocks, 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

static void no_block(void)
{
    create();
    interrupt_with(&instance);
    CHECK_EQ(reports, 1);
    CHECK_EQ(crime, EMMA_MISUSE_FOREIGN);
    CHECK_EQ(culprit, &instance);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS + 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

static void written_to(void)
{
    create();
    interrupt_with(blocks[1]);
    CHECK_EQ(reports, 0);
    static void *outside; /* NULL: the end of the list that this leads to */
    void *link = &outside;
    memcpy(blocks[1], &link, sizeof link);
    CHECK(emma_malloc(instance, TEST_MIB) != NULL); /* finds what was put off */
    CHECK_EQ(reports, 1);
    CHECK_EQ(crime, EMMA_MISUSE_FOREIGN);
    CHECK_EQ(culprit, &outside);
    emma_destroy(instance);
}

int main(void)
{
    fault.before = handler;
    in_reset();
    no_block();
    written_to();
    return 0;
}
