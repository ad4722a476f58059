/* emma_sandbox_stop.c - how a call is stopped: by the hook, and where none runs, by a signal and a
 * jump.
 *
 * Each thread that makes calls has a timer, set to the deadline of the innermost call, that
 * signals this thread, and goes on doing so each millisecond. The handler first sets Lua's hook.
 * When the thread had some of the processor's time since, and still is in the call, it is in
 * code that runs no hook: then the handler jumps out of it, if the interrupted instruction is
 * one of Lua's own. Otherwise (the C library, emma, a host function further up) it waits for the
 * next tick. What an interrupted instruction of Lua's leaves behind is only in the sandbox's
 * memory. */
#include "emma_sandbox_internal.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef EMMA_SANDBOX_SIGNAL
#define EMMA_SANDBOX_SIGNAL SIGURG
#endif

/* The hook has so much of the processor's time, and so many ticks, to take effect: where the
 * processor itself is taken away, as from a virtual machine, its time goes on, and one tick is due
 * as soon as it is back. */
#define GRACE_NS    ((int64_t)1000 * 1000)
#define GRACE_TICKS 2
#define TICK_NS     ((int64_t)1000 * 1000)

#define HOOK_ANYTHING (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT)

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

typedef struct stop_thread {
    emma_sandbox *running; /* the innermost call's */
    emma_sandbox *entered; /* the last of the calls that go on */
    pid_t id;
    timer_t timer;
    bool has_timer;
    bool passes;         /* a signal on to the handler of others, which may call this one */
    unsigned generation; /* of the process that the timer is of */
} stop_thread;

static __thread stop_thread stop_self __attribute__((tls_model("initial-exec")));

static struct {
    pthread_once_t once;
    bool ready;
    uintptr_t text_low;         /* of the object that Lua's code lies in */
    size_t text_bytes;          /* 0: the C library lies there, too */
    struct sigaction former[2]; /* handlers of others: the last one found, and room for the next */
    atomic_uint last;           /* which of them */
    pthread_key_t key;
    atomic_uint generation; /* forks that led here */
} stop_process = { .once = PTHREAD_ONCE_INIT };

static int64_t stop_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * EMMAI_NS_PER_S + now.tv_nsec;
}

static int64_t emmai_stop_now_ns(void)
{
    return stop_clock(CLOCK_MONOTONIC);
}

/* ---- The process, once ---- */

/* Looks for the object that has the code at *data in it. A program without an interpreter of its
 * own (PT_INTERP) has the C library's code in the same object. */
static int stop_find_text(struct dl_phdr_info *object, size_t size, void *data)
{
    (void)size;
    const uintptr_t code = *(const uintptr_t *)data;
    bool is_program = object->dlpi_name == NULL || object->dlpi_name[0] == '\0';
    bool is_dynamic = !is_program;
    for (unsigned i = 0; i < object->dlpi_phnum; i++)
        is_dynamic |= object->dlpi_phdr[i].p_type == PT_INTERP;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        const uintptr_t low = object->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || code - low >= part->p_memsz)
            continue;
        stop_process.text_low = low;
        stop_process.text_bytes = is_dynamic ? part->p_memsz : 0;
        return 1;
    }
    return 0;
}

/* An address in Lua's code: of one of its functions as Lua itself has it, which is no trampoline
 * of the linker's. */
static int stop_find_lua(lua_State *state)
{
    luaopen_base(state);
    lua_getfield(state, -1, "rawequal");
    uintptr_t code = (uintptr_t)lua_tocfunction(state, -1);
    dl_iterate_phdr(stop_find_text, &code);
    return 0;
}

static void stop_on_signal(int number, siginfo_t *info, void *context);

static void stop_thread_ends(void *self)
{
    stop_thread *thread = self;
    if (thread->has_timer && thread->generation == stop_process.generation)
        timer_delete(thread->timer);
    thread->has_timer = false;
}

static void stop_forked(void);

