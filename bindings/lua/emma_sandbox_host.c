/* emma_sandbox_host.c - functions of the host's that scripts may call, and values that it sets.
 * A host function runs under a lua_pcall, so that an error that leaves it is seen: from then on
 * the interpreter may be left again (S3). */
#include "emma_sandbox_internal.h"

#include <limits.h>
#include <string.h>

/* Whether a message says already where it is from, as "name:12: ...". */
static bool host_has_position(const char *message)
{
    for (const char *colon = strchr(message, ':'); colon; colon = strchr(colon + 1, ':')) {
        const size_t digits = strspn(colon + 1, "0123456789");
        if (digits && colon[1 + digits] == ':' && colon[2 + digits] == ' ')
            return true;
    }
    return false;
}

/* The error on top of the stack was raised one level too deep to know its place and the
 * function's name: adds them. */
static void host_complete_error(lua_State *state)
{
    if (lua_type(state, -1) != LUA_TSTRING)
        return;
    const char *message = lua_tostring(state, -1);
    static const char nameless[] = "to '?'";
    const char *place =
        strncmp(message, "bad argument #", 14) == 0 ? strstr(message, nameless) : NULL;
    if (place) {
        lua_pushlstring(state, message, (size_t)(place - message));
        lua_pushfstring(state, "to '%s'%s", lua_tostring(state, lua_upvalueindex(2)),
                        place + sizeof nameless - 1);
        lua_concat(state, 2);
        lua_replace(state, -2);
        message = lua_tostring(state, -1);
    }
    if (host_has_position(message))
        return;
    luaL_where(state, 1);
    lua_insert(state, -2);
    lua_concat(state, 2);
}

/* Puts an answer in the place of the one that the sandbox has, of a host function around this
 * one. */
static emma_sandbox_answer host_swap_answer(emma_sandbox *sandbox, emma_sandbox_answer answer)
{
    const emma_sandbox_answer before = sandbox->answer;
    sandbox->answer = answer;
    return before;
}

/* Stands before each function of the host's, which is its first upvalue; the second is its name.
 * No thread of Lua's can yield through it: its frame would be gone, and its work undone. */
static int host_call(lua_State *state)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    emmai_library_pass_stop(state, sandbox, LUA_OK);
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    emmai_host_enter(sandbox);
    const emmai_place place = emmai_value_place(sandbox);
    const emma_sandbox_answer outer = host_swap_answer(sandbox, (emma_sandbox_answer){ 0 });
    const int status = lua_pcall(state, lua_gettop(state) - 1, LUA_MULTRET, 0);
    emmai_stop_resume(sandbox);
    emma_sandbox_answer answer = host_swap_answer(sandbox, outer);
    if (answer.release)
        answer.release(&answer);
    emmai_value_go_back(sandbox, &place);
    emmai_host_leave(sandbox);
    emmai_library_pass_stop(state, sandbox, status);
    if (status == LUA_OK)
        return lua_gettop(state);
    host_complete_error(state);
    return lua_error(state);
}

static void emmai_host_wrap(lua_State *state, const char *name)
{
    lua_pushstring(state, name);
    lua_pushcclosure(state, host_call, 2);
}

/* ---- Functions in values ---- */

typedef struct host_provided {
    emma_sandbox_function_fn function;
    void *arg;
} host_provided;

/* NULL: it can be pushed; else what is wrong with it. */
static const char *host_answer_wrong(const emma_sandbox *sandbox, const emma_sandbox_answer *answer)
{
    if (answer->error)
        return answer->error;
    if (answer->count && !answer->values)
        return "the answer has no values";
    for (size_t i = 0; i < answer->count; i++) {
        const char *wrong = emmai_value_wrong(&answer->values[i], sandbox->options.value_depth);
        if (wrong)
            return wrong;
    }
    return NULL;
}

