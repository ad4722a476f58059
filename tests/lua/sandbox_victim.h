/* sandbox_victim.h - a sandbox that another thread kills once the script in it has begun. */
#ifndef EMMA_SANDBOX_VICTIM_H
#define EMMA_SANDBOX_VICTIM_H

#include "sandbox_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { VICTIM_WAIT_US = 500 };

#define VICTIM_C_LOOP "('a'):rep(40):find(('a*'):rep(40) .. 'b')"
#define VICTIM_CLOSING \
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) "

/* A sandbox and who is to kill it once it has begun. */
typedef struct victim {
    emma_sandbox *sandbox;
    atomic_bool begun;
    pthread_t thread; /* where it runs */
} victim;

static inline int victim_begin(lua_State *state)
{
    victim *v = emma_sandbox_arg(state);
    atomic_store(&v->begun, true);
    return 0;
}

static inline victim victim_create(uint64_t deadline_us)
{
    emma_sandbox_options options = sandbox_test_options();
    options.deadline_us = deadline_us;
    return (victim){ .sandbox = sandbox_test_create(&options), .thread = pthread_self() };
}

static inline void victim_wait(victim *v)
{
    while (!atomic_load(&v->begun))
        usleep(VICTIM_WAIT_US / 10);
    usleep(VICTIM_WAIT_US);
}

static inline void *victim_kill(void *arg)
{
    victim_wait(arg);
    emma_sandbox_kill(((victim *)arg)->sandbox);
    return NULL;
}

#endif