/* Has the signal's handler be this one, whoever set another since; that one gets what is not the
 * kit's. */
static void stop_hold_signal(void)
{
    struct sigaction now, own;
    if (sigaction(EMMA_SANDBOX_SIGNAL, NULL, &now) != 0 ||
        ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == stop_on_signal))
        return;
    const unsigned next = 1 - atomic_load(&stop_process.last);
    stop_process.former[next] = now;
    atomic_store(&stop_process.last, next);
    memset(&own, 0, sizeof own);
    own.sa_sigaction = stop_on_signal;
    own.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigemptyset(&own.sa_mask);
    sigaction(EMMA_SANDBOX_SIGNAL, &own, NULL);
}

static void stop_prepare_process(void)
{
    const emma_options options = EMMA_LUA_OPTIONS_INIT;
    emma *instance = emma_create(&options);
    lua_State *state = instance ? lua_newstate(emma_lua_alloc, instance) : NULL;
    if (state) {
        lua_pushcfunction(state, stop_find_lua);
        lua_pcall(state, 0, 0, 0);
    }
    emma_destroy(instance);
    stop_process.ready = pthread_key_create(&stop_process.key, stop_thread_ends) == 0 &&
                         pthread_atfork(NULL, NULL, stop_forked) == 0;
    stop_hold_signal();
}

static bool emmai_stop_can_escape(void)
{
    pthread_once(&stop_process.once, stop_prepare_process);
    return stop_process.text_bytes != 0;
}

static unsigned emmai_stop_generation(void)
{
    pthread_once(&stop_process.once, stop_prepare_process);
    return stop_process.generation;
}

static bool emmai_stop_prepare(void)
{
    pthread_once(&stop_process.once, stop_prepare_process);
    stop_thread *self = &stop_self;
    if (self->has_timer && self->generation == stop_process.generation)
        return true;
    if (!stop_process.ready)
        return false;
    self->id = (pid_t)syscall(SYS_gettid);
    self->generation = stop_process.generation;
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = EMMA_SANDBOX_SIGNAL;
    event.sigev_value.sival_ptr = &stop_process;
    event.sigev_notify_thread_id = self->id;
    self->has_timer = timer_create(CLOCK_MONOTONIC, &event, &self->timer) == 0;
    if (self->has_timer)
        pthread_setspecific(stop_process.key, self);
    return self->has_timer;
}

/* ---- A call ---- */

/* Sets the thread's timer to a time on the monotonic clock, and to ticks from then on; 0: off. */
static void stop_set_timer(int64_t due_ns)
{
    struct itimerspec when;
    memset(&when, 0, sizeof when);
    when.it_value.tv_sec = (time_t)(due_ns / EMMAI_NS_PER_S);
    when.it_value.tv_nsec = (long)(due_ns % EMMAI_NS_PER_S);
    when.it_interval.tv_nsec = due_ns ? TICK_NS : 0;
    timer_settime(stop_self.timer, TIMER_ABSTIME, &when, NULL);
}

/* Threads of servers often have all signals blocked, and set that at any time. */
static void stop_unblock(void)
{
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, EMMA_SANDBOX_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &own, NULL);
}

/* In the child: timers are not inherited. A call that the fork was in the middle of gets one of
 * this thread's. */
static void stop_forked(void)
{
    emma_sandbox *running = stop_self.running;
    atomic_fetch_add(&stop_process.generation, 1);
    if (!running || !emmai_stop_prepare())
        return;
    for (emma_sandbox *each = running; each; each = each->outer)
        atomic_store(&each->thread, stop_self.id);
    stop_set_timer(running->deadline_ns);
}

static int64_t stop_due(uint64_t deadline_us, const emma_sandbox *outer)
{
    int64_t due_ns = outer ? outer->deadline_ns : 0;
    if (deadline_us == 0)
        return due_ns;
    const int64_t now_ns = emmai_stop_now_ns();
    const uint64_t most_us = (uint64_t)((INT64_MAX - now_ns) / EMMAI_NS_PER_US);
    const int64_t own_ns =
        now_ns + (int64_t)(deadline_us < most_us ? deadline_us : most_us) * EMMAI_NS_PER_US;
    return due_ns != 0 && due_ns < own_ns ? due_ns : own_ns;
}

