/* sandbox_host.c - takes one measurement of the sandbox kit, or of plain Lua to compare it with, in
 * one process, and writes the figures as a JSON object.
 *
 *     sandbox_host MODE [options] [SCRIPT [N]]
 *
 *     rollback   requests and rollbacks of one sandbox that SCRIPT prepares
 *     push       further checkpoints of one
 *     pool       requests on sandboxes of a pool
 *     fresh      the same requests, each in a Lua state of its own, on the C library's malloc
 *     resident   keeps many sandboxes alive: their memory
 *     teardown   SCRIPT builds a heap of N MB: how it is thrown away
 *     program    runs SCRIPT with N as its argument: time
 *
 * The hash seed of Lua is the same in all runs (lua_seed.c). */
#define _GNU_SOURCE
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bench_child.h"
#include "emma_sandbox_pool.h"

#define EXIT_USAGE     2
#define MOST_SAMPLES   100000
#define MOST_TOUCHED   1000
#define MIB            ((size_t)1 << 20)
#define WARM_UP        20 /* cycles before the first that counts */
#define REQUEST_VALUES 3

/* Of each sandbox; none of them is ever reached. */
#define LIMIT_BYTES       ((size_t)4 << 30) /* beside what the prelude took */
#define RESERVE_BYTES     ((size_t)8 << 30)
#define SMALL_LIMIT_BYTES MIB /* where there are many */
#define DEADLINE_US       UINT64_C(3600000000)
#define INSTRUCTIONS      UINT64_C(1000000000000000)

/* The script of a teardown runs for so long after its heap is there. */
#define BEFORE_KILL_NS 20000000L

enum kind {
    KIND_PLAIN,       /* Lua in an instance as Lua programs get it */
    KIND_CHECKPOINTS, /* the same with the flag that sandboxes have */
    KIND_GLIBC,       /* Lua on the C library's malloc */
    KIND_BARE,        /* a sandbox that cannot be checkpointed */
    KIND_SANDBOX,     /* with a limit and a deadline */
    KIND_TAKEN,       /* and a checkpoint taken */
    KIND_BUDGET,      /* with a limit, a deadline and a budget of instructions */
    KIND_COUNT
};

static const char *const kind_names[KIND_COUNT] = { "plain",   "checkpoints", "glibc", "bare",
                                                    "sandbox", "taken",       "budget" };

typedef struct host_options {
    enum kind kind;
    bool varied;            /* each request touches other objects */
    unsigned objects;       /* that the prelude makes */
    unsigned touched;       /* objects that a request changes */
    unsigned garbage_bytes; /* that it makes */
    unsigned count;         /* cycles that are measured, or sandboxes */
    const char *script;
    const char *script_argument;
} host_options;

const char host_name[] = "sandbox_host";

static host_options options = {
    .kind = KIND_SANDBOX, .objects = 1000, .touched = 1, .count = 1000
};

/* ---- Figures ---- */

typedef struct samples {
    int64_t ns[MOST_SAMPLES];
    unsigned count;
} samples;

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void samples_add(samples *all, int64_t from_ns)
{
    all->ns[all->count++] = now_ns() - from_ns;
}

