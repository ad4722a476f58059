/* Calls on stacks of their own in one thread, as greenlets and fibers have them, which need not end
 * in the opposite order of their beginning: deadlines and kills hold for the one that runs. */
#include "sandbox_test.h"

#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#define STACK_BYTES ((size_t)1 << 20)
#define TASKS_MOST  8

typedef struct task {
    ucontext_t context;
    char *stack;
    emma_sandbox *sandbox;
    const char *text;
    enum emma_sandbox_status status;
    bool is_over;
} task;

static ucontext_t scheduler;
static task tasks[TASKS_MOST];
static task *current;

static void go_to(task *other)
{
    current = other;
    CHECK(swapcontext(&scheduler, &other->context) == 0);
}

/* The host function that lets others run. */
static void pass_on(void *arg, emma_sandbox *sandbox, const emma_sandbox_value *arguments,
                    size_t count, emma_sandbox_answer *answer)
{
    (void)arg, (void)sandbox, (void)arguments, (void)count, (void)answer;
    task *self = current;
    CHECK(swapcontext(&self->context, &scheduler) == 0);
}

static void run_task(void)
{
    task *self = current;
    self->status = sandbox_test_run(self->sandbox, self->text);
    self->is_over = true;
    CHECK(swapcontext(&self->context, &scheduler) == 0);
}

static task *begin(size_t number, const char *text, uint64_t deadline_us)
{
    task *self = &tasks[number];
    emma_sandbox_options options = sandbox_test_options();
    options.deadline_us = deadline_us;
    if (!self->stack)
        self->stack = malloc(STACK_BYTES);
    CHECK(self->stack != NULL);
    self->sandbox = sandbox_test_create(&options);
    self->text = text;
    self->is_over = false;
    CHECK_EQ(emma_sandbox_provide(self->sandbox, "pass_on", pass_on, NULL), EMMA_SANDBOX_DONE);
    CHECK(getcontext(&self->context) == 0);
    self->context.uc_stack.ss_sp = self->stack;
    self->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&self->context, run_task, 0);
    go_to(self);
    CHECK(!self->is_over);
    return self;
}

static void end(task *self)
{
    CHECK(self->is_over);
    emma_sandbox_destroy(self->sandbox);
}

/* The first one ends, and is gone, while the second waits, which has a deadline of its own. */
static void check_deadline(void)
{
    task *first = begin(0, "pass_on()", 0);
    task *second = begin(1, "pass_on() while true do end", SANDBOX_TEST_DEADLINE_US);
    go_to(first);
    CHECK_EQ(first->status, EMMA_SANDBOX_DONE);
    end(first);
    go_to(second);
    CHECK_EQ(second->status, EMMA_SANDBOX_DEADLINE);
    end(second);
}

/* A deadline that passes while others run is noted when it is this one's turn. */
static void check_late(void)
{
    task *first = begin(0, "pass_on() while true do end", SANDBOX_TEST_DEADLINE_US);
    task *second = begin(1, "pass_on()", 0);
    nanosleep(&(struct timespec){ 0, 2000 * (long)SANDBOX_TEST_DEADLINE_US }, NULL);
    go_to(first);
    CHECK_EQ(first->status, EMMA_SANDBOX_DEADLINE);
    end(first);
    go_to(second);
    CHECK(second->is_over);
    end(second);
}

/* A kill is for the one that it names, whichever waits. */
static void check_kill(void)
{
    task *first = begin(0, "pass_on()", 0);
    task *second = begin(1, "pass_on() while true do end", 0);
    task *third = begin(2, "pass_on()", 0);
    emma_sandbox_kill(second->sandbox);
    go_to(first);
    CHECK_EQ(first->status, EMMA_SANDBOX_DONE);
    end(first);
    go_to(second);
    CHECK_EQ(second->status, EMMA_SANDBOX_KILLED);
    end(second);
    go_to(third);
    end(third);
}

/* Many, in any order. */
static void check_many(void)
{
    uint64_t random = 88172645463325252u;
    size_t left = TASKS_MOST;
    for (size_t i = 0; i < TASKS_MOST; i++)
        begin(i, "local n = 0 for i = 1, 50 do pass_on() n = n + i end return tostring(n)", 0);
    while (left) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        task *next = &tasks[random % TASKS_MOST];
        if (next->is_over)
            continue;
        go_to(next);
        if (!next->is_over)
            continue;
        size_t count;
        const emma_sandbox_value *results = emma_sandbox_results(next->sandbox, &count);
        CHECK_EQ(next->status, EMMA_SANDBOX_DONE);
        CHECK(count == 1 && strcmp(results[0].as.text.data, "1275") == 0);
        end(next);
        left--;
    }
}

int main(void)
{
    check_deadline();
    check_late();
    check_kill();
    for (int i = 0; i < 20; i++)
        check_many();
    for (size_t i = 0; i < TASKS_MOST; i++)
        free(tasks[i].stack);
    return 0;
}