/* What host_call stands before, for such a function, which is its upvalue. */
static int host_call_provided(lua_State *state)
{
    const host_provided *provided = lua_touserdata(state, lua_upvalueindex(1));
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    const size_t count = (size_t)lua_gettop(state);
    const emma_sandbox_value *arguments = emmai_value_take_all(state, sandbox, 1, "argument");
    emma_sandbox_answer answer = { 0 };
    provided->function(provided->arg, sandbox, arguments, count, &answer);
    sandbox->answer = answer;
    const char *wrong = host_answer_wrong(sandbox, &answer);
    if (wrong)
        return luaL_error(state, "%s", wrong);
    if (answer.count > INT_MAX)
        return luaL_error(state, "too many values in the answer");
    luaL_checkstack(state, (int)answer.count, "too many values in the answer");
    for (size_t i = 0; i < answer.count; i++)
        emma_sandbox_push(state, &answer.values[i]);
    return (int)answer.count;
}

/* ---- What a host sets ---- */

typedef struct host_job {
    const char *name;
    lua_CFunction function;
    void *arg;
    const host_provided *provided;
    const emma_sandbox_value *value;
} host_job;

static int host_provide(lua_State *state)
{
    const host_job *job = lua_touserdata(state, 1);
    *(host_provided *)lua_newuserdatauv(state, sizeof(host_provided), 0) = *job->provided;
    lua_pushcclosure(state, host_call_provided, 1);
    emmai_host_wrap(state, job->name);
    emmai_sandbox_set_path(state, job->name);
    return 0;
}

static int host_register(lua_State *state)
{
    const host_job *job = lua_touserdata(state, 1);
    lua_pushlightuserdata(state, job->arg);
    lua_pushcclosure(state, job->function, 1);
    emmai_host_wrap(state, job->name);
    emmai_sandbox_set_path(state, job->name);
    return 0;
}

static int host_set(lua_State *state)
{
    const host_job *job = lua_touserdata(state, 1);
    emma_sandbox_push(state, job->value);
    emmai_sandbox_set_path(state, job->name);
    return 0;
}

/* An error here is that of a name that leads through something else than tables. */
static enum emma_sandbox_status host_do(emma_sandbox *sandbox, lua_CFunction act, host_job *job)
{
    const enum emma_sandbox_status begins = emmai_sandbox_begin(sandbox);
    if (begins != EMMA_SANDBOX_DONE)
        return begins;
    const char *wrong = emmai_sandbox_name_wrong(job->name);
    if (wrong)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "name: %s", wrong);
    if (!job->value && !job->function && !(job->provided && job->provided->function))
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "%s: function: NULL", job->name);
    wrong = job->value ? emmai_value_wrong(job->value, sandbox->options.value_depth) : NULL;
    if (wrong)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "%s: %s", job->name, wrong);
    const enum emma_sandbox_status status =
        emmai_sandbox_protect(sandbox, act, job, &EMMAI_WINDOW_OWN);
    return status == EMMA_SANDBOX_ERROR ? EMMA_SANDBOX_INVALID : status;
}

enum emma_sandbox_status emma_sandbox_register(emma_sandbox *sandbox, const char *name,
                                               lua_CFunction function, void *arg)
{
    host_job job = { .name = name, .function = function, .arg = arg };
    return host_do(sandbox, host_register, &job);
}

enum emma_sandbox_status emma_sandbox_provide(emma_sandbox *sandbox, const char *name,
                                              emma_sandbox_function_fn function, void *arg)
{
    const host_provided provided = { function, arg };
    host_job job = { .name = name, .provided = &provided };
    return host_do(sandbox, host_provide, &job);
}

enum emma_sandbox_status emma_sandbox_set(emma_sandbox *sandbox, const char *name,
                                          const emma_sandbox_value *value)
{
    static const emma_sandbox_value nothing = { .type = EMMA_SANDBOX_NIL };
    host_job job = { .name = name, .value = value ? value : &nothing };
    return host_do(sandbox, host_set, &job);
}

void *emma_sandbox_arg(lua_State *state)
{
    return lua_touserdata(state, lua_upvalueindex(1));
}

emma_sandbox *emma_sandbox_of(lua_State *state)
{
    return emmai_sandbox_of(state);
}