static void emmai_stop_enter(emma_sandbox *sandbox, uint64_t deadline_us)
{
    sandbox->outer = stop_self.running;
    sandbox->entered_before = stop_self.entered;
    stop_self.entered = sandbox;
    sandbox->hooked = false;
    sandbox->in_host = 0;
    sandbox->deadline_ns = stop_due(deadline_us, sandbox->outer);
    atomic_signal_fence(memory_order_seq_cst);
    stop_self.running = sandbox;
    atomic_store(&sandbox->thread, stop_self.id);
    stop_unblock();
    if (sandbox->deadline_ns) {
        stop_hold_signal();
        stop_set_timer(sandbox->deadline_ns);
    }
}

/* Calls mostly end in the opposite order. On stacks of their own (greenlets, fibers) they need not:
 * what began inside this one, as it seemed, is from now on inside the one around it. */
static void stop_unlink(const emma_sandbox *sandbox)
{
    emma_sandbox **at = &stop_self.entered;
    for (; *at != sandbox; at = &(*at)->entered_before)
        if ((*at)->outer == sandbox)
            (*at)->outer = sandbox->outer;
    *at = sandbox->entered_before;
}

static void emmai_stop_resume(emma_sandbox *sandbox)
{
    if (stop_self.running == sandbox)
        return;
    stop_self.running = sandbox;
    const bool stops = emmai_sandbox_stopped(sandbox) != EMMA_SANDBOX_DONE;
    stop_set_timer(stops ? 1 : sandbox->deadline_ns);
}

static void emmai_stop_leave(emma_sandbox *sandbox)
{
    emma_sandbox *outer = sandbox->outer;
    stop_unlink(sandbox);
    atomic_store(&sandbox->thread, 0);
    stop_self.running = outer;
    if (sandbox->deadline_ns || sandbox->hooked)
        stop_set_timer(outer ? outer->deadline_ns : 0);
    if (outer && emmai_sandbox_stopped(outer) != EMMA_SANDBOX_DONE)
        stop_set_timer(1); /* its own signal may have come meanwhile: ticks from now on */
    sandbox->outer = NULL;
}

static void emmai_stop_note(emma_sandbox *sandbox, enum emma_sandbox_status reason)
{
    int none = EMMA_SANDBOX_DONE;
    atomic_compare_exchange_strong(&sandbox->stop, &none, (int)reason);
}

void emma_sandbox_kill(emma_sandbox *sandbox)
{
    emmai_stop_note(sandbox, EMMA_SANDBOX_KILLED);
    const pid_t thread = atomic_load(&sandbox->thread);
    if (!thread)
        return;
    stop_hold_signal();
    siginfo_t
        info; /* as sigqueue would have it, for one thread: the handler knows it by the value */
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = &stop_process;
    syscall(SYS_rt_tgsigqueueinfo, info.si_pid, thread, EMMA_SANDBOX_SIGNAL, &info);
}

/* ---- The hook ---- */

static const char *emmai_stop_reason(enum emma_sandbox_status reason)
{
    switch (reason) {
    case EMMA_SANDBOX_INSTRUCTIONS:
        return "the budget of instructions is used up";
    case EMMA_SANDBOX_DEADLINE:
        return "the time is over";
    case EMMA_SANDBOX_KILLED:
        return "killed";
    default:
        return "not enough memory";
    }
}

static int emmai_stop_raise(lua_State *state, emma_sandbox *sandbox)
{
    luaL_where(state, 0);
    if (*lua_tostring(state, -1) == '\0')
        luaL_where(state, 1);
    lua_pushstring(state, emmai_stop_reason(emmai_sandbox_stopped(sandbox)));
    lua_concat(state, 2);
    return lua_error(state);
}

