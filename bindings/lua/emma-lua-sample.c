/* emma-lua-sample.c - from which lines of the program samples of its blocks come (emma_sample.h).
 *
 * Inside an allocation Lua's stack is not to be looked at: it may be what moves just then, and the
 * place in the code is not written down for each instruction. So a sample waits, and Lua's hook is
 * set, as a signal handler sets it, on the thread that runs; the first call, return, or instruction
 * at which Lua looks at its hooks tells the site. A C function is still there then: its return is
 * such an event. Where it is an instruction, the one before it is told. After `{}` and `function`
 * Lua goes on without a look at its hooks, to the next jump, call or slow access: those are looked
 * for in the code that was run since, where that is no loop's end; then it is the line of the loop.
 *
 * Which thread runs is known because lua_resume is this file's, if Lua is linked statically
 * (--wrap). A hook of the script's gets its events all the same. A hook that counts would begin
 * to count anew: while there is one, no site is told. */
#include "emma-lua.h"

#include <stdint.h>
#include <string.h>

emma_sampler emmai_sampler;
static lua_State *running; /* NULL: not sampled */
static lua_State
    *asked; /* its hook is sample_hook, for samples that wait; only compared: it may be gone */
static uint32_t counted_site, left_site;
static bool knows_place; /* SAVED_PC_OFFSET is right, and table_opcode known */
static uint32_t table_opcode;

/* ---- the stack ---- */

/* In a CallInfo of Lua's: the next instruction, at the last moment at which it was written down.
 * Tried out before it is used. */
#define SAVED_PC_OFFSET 32
typedef uint32_t instruction;
#define OPCODE_MASK    0x7F
#define LOOK_BACK_MOST 256
#define TAG_UPVALUE    LUA_NUMTYPES

/* Of the sample that came last: its type, the function in which it was allocated and what that
 * had written down. */
static struct {
    size_t tag;
    const void *activation;
    const instruction *next;
} noted;

static const instruction **saved_place(const lua_Debug *level)
{
    return (const instruction **)((char *)level->i_ci + SAVED_PC_OFFSET);
}

/* Inside an allocation, where no more than this can be looked at. */
static void note_place(size_t tag)
{
    lua_Debug level;
    noted.activation = NULL;
    if (!knows_place || !lua_getstack(running, 0, &level))
        return;
    noted.tag = tag;
    noted.activation = level.i_ci;
    noted.next = *saved_place(&level);
}

static void get_line(lua_State *state, lua_Debug *level, ptrdiff_t instructions_before)
{
    *saved_place(level) -= instructions_before;
    lua_getinfo(state, "l", level);
    *saved_place(level) += instructions_before;
}

/* How many instructions before the one that is about to run the one was that allocated. That for
 * a function is written down at once; the one for a table is looked for, from what was written
 * down before it. */
static ptrdiff_t look_back(const lua_Debug *level, bool is_count)
{
    const ptrdiff_t before = is_count ? 1 : 0;
    const instruction *now = *saved_place(level);
    const ptrdiff_t passed = now - noted.next;
    if (noted.activation != level->i_ci || passed <= 0 || passed > LOOK_BACK_MOST)
        return before;
    if (noted.tag == LUA_TFUNCTION || noted.tag == TAG_UPVALUE)
        return passed;
    for (ptrdiff_t i = 2; (noted.tag == LUA_TTABLE || !noted.tag) && i <= passed; i++)
        if ((now[-i] & OPCODE_MASK) == table_opcode)
            return i - 1;
    return before;
}

/* `event` 0 or more: it is the level that allocated, and this is what Lua's hook came with. */
static uint32_t frame_of(lua_State *state, lua_Debug *level, int event)
{
    char key[EMMA_SAMPLE_NAME_BYTES];
    lua_getinfo(state, "Sln", level);
    const bool is_c = *level->what == 'C';
    if (event >= 0 && knows_place && !is_c)
        get_line(state, level, look_back(level, event == LUA_HOOKCOUNT));
    const char *name = level->name           ? level->name
                       : *level->what == 'm' ? "main chunk"
                       : is_c                ? "?"
                                             : "function";
    const size_t bytes = emma_sample_name(key, name, is_c ? "[C]" : level->short_src,
                                          level->currentline > 0 ? level->currentline : 0);
    return emma_sample_frame(&emmai_sampler, key, bytes);
}

/* `first`: the level that allocated, at the earliest. */
static uint32_t site_of(lua_State *state, int first, int event)
{
    uint32_t frames[EMMA_SAMPLE_DEPTH];
    size_t count = 0;
    lua_Debug level;
    while (count < EMMA_SAMPLE_DEPTH && lua_getstack(state, first + (int)count, &level)) {
        frames[count] = frame_of(state, &level, count == 0 ? event : -1);
        count++;
    }
    return count ? emma_sample_stack(&emmai_sampler, frames, count) : left_site;
}

/* ---- the hook ---- */

#define OUR_MASK   (LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT)
#define MASK_BITS  8
#define EVENT_MASK (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE)