static int by_size(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* The samples are sorted by it. */
static void json_samples(const char *name, samples *all)
{
    qsort(all->ns, all->count, sizeof all->ns[0], by_size);
    json_name(name);
    dprintf(json_fd, "{\"median\": %" PRId64 ", \"least\": %" PRId64 ", \"p99\": %" PRId64 "}",
            all->ns[all->count / 2], all->ns[0], all->ns[(size_t)all->count * 99 / 100]);
}

/* ---- Sandboxes ---- */

static char *script_text;
static size_t script_bytes;

static void read_script(void)
{
    if (options.script == NULL)
        fail("this mode needs a script");
    FILE *file = fopen(options.script, "r");
    if (file == NULL)
        fail("cannot open %s", options.script);
    size_t room = 0;
    ssize_t got = getdelim(&script_text, &room, '\0', file);
    fclose(file);
    if (got < 0)
        fail("cannot read %s", options.script);
    script_bytes = (size_t)got;
}

/* Makes the script a function that is called with the argument, as its chunk would be; then `behind` is done. */
static void wrap_script(const char *behind)
{
    static const char form[] = "local function script(...) %s\nend\nscript('%s') %s";
    const char *argument = options.script_argument != NULL ? options.script_argument : "";
    char *wrapped;
    const int bytes = asprintf(&wrapped, form, script_text, argument, behind);
    if (bytes < 0)
        fail("no memory for the script");
    free(script_text);
    script_text = wrapped;
    script_bytes = (size_t)bytes;
}

static void must(emma_sandbox *sandbox, enum emma_sandbox_status status)
{
    if (status != EMMA_SANDBOX_DONE)
        fail("%s: %s", emma_sandbox_status_text(status), emma_sandbox_message(sandbox));
}

static emma_sandbox_options sandbox_options(void)
{
    emma_sandbox_options own = EMMA_SANDBOX_OPTIONS_INIT;
    own.limit_bytes = LIMIT_BYTES;
    own.reserve_bytes = RESERVE_BYTES;
    own.deadline_us = DEADLINE_US;
    if (options.kind == KIND_BUDGET)
        own.instructions = INSTRUCTIONS;
    if (options.kind == KIND_BARE)
        own.flags &= ~(unsigned)EMMA_SANDBOX_CHECKPOINTS;
    return own;
}

static emma_sandbox *new_sandbox(const emma_sandbox_options *own)
{
    emma_sandbox *sandbox = emma_sandbox_create(own);
    if (sandbox == NULL)
        fail("a sandbox was refused");
    return sandbox;
}

static enum emma_sandbox_status prepare(void *arg, emma_sandbox *sandbox)
{
    (void)arg;
    const emma_sandbox_value count = { .type = EMMA_SANDBOX_INTEGER,
                                       .as.integer = options.objects };
    return emma_sandbox_set(sandbox, "object_count", &count);
}

/* A sandbox that has run the script, and its checkpoint. */
static emma_sandbox *new_prepared(unsigned *level)
{
    const emma_sandbox_options own = sandbox_options();
    emma_sandbox *sandbox = new_sandbox(&own);
    must(sandbox, prepare(NULL, sandbox));
    must(sandbox, emma_sandbox_run(sandbox, "prelude", script_text, script_bytes));
    must(sandbox, emma_sandbox_checkpoint(sandbox, level));
    return sandbox;
}

/* The arguments of request number `index`. */
static void request_values(unsigned index, int64_t values[REQUEST_VALUES])
{
    values[0] = options.varied ? index : 0;
    values[1] = options.touched;
    values[2] = options.garbage_bytes;
}

static void request(emma_sandbox *sandbox, unsigned index)
{
    int64_t values[REQUEST_VALUES];
    emma_sandbox_value arguments[REQUEST_VALUES];
    request_values(index, values);
    for (unsigned i = 0; i < REQUEST_VALUES; i++) {
        arguments[i].type = EMMA_SANDBOX_INTEGER;
        arguments[i].as.integer = values[i];
    }
    must(sandbox, emma_sandbox_call(sandbox, "request", arguments, REQUEST_VALUES));
}

static void json_sandbox(emma_sandbox *sandbox)
{
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_get_stats(sandbox, &stats);
    json_text("lua", LUA_RELEASE);
    json_integer("live_bytes", (int64_t)stats.live_bytes);
    json_integer("checkpoint_bytes", (int64_t)stats.checkpoint_bytes);
}

/* ---- rollback, push ---- */

#define KIB_PER_PAGE 4

/* The first request after the checkpoint makes each page that it writes to the process's own. */
static int64_t dirty_pages(emma_sandbox *sandbox)
{
    memory_now();
    const int64_t before_kib = memory_now().anonymous_kib;
    request(sandbox, 0);
    return (memory_now().anonymous_kib - before_kib) / KIB_PER_PAGE;
}

typedef struct rollback_figures {
    samples first; /* requests after a rollback */
    samples again; /* the same request without a rollback before it */
    samples rollback;
    int64_t first_faults, rollback_faults;
} rollback_figures;

static void rollback_cycle(emma_sandbox *sandbox, unsigned level, unsigned index,
                           rollback_figures *figures)
{
    int64_t faults = minor_faults();
    int64_t from_ns = now_ns();
    request(sandbox, index);
    samples_add(&figures->first, from_ns);
    figures->first_faults += minor_faults() - faults;
    faults = minor_faults();
    from_ns = now_ns();
    must(sandbox, emma_sandbox_rollback(sandbox, level));
    samples_add(&figures->rollback, from_ns);
    figures->rollback_faults += minor_faults() - faults;
}

/* Two requests in a row, of which the second is what counts. */
static void again_cycle(emma_sandbox *sandbox, unsigned level, unsigned index,
                        rollback_figures *figures)
{
    request(sandbox, index);
    const int64_t from_ns = now_ns();
    request(sandbox, index);
    samples_add(&figures->again, from_ns);
    must(sandbox, emma_sandbox_rollback(sandbox, level));
}

static void mode_rollback(void)
{
    static rollback_figures figures;
    unsigned level;
    emma_sandbox *sandbox = new_prepared(&level);
    memset(&figures, 1, sizeof figures); /* its pages are there before faults are counted */
    const int64_t pages = dirty_pages(sandbox);
    must(sandbox, emma_sandbox_rollback(sandbox, level));
    for (unsigned i = 0; i < options.count + WARM_UP; i++) {
        if (i == 0 || i == WARM_UP) {
            figures.first.count = figures.again.count = figures.rollback.count = 0;
            figures.first_faults = figures.rollback_faults = 0;
        }
        rollback_cycle(sandbox, level, i, &figures);
        if (options.garbage_bytes == 0)
            again_cycle(sandbox, level, i, &figures);
    }
    json_sandbox(sandbox);
    json_integer("dirty_pages", pages);
    json_integer("cycles", options.count);
    json_samples("first_ns", &figures.first);
    if (figures.again.count)
        json_samples("again_ns", &figures.again);
    json_samples("rollback_ns", &figures.rollback);
    json_integer("first_faults", figures.first_faults);
    json_integer("rollback_faults", figures.rollback_faults);
    emma_sandbox_destroy(sandbox);
}

static void mode_push(void)
{
    static samples push, rollback;
    unsigned level, further;
    emma_sandbox *sandbox = new_prepared(&level);
    const int64_t pages = dirty_pages(sandbox);
    for (unsigned i = 0; i < options.count; i++) {
        request(sandbox, i);
        int64_t from_ns = now_ns();
        must(sandbox, emma_sandbox_checkpoint(sandbox, &further));
        samples_add(&push, from_ns);
        from_ns = now_ns();
        must(sandbox, emma_sandbox_rollback(sandbox, level));
        samples_add(&rollback, from_ns);
    }
    json_sandbox(sandbox);
    json_integer("dirty_pages", pages);
    json_samples("push_ns", &push);
    json_samples("rollback_ns", &rollback);
    emma_sandbox_destroy(sandbox);
}

/* ---- pool, fresh ---- */

static void pooled_request(emma_sandbox_pool *pool, unsigned index)
{
    emma_sandbox *sandbox;
    if (emma_sandbox_pool_acquire(pool, &sandbox) != EMMA_SANDBOX_DONE)
        fail("no sandbox of the pool");
    request(sandbox, index);
    emma_sandbox_pool_release(pool, sandbox);
}

static void mode_pool(void)
{
    static samples cycle;
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox_pool_options own = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    own.sandbox = sandbox_options();
    own.prepare = prepare;
    own.prelude = script_text;
    own.prelude_bytes = script_bytes;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&own, message);
    if (pool == NULL)
        fail("the pool: %s", message);
    for (unsigned i = 0; i < WARM_UP; i++)
        pooled_request(pool, i);
    for (unsigned i = 0; i < options.count; i++) {
        const int64_t from_ns = now_ns();
        pooled_request(pool, i);
        samples_add(&cycle, from_ns);
    }
    emma_sandbox *sandbox;
    emma_sandbox_pool_acquire(pool, &sandbox);
    json_sandbox(sandbox);
    emma_sandbox_pool_release(pool, sandbox);
    json_samples("cycle_ns", &cycle);
    emma_sandbox_pool_destroy(pool);
}

