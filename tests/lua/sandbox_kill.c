/* emma_sandbox_kill from other threads, from signal handlers and from inside: it ends the call that runs, or the next
 * one, and the sandbox goes on. */
#include "sandbox_victim.h"

enum { TIMES = 20 };

static victim *victim_signalled;

static void on_signal(int number)
{
    (void)number;
    emma_sandbox_kill(victim_signalled->sandbox);
}

static void *signal_once_begun(void *arg)
{
    victim_wait(arg);
    pthread_kill(((victim *)arg)->thread, SIGUSR1);
    return NULL;
}

/* Runs a text that is killed in the middle, many times; then the same sandbox goes on. */
static void kill_running(const char *text, void *(*killer)(void *))
{
    victim v = victim_create(0);
    pthread_t thread;
    unsigned level;
    CHECK_EQ(emma_sandbox_register(v.sandbox, "begin", victim_begin, &v), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(v.sandbox, &level), EMMA_SANDBOX_DONE);
    victim_signalled = &v;
    for (int i = 0; i < TIMES; i++) {
        atomic_store(&v.begun, false);
        CHECK_EQ(pthread_create(&thread, NULL, killer, &v), 0);
        sandbox_test_expect(v.sandbox, text, EMMA_SANDBOX_KILLED);
        CHECK(strstr(emma_sandbox_message(v.sandbox), "killed") != NULL);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        if (i % 2 || sandbox_test_run(v.sandbox, "return 1") == EMMA_SANDBOX_BROKEN)
            CHECK_EQ(emma_sandbox_rollback(v.sandbox, level), EMMA_SANDBOX_DONE);
        sandbox_test_result(v.sandbox, "return tostring(1)", "1");
    }
    const bool loops_in_c = strstr(text, "find") != NULL;
    CHECK_EQ(sandbox_test_stats(v.sandbox).broken_count > 0, loops_in_c);
    emma_sandbox_destroy(v.sandbox);
}

static void kill_idle(void)
{
    victim v = victim_create(0);
    unsigned level;
    emma_sandbox_kill(v.sandbox);
    emma_sandbox_kill(v.sandbox);
    sandbox_test_expect(v.sandbox, "x = 1", EMMA_SANDBOX_KILLED);
    sandbox_test_result(v.sandbox, "return tostring(x)", "nil");
    CHECK_EQ(emma_sandbox_checkpoint(v.sandbox, &level), EMMA_SANDBOX_DONE);
    emma_sandbox_kill(v.sandbox);
    CHECK_EQ(emma_sandbox_rollback(v.sandbox, level), EMMA_SANDBOX_DONE);
    sandbox_test_expect(v.sandbox, "x = 1", EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(v.sandbox);
}

static int kill_self(lua_State *state)
{
    emma_sandbox_kill(emma_sandbox_of(state));
    lua_pushliteral(state, "still here");
    return 1;
}

static void kill_from_inside(void)
{
    victim v = victim_create(0);
    CHECK_EQ(emma_sandbox_register(v.sandbox, "die", kill_self, NULL), EMMA_SANDBOX_DONE);
    sandbox_test_expect(v.sandbox, "pcall(die) after = 1", EMMA_SANDBOX_KILLED);
    sandbox_test_expect(v.sandbox, VICTIM_CLOSING "coroutine.wrap(die)() after = 1",
                        EMMA_SANDBOX_KILLED);
    sandbox_test_result(v.sandbox, "return tostring(after)", "nil");
    emma_sandbox_destroy(v.sandbox);
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    kill_running("begin() while true do end", victim_kill);
    kill_running("begin() while true do pcall(error) coroutine.wrap(begin)() end", victim_kill);
    kill_running("begin(); " VICTIM_C_LOOP, victim_kill);
    kill_running("begin() while true do end", signal_once_begun);
    kill_running("begin(); " VICTIM_C_LOOP, signal_once_begun);
    kill_idle();
    kill_from_inside();
    return 0;
}