static void emmai_stop_hook_anything(emma_sandbox *sandbox, lua_State *state)
{
    emmai_count_close(sandbox, state);
    lua_sethook(state, emmai_stop_hook, HOOK_ANYTHING, 1);
}

static void emmai_stop_hook(lua_State *state, lua_Debug *info)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    bool stops = emmai_sandbox_stopped(sandbox) != EMMA_SANDBOX_DONE;
    if (!stops && sandbox->counting && info->event == LUA_HOOKCOUNT) {
        if (emmai_count_go_on(sandbox, state))
            return;
        emmai_stop_note(sandbox, EMMA_SANDBOX_INSTRUCTIONS);
        stops = true;
    }
    if (!stops) {
        lua_sethook(state, NULL, 0, 0); /* left by a call before */
        return;
    }
    emmai_stop_hook_anything(sandbox, state); /* again, should something catch the error */
    emmai_stop_raise(state, sandbox);
}

static bool emmai_stop_has_spent(lua_State *thread)
{
    return lua_status(thread) > LUA_YIELD && lua_gethookmask(thread) == HOOK_ANYTHING;
}

/* ---- The signal ---- */

static bool stop_may_escape(const emma_sandbox *sandbox, const ucontext_t *context)
{
    const uintptr_t at = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    return sandbox->in_host == 0 && at - stop_process.text_low < stop_process.text_bytes &&
           !emma_is_busy(sandbox->instance);
}

static void stop_set_hook(emma_sandbox *sandbox)
{
    emmai_stop_hook_anything(sandbox, sandbox->current);
    sandbox->hooked_cpu_ns = stop_clock(CLOCK_THREAD_CPUTIME_ID);
    sandbox->hooked = true;
    sandbox->hooked_ticks = 0;
    stop_set_timer(emmai_stop_now_ns() + TICK_NS);
}

/* The call that this thread is in should end, or a signal of another's came. */
static void stop_tick(emma_sandbox *sandbox, ucontext_t *context)
{
    for (emma_sandbox *each = sandbox; each; each = each->outer) {
        if (each->deadline_ns && emmai_stop_now_ns() >= each->deadline_ns)
            emmai_stop_note(each, EMMA_SANDBOX_DEADLINE);
        if (emmai_sandbox_stopped(each) != EMMA_SANDBOX_DONE)
            emmai_stop_note(sandbox, emmai_sandbox_stopped(each)); /* what runs inside ends, too */
    }
    if (!sandbox->armed || emmai_sandbox_stopped(sandbox) == EMMA_SANDBOX_DONE)
        return;
    if (!sandbox->hooked) {
        stop_set_hook(sandbox);
        return;
    }
    if (lua_gethookmask(sandbox->current) != HOOK_ANYTHING) {
        stop_set_hook(sandbox); /* control was just being passed on */
        return;
    }
    if (++sandbox->hooked_ticks < GRACE_TICKS || !stop_may_escape(sandbox, context) ||
        stop_clock(CLOCK_THREAD_CPUTIME_ID) - sandbox->hooked_cpu_ns < GRACE_NS)
        return;
    sandbox->armed = false;
    pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
    siglongjmp(sandbox->escape, 1);
}

static void stop_on_signal(int number, siginfo_t *info, void *context)
{
    const int saved_errno = errno;
    const bool is_own = (info->si_code == SI_TIMER || info->si_code == SI_QUEUE) &&
                        info->si_value.sival_ptr == &stop_process;
    if (stop_self.running)
        stop_tick(stop_self.running, context);
    errno = saved_errno;
    if (is_own || stop_self.passes)
        return;
    const struct sigaction *former = &stop_process.former[atomic_load(&stop_process.last)];
    stop_self.passes = true;
    if (former->sa_flags & SA_SIGINFO)
        former->sa_sigaction(number, info, context);
    else if (former->sa_handler != SIG_DFL && former->sa_handler != SIG_IGN)
        former->sa_handler(number);
    stop_self.passes = false;
}