static void must_lua(lua_State *state, int status)
{
    if (status != LUA_OK)
        fail("%s", lua_tostring(state, -1));
}

static lua_State *new_state(void)
{
    lua_State *state = luaL_newstate();
    if (state == NULL)
        fail("no memory for a Lua state");
    return state;
}

static void fresh_request(unsigned index)
{
    int64_t values[REQUEST_VALUES];
    lua_State *state = new_state();
    luaL_openlibs(state);
    lua_pushinteger(state, options.objects);
    lua_setglobal(state, "object_count");
    must_lua(state, luaL_loadbuffer(state, script_text, script_bytes, "=prelude"));
    must_lua(state, lua_pcall(state, 0, 0, 0));
    request_values(index, values);
    lua_getglobal(state, "request");
    for (unsigned i = 0; i < REQUEST_VALUES; i++)
        lua_pushinteger(state, values[i]);
    must_lua(state, lua_pcall(state, REQUEST_VALUES, LUA_MULTRET, 0));
    lua_close(state);
}

static void mode_fresh(void)
{
    static samples cycle;
    fresh_request(0);
    for (unsigned i = 0; i < options.count; i++) {
        const int64_t from_ns = now_ns();
        fresh_request(i);
        samples_add(&cycle, from_ns);
    }
    json_text("lua", LUA_RELEASE);
    json_malloc_from();
    json_samples("cycle_ns", &cycle);
}

