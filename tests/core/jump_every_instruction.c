/* test: uninstrumented */
/* A handler uses the instance at each instruction of every call that works on one: nothing is lost. And it jumps out,
 * by siglongjmp, of each n-th: what must hold then stands in emma_calls.h. */
#include "emma_calls.h"

#include <setjmp.h>

/* A thread that leaves the instance leaves all its heaps, and handlers that never stop give it ever more. */
enum { ACTS_MAX = 3000 };

static const call *current;
static sigjmp_buf way_out;
static size_t unmapped_count; /* times that a mapping was lost */
static size_t again_count;    /* times that a reset was done again after a refusal */
static test_rng rng;

static void on_trap(int number)
{
    (void)number;
    const bool due = leave_is_due();
    if (acts)
        act();
    if (acts && traps == ACTS_MAX)
        test_trap_end();
    if (!due)
        return;
    note_stop(current);
    left = true;
    siglongjmp(way_out, 1);
}

/* Returns here from the jump. */
static void make_once(const call *c)
{
    if (sigsetjmp(way_out, 1) == 0)
        make(c);
    if (!left)
        release_result();
}

/* A reset that was left is done again by the thread that jumped out of it: where it is taken for being inside still,
 * after a check was refused to it. */
static void reset_again(void)
{
    enum emma_status status = emma_reset(instance);
    if (status == EMMA_BUSY) {
        CHECK(left);
        CHECK_NE(emma_check(instance), EMMA_CORRUPT);
        status = emma_reset(instance);
        again_count++;
    }
    CHECK_EQ(status, EMMA_OK);
    use(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

static void *be_jumper(void *arg)
{
    const call *c = arg;
    prepare(c, SHARED);
    make_once(c);
    if (c->run == call_reset)
        reset_again();
    else if (c->run != call_destroy)
        go_on();
    return NULL;
}

/* Address space that the process has. */
static size_t mapped_bytes(void)
{
    char text[100] = "";
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(read(file, text, sizeof text - 1) > 0);
    close(file);
    return strtoul(text, NULL, 10) * TEST_PAGE_BYTES;
}

static void jump_once(const call *c, unsigned kind)
{
    const size_t before = mapped_bytes();
    set_up(kind);
    if (kind == SHARED) {
        test_thread_run(be_jumper, (void *)(uintptr_t)c);
    } else {
        prepare(c, kind);
        make_once(c);
    }
    after(c, kind);
    if (c->run == call_destroy &&
        kind == CHECKPOINTS) { /* without threads, whose stacks are kept */
        CHECK_LE(mapped_bytes(), before + (left ? LOST_BYTES : 0));
        unmapped_count += mapped_bytes() > before;
    }
}

static void jump_often(const call *c, unsigned kind)
{
    current = c;
    if (c->run != call_destroy && !(kind == SHARED && (c->flags & ALONE))) {
        leaves_at = 0;
        acts = true;
        jump_once(c, kind);
        acts = false;
    }
    leave_often(c, kind, jump_once, &rng);
}

int main(int argc, char **argv)
{
    rng = test_rng_from(test_choose_seed(argc, argv, 54000));
    test_trap_to(on_trap);
    for_each_call(jump_often);
    print_stops();
    printf("%zu times a mapping was lost\n", unmapped_count);
    CHECK(busy_count && refused_count && there_count && gone_count);
    /* Some builds reset but local instances, or are left in too few places. */
    CHECK(again_count || TEST_CHECKED_BUILD || TEST_SLOW_BUILD);
    CHECK(abandoned_count || TEST_SLOW_BUILD);
    return 0;
}