/* The hook that was there stays with its thread, in the word that Lua keeps for the host in
 * each. */
typedef uintptr_t hook_word;
_Static_assert(LUA_EXTRASPACE >= sizeof(hook_word), "Lua has room for a word of the host's");

static hook_word *word_of(lua_State *state)
{
    return lua_getextraspace(state);
}

static void sample_hook(lua_State *state, lua_Debug *event)
{
    const int mask = (int)(*word_of(state) & ((1 << MASK_BITS) - 1));
    const lua_Hook before = (lua_Hook)(*word_of(state) >> MASK_BITS);
    lua_sethook(state, mask ? before : NULL, mask, 0);
    emmai_cli_renew_interrupt();
    if (asked == state)
        asked = NULL;
    if (emmai_sampler.pending_count && state == running) {
        const bool is_call =
            event->event == LUA_HOOKCALL; /* the function called has done nothing yet */
        emma_sample_settle(&emmai_sampler, site_of(state, is_call, event->event));
    }
    const int kind = event->event == LUA_HOOKTAILCALL ? LUA_HOOKCALL : event->event;
    if (mask & EVENT_MASK & 1 << kind)
        before(state, event);
}

/* Of the thread that runs, inside an allocation. */
static void ask(void)
{
    const lua_Hook hook = lua_gethook(running);
    const int mask = lua_gethookmask(running);
    if (hook == sample_hook || emmai_cli_is_interrupt(hook))
        return;
    if (hook && mask & LUA_MASKCOUNT) {
        emma_sample_settle(&emmai_sampler, counted_site);
        return;
    }
    *word_of(running) = (hook_word)hook << MASK_BITS | (hook_word)mask;
    lua_sethook(running, sample_hook, mask | OUR_MASK, 1);
    emmai_cli_renew_interrupt();
    asked = running;
}

/* ---- the thread that runs ---- */

#if EMMA_LUA_WRAPS_RESUME
int __real_lua_resume(lua_State *state, lua_State *from, int arguments, int *results);
int __wrap_lua_resume(lua_State *state, lua_State *from, int arguments, int *results);

int __wrap_lua_resume(lua_State *state, lua_State *from, int arguments, int *results)
{
    lua_State *resumer = running;
    if (!resumer)
        return __real_lua_resume(state, from, arguments, results);
    running = state;
    const int status = __real_lua_resume(state, from, arguments, results);
    running = resumer;
    return status;
}
#endif

/* ---- samples ---- */

void emmai_sample_draw(const void *block, size_t bytes, size_t tag)
{
    const double weight = emma_sample_draw(&emmai_sampler, bytes);
    if (weight == 0)
        return;
    if (asked && asked != running && emmai_sampler.pending_count)
        emma_sample_settle(&emmai_sampler, left_site); /* that thread was left in a C function */
    emma_sample_add(&emmai_sampler, block, bytes, weight, EMMA_SAMPLE_PENDING);
    if (!running)
        return;
    note_place(tag);
    ask();
}

/* ---- begin and end ---- */

#define TRIED_CODE "local a = {}\nlocal b = a\nreturn b"
#define TRIED_LINE 2
#define TRIED_BEFORE \
    3 /* from the first instruction of that line, as `next` has it: that one, a part of the other, the other */

/* Whether the instruction before has the line before; that is what makes a table. */
static void try_place(lua_State *state, lua_Debug *event)
{
    lua_getinfo(state, "l", event);
    if (event->currentline != TRIED_LINE || knows_place)
        return;
    get_line(state, event, 1);
    knows_place = event->currentline == TRIED_LINE - 1;
    if (knows_place)
        table_opcode = (*saved_place(event))[-TRIED_BEFORE] & OPCODE_MASK;
}

bool emmai_sample_start(size_t rate_bytes)
{
    return emma_sample_start(&emmai_sampler, rate_bytes);
}

void emmai_sample_begin(lua_State *state)
{
    if (!emmai_sampler.on)
        return;
    if (luaL_loadstring(state, TRIED_CODE) == LUA_OK) {
        lua_sethook(state, try_place, LUA_MASKCOUNT, 1);
        lua_pcall(state, 0, 0, 0);
        lua_sethook(state, NULL, 0, 0);
    } else {
        lua_pop(state, 1);
    }
    emma_sample_settle(&emmai_sampler, emma_sample_fixed_site(&emmai_sampler, "(start of Lua)"));
    counted_site = emma_sample_fixed_site(&emmai_sampler, "(while a hook of the program's counts)");
    left_site = emma_sample_fixed_site(&emmai_sampler, "(a coroutine that began or was left)");
    running = state;
}

/* Finalizers at the end of the state are not told. */
void emmai_sample_end(void)
{
    running = NULL;
    emma_sample_stop(&emmai_sampler);
}

void emmai_sample_tell(emma_report *report)
{
    report->sampler = emmai_sampler.rate_bytes ? &emmai_sampler : NULL;
}