/* ---- resident ---- */

static void mode_resident(void)
{
    static emma_sandbox *sandboxes[MOST_SAMPLES];
    unsigned level;
    emma_sandbox_options own = sandbox_options();
    own.limit_bytes = SMALL_LIMIT_BYTES;
    own.reserve_bytes = 0;
    memset(sandboxes, 1, sizeof sandboxes);  /* the pages are there before the first figure */
    emma_sandbox_destroy(new_sandbox(&own)); /* what the kit has once for the process */
    memory_now();
    const memory_figures before = memory_now();
    int64_t mappings = mapping_count();
    for (unsigned i = 0; i < options.count; i++) {
        sandboxes[i] = new_sandbox(&own);
        if (options.kind == KIND_TAKEN)
            must(sandboxes[i], emma_sandbox_checkpoint(sandboxes[i], &level));
    }
    const memory_figures after = memory_now();
    mappings = mapping_count() - mappings;
    json_sandbox(sandboxes[0]);
    json_memory("before", before);
    json_memory("after", after);
    json_integer("mappings", mappings);
    json_integer("sandboxes", options.count);
    for (unsigned i = 0; i < options.count; i++)
        emma_sandbox_destroy(sandboxes[i]);
}

/* ---- teardown ---- */

typedef struct killing {
    sem_t built; /* the heap is there */
    emma_sandbox *sandbox;
    memory_figures full;
    stamp killed;
} killing;

static int note_built(lua_State *state)
{
    killing *job = emma_sandbox_arg(state);
    job->full = memory_now();
    sem_post(&job->built);
    return 0;
}

static void *kill_later(void *arg)
{
    killing *job = arg;
    const struct timespec time = { .tv_nsec = BEFORE_KILL_NS };
    while (sem_wait(&job->built) != 0) {
    }
    nanosleep(&time, NULL);
    job->killed = stamp_now();
    emma_sandbox_kill(job->sandbox);
    return NULL;
}

static void json_teardown(memory_figures full, stamp from, stamp stopped, stamp ended,
                          memory_figures after)
{
    json_text("lua", LUA_RELEASE);
    json_memory("full", full);
    json_phase("stop", from, stopped);
    json_phase("end", stopped, ended);
    json_memory("after", after);
}

/* The script is killed by another thread as it runs on, its heap built. */
static void teardown_sandbox(void)
{
    static killing job;
    pthread_t thread;
    const emma_sandbox_options own = sandbox_options();
    job.sandbox = new_sandbox(&own);
    wrap_script("built() while true do end");
    must(job.sandbox, emma_sandbox_register(job.sandbox, "built", note_built, &job));
    if (sem_init(&job.built, 0, 0) != 0 || pthread_create(&thread, NULL, kill_later, &job) != 0)
        fail("no thread");
    const enum emma_sandbox_status status =
        emma_sandbox_run(job.sandbox, "heap", script_text, script_bytes);
    const stamp stopped = stamp_now();
    if (status != EMMA_SANDBOX_KILLED)
        fail("not killed but %s: %s", emma_sandbox_status_text(status),
             emma_sandbox_message(job.sandbox));
    emma_sandbox_destroy(job.sandbox);
    const stamp ended = stamp_now();
    pthread_join(thread, NULL);
    json_teardown(job.full, job.killed, stopped, ended, memory_now());
}

static void teardown_glibc(void)
{
    lua_State *state = new_state();
    luaL_openlibs(state);
    wrap_script("");
    must_lua(state, luaL_loadbuffer(state, script_text, script_bytes, "=heap"));
    must_lua(state, lua_pcall(state, 0, 0, 0));
    const memory_figures full = memory_now();
    const stamp from = stamp_now();
    lua_close(state);
    const stamp closed = stamp_now();
    const memory_figures after = memory_now();
    const stamp trimming = stamp_now();
    malloc_trim(0);
    const stamp trimmed = stamp_now();
    json_teardown(full, from, from, closed, after);
    json_phase("give_back", trimming, trimmed);
    json_memory("given_back", memory_now());
}

static void mode_teardown(void)
{
    if (options.kind == KIND_GLIBC)
        teardown_glibc();
    else
        teardown_sandbox();
}

/* ---- program ---- */

/* The libraries that sandboxes have. */
static void open_libraries(lua_State *state)
{
    static const luaL_Reg libraries[] = {
        { LUA_GNAME, luaopen_base },
        { LUA_COLIBNAME, luaopen_coroutine },
        { LUA_TABLIBNAME, luaopen_table },
        { LUA_STRLIBNAME, luaopen_string },
        { LUA_MATHLIBNAME, luaopen_math },
        { LUA_UTF8LIBNAME, luaopen_utf8 },
        { NULL, NULL },
    };
    for (const luaL_Reg *library = libraries; library->func != NULL; library++) {
        luaL_requiref(state, library->name, library->func, 1);
        lua_pop(state, 1);
    }
}

typedef struct program_job {
    lua_State *state;      /* NULL: in the sandbox */
    emma_sandbox *sandbox; /* NULL: in the state */
} program_job;

void sandbox_host_measured(const program_job *job);

/* The run itself; it has a name that a profiler finds. */
void __attribute__((noinline)) sandbox_host_measured(const program_job *job)
{
    if (job->state == NULL) {
        must(job->sandbox, emma_sandbox_run(job->sandbox, "program", script_text, script_bytes));
        return;
    }
    must_lua(job->state, luaL_loadbuffer(job->state, script_text, script_bytes, "=program"));
    must_lua(job->state, lua_pcall(job->state, 0, 0, 0));
}

static void run_measured(const program_job *job)
{
    const stamp before = stamp_now();
    sandbox_host_measured(job);
    const stamp after = stamp_now();
    json_text("lua", LUA_RELEASE);
    json_phase("run", before, after);
}

static void program_plain(void)
{
    emma_options own = EMMA_LUA_OPTIONS_INIT;
    own.reserve_bytes = RESERVE_BYTES;
    if (options.kind == KIND_CHECKPOINTS)
        own.flags |= EMMA_CHECKPOINTS;
    emma *instance = emma_create(&own);
    lua_State *state = instance != NULL ? lua_newstate(emma_lua_alloc, instance) : NULL;
    if (state == NULL)
        fail("no memory for a Lua state");
    open_libraries(state);
    run_measured(&(program_job){ .state = state });
    emma_destroy(instance);
}

static void program_sandbox(void)
{
    emma_sandbox_options own = sandbox_options();
    own.flags |= EMMA_SANDBOX_INCREMENTAL;
    emma_sandbox *sandbox = new_sandbox(&own);
    run_measured(&(program_job){ .sandbox = sandbox });
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_get_stats(sandbox, &stats);
    json_integer("instructions", (int64_t)stats.instructions);
    emma_sandbox_destroy(sandbox);
}

static void mode_program(void)
{
    wrap_script("");
    if (options.kind == KIND_PLAIN || options.kind == KIND_CHECKPOINTS)
        program_plain();
    else
        program_sandbox();
    fflush(stdout);
}

/* ---- The command line ---- */

static unsigned read_number(const char *option, const char *text, unsigned long most)
{
    char *end;
    const unsigned long value = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text == NULL || *text < '0' || *text > '9' || *end != '\0' || value > most)
        fail("%s needs a number, at most %lu", option, most);
    return (unsigned)value;
}

static enum kind read_kind(const char *text)
{
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (text != NULL && strcmp(text, kind_names[kind]) == 0)
            return (enum kind)kind;
    fail("--kind: there is no '%s'", text != NULL ? text : "");
}

static void read_options(char **argv)
{
    for (; *argv != NULL && **argv == '-'; argv++) {
        const char *option = *argv;
        if (strcmp(option, "--varied") == 0)
            options.varied = true;
        else if (strcmp(option, "--kind") == 0)
            options.kind = read_kind(argv[1]), argv++;
        else if (strcmp(option, "--json") == 0)
            json_fd = (int)read_number(option, *++argv, MOST_SAMPLES);
        else if (strcmp(option, "--objects") == 0)
            options.objects = read_number(option, *++argv, UINT32_MAX);
        else if (strcmp(option, "--touched") == 0)
            options.touched = read_number(option, *++argv, MOST_TOUCHED);
        else if (strcmp(option, "--garbage-bytes") == 0)
            options.garbage_bytes = read_number(option, *++argv, UINT32_MAX);
        else if (strcmp(option, "--count") == 0)
            options.count = read_number(option, *++argv, MOST_SAMPLES - WARM_UP);
        else
            fail("unknown option %s", option);
    }
    if (*argv != NULL)
        options.script = *argv++;
    if (options.script != NULL && *argv != NULL)
        options.script_argument = *argv;
    if (options.count == 0 || options.touched == 0 || options.touched > options.objects)
        fail("--count and --touched are at least 1, --objects at least as many as --touched");
}

typedef struct host_mode {
    const char *name;
    void (*run)(void);
    bool needs_script;
} host_mode;

static const host_mode modes[] = {
    { "rollback", mode_rollback, true },  { "push", mode_push, true },
    { "pool", mode_pool, true },          { "fresh", mode_fresh, true },
    { "resident", mode_resident, false }, { "teardown", mode_teardown, true },
    { "program", mode_program, true },
};

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: sandbox_host MODE [options] [script [n]]\n", stderr);
        return EXIT_USAGE;
    }
    read_options(argv + 2);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name) != 0)
            continue;
        if (modes[i].needs_script)
            read_script();
        modes[i].run();
        json_end();
        return EXIT_SUCCESS;
    }
    fail("unknown mode %s", argv[1]);
}
