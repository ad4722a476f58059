/* lua_host.c - runs one measurement of one allocator in one process, and writes the figures as a
 * JSON object.
 *
 *     lua_host MODE [options] [SCRIPT [N]]
 *
 *     program    runs a script: time by phase, memory, page faults
 *     teardown   runs a script that builds a heap, times how the heap is thrown away
 *     instances  creates and discards heaps, in turn with the kernel's own such work
 *     states     heap + Lua state + libraries, thrown away, over and over
 *     resident   keeps many states alive: their memory
 *     null_frees frees NULL --per-batch times, for a profiler
 *
 * Nothing here allocates from the C library while a figure is taken. All allocators run the same
 * code with the same static liblua, whose hash seed is made the same for all (lua_seed.c). */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bench_child.h"
#include "lua_adapter.h"

#define EXIT_USAGE          2
#define RESIDENT_MAX_STATES 10000
#define KIB_SHIFT           10

typedef struct host_options {
    bool discard; /* end states by adapter_discard instead of lua_close, where heaps are private */
    bool reset;   /* mode_states: one heap lives on and is reset after each state */
    bool count;   /* count calls: the lua_Alloc is wrapped */
    unsigned batches;
    unsigned per_batch;
    unsigned states;
    const char *script;
    const char *script_argument;
    adapter_options heap;
} host_options;

/* What a Lua state asked its lua_Alloc for. */
typedef struct call_counter {
    lua_Alloc alloc;
    void *ud;
    uint64_t null_frees;
    uint64_t allocs;
    uint64_t frees;
    uint64_t grows;
    uint64_t shrinks;
    uint64_t moves;
    uint64_t requested_bytes;
    uint64_t moved_bytes;
} call_counter;

const char host_name[] = "lua_host";

static host_options options = {
    .batches = 20,
    .per_batch = 50,
    .states = 1000,
    .heap = { .limit_bytes = ADAPTER_UNLIMITED },
};

static void json_about(void)
{
    json_text("function", adapter_function);
    json_text("version", adapter_version());
    json_text("lua", LUA_RELEASE);
    json_malloc_from();
}

/* Lua. */

static void *counting_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    call_counter *counter = ud;
    uintptr_t old_address = (uintptr_t)ptr;
    void *result = counter->alloc(counter->ud, ptr, osize, nsize);
    counter->null_frees += ptr == NULL && nsize == 0;
    counter->allocs += ptr == NULL && nsize != 0;
    counter->frees += ptr != NULL && nsize == 0;
    if (ptr == NULL || nsize > osize)
        counter->requested_bytes += nsize;
    if (ptr == NULL || nsize == 0 || result == NULL)
        return result;
    counter->grows += nsize > osize;
    counter->shrinks += nsize <= osize;
    if ((uintptr_t)result != old_address) {
        counter->moves++;
        counter->moved_bytes += osize < nsize ? osize : nsize;
    }
    return result;
}

static void json_counter(const call_counter *counter)
{
    json_name("calls");
    dprintf(json_fd,
            "{\"null_frees\": %" PRIu64 ", \"allocs\": %" PRIu64 ", \"frees\": %" PRIu64
            ", \"grows\": %" PRIu64 ", \"shrinks\": %" PRIu64 ", \"moves\": %" PRIu64
            ", \"requested_bytes\": %" PRIu64 ", \"moved_bytes\": %" PRIu64 "}",
            counter->null_frees, counter->allocs, counter->frees, counter->grows, counter->shrinks,
            counter->moves, counter->requested_bytes, counter->moved_bytes);
}

static int panic(lua_State *state)
{
    const char *message = lua_tostring(state, -1);
    fail("unprotected Lua error: %s", message != NULL ? message : "no message");
}

static void open_heap(adapter_heap *heap)
{
    if (!adapter_open(&options.heap, heap))
        fail("the allocator refused a new heap");
}

static lua_State *new_state(lua_Alloc alloc, void *ud)
{
    lua_State *state = lua_newstate(alloc, ud);
    if (state == NULL)
        fail("no memory for a Lua state");
    lua_atpanic(state, panic);
    return state;
}

static void run_script(lua_State *state)
{
    int arguments = options.script_argument != NULL;
    if (luaL_loadfile(state, options.script) != LUA_OK)
        fail("%s", lua_tostring(state, -1));
    if (arguments)
        lua_pushstring(state, options.script_argument);
    if (lua_pcall(state, arguments, 0, 0) != LUA_OK)
        fail("%s", lua_tostring(state, -1));
    fflush(stdout);
}

/* Ends a state in the way that the options ask for. */
static void end_state(lua_State *state, adapter_heap *heap)
{
    if (!options.discard)
        lua_close(state);
    adapter_discard(heap);
}

/* The modes. */

static void mode_program(stamp start)
{
    adapter_heap heap;
    memory_figures at_start = memory_now();
    stamp before = stamp_now();
    open_heap(&heap);
    call_counter counter = { .alloc = heap.alloc, .ud = heap.ud };
    lua_State *state =
        options.count ? new_state(counting_alloc, &counter) : new_state(heap.alloc, heap.ud);
    stamp created = stamp_now();
    luaL_openlibs(state);
    stamp opened = stamp_now();
    run_script(state);
    stamp ran = stamp_now();
    memory_figures at_end = memory_now();
    uint64_t moved_bytes = adapter_moved_bytes(&heap);
    stamp closing = stamp_now();
    end_state(state, &heap);
    stamp closed = stamp_now();

    json_about();
    json_integer("start_wall_ns", start.wall_ns);
    json_integer("start_cpu_ns", start.cpu_ns);
    json_phase("overhead_before", start, before);
    json_phase("overhead_between", ran, closing);
    json_phase("create", before, created);
    json_phase("openlibs", created, opened);
    json_phase("run", opened, ran);
    json_phase("close", closing, closed);
    json_memory("at_start", at_start);
    json_memory("at_end", at_end);
    if (moved_bytes != UINT64_MAX)
        json_integer("own_moved_bytes", (int64_t)moved_bytes);
    if (options.count)
        json_counter(&counter);
}

static void mode_teardown(void)
{
    adapter_heap heap;
    open_heap(&heap);
    lua_State *state = new_state(heap.alloc, heap.ud);
    luaL_openlibs(state);
    run_script(state);
    memory_figures full = memory_now();
    stamp before = stamp_now();
    if (!options.discard)
        lua_close(state);
    stamp closed = stamp_now();
    adapter_discard(&heap);
    stamp discarded = stamp_now();
    memory_figures after = memory_now();
    stamp giving_back = stamp_now();
    adapter_give_back();
    stamp given_back = stamp_now();
    memory_figures end = memory_now();

    json_about();
    json_phase("close", before, closed);
    json_phase("discard", closed, discarded);
    json_phase("give_back", giving_back, given_back);
    json_memory("full", full);
    json_memory("after", after);
    json_memory("end", end);
}

/* The kernel's own work for a heap that reserves, makes writable and touches the same. */
static void kernel_floor(const adapter_extent *extent, size_t pages, size_t page_bytes)
{
    char *base = mmap(NULL, extent->reserve_bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || mprotect(base, extent->writable_bytes, PROT_READ | PROT_WRITE) != 0)
        fail("the kernel refused the mapping of the comparison");
    for (size_t page = 0; page < pages; page++)
        *(volatile char *)(base + page * page_bytes) = 1;
    munmap(base, extent->reserve_bytes);
}

static void open_and_discard(void)
{
    adapter_heap heap;
    open_heap(&heap);
    adapter_discard(&heap);
}

static int64_t per_cycle_ns(int64_t from_ns)
{
    return (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - from_ns) / options.per_batch;
}

static void mode_instances(void)
{
    static int64_t heap_ns[RESIDENT_MAX_STATES], floor_ns[RESIDENT_MAX_STATES];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    adapter_heap heap;
    adapter_extent extent = { 0 };
    open_heap(&heap);
    bool measured = adapter_measure(&heap, &extent);
    adapter_discard(&heap);
    int64_t faults = minor_faults();
    for (unsigned i = 0; i < options.per_batch; i++)
        open_and_discard();
    size_t pages = (size_t)(minor_faults() - faults + options.per_batch / 2) / options.per_batch;
    extent.writable_bytes = (extent.writable_bytes + page_bytes - 1) / page_bytes * page_bytes;
    if (extent.writable_bytes < pages * page_bytes)
        extent.writable_bytes = pages * page_bytes;
    for (unsigned batch = 0; batch < options.batches; batch++) {
        int64_t from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < options.per_batch; i++)
            open_and_discard();
        heap_ns[batch] = per_cycle_ns(from_ns);
        from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; measured && i < options.per_batch; i++)
            kernel_floor(&extent, pages, page_bytes);
        floor_ns[batch] = per_cycle_ns(from_ns);
    }
    json_about();
    json_list("heap_ns", heap_ns, options.batches);
    json_integer("touched_pages", (int64_t)pages);
    if (measured) {
        json_list("kernel_ns", floor_ns, options.batches);
        json_integer("reserve_bytes", (int64_t)extent.reserve_bytes);
        json_integer("writable_bytes", (int64_t)extent.writable_bytes);
    }
}

static void new_heap_cycle(void)
{
    adapter_heap heap;
    open_heap(&heap);
    lua_State *state = new_state(heap.alloc, heap.ud);
    luaL_openlibs(state);
    end_state(state, &heap);
}

static void reset_cycle(adapter_heap *heap)
{
    luaL_openlibs(new_state(heap->alloc, heap->ud));
    if (!adapter_reset(heap))
        fail("this allocator cannot reset a heap");
}

static void state_cycle(adapter_heap *kept)
{
    if (options.reset)
        reset_cycle(kept);
    else
        new_heap_cycle();
}

/* The first cycle is not counted: it warms what a heap or the process keeps. */
static void mode_states(void)
{
    static int64_t cycle_ns[RESIDENT_MAX_STATES];
    adapter_heap kept;
    memset(cycle_ns, 1, sizeof cycle_ns); /* its pages are there before faults are counted */
    if (options.reset)
        open_heap(&kept);
    state_cycle(&kept);
    int64_t faults = minor_faults();
    for (unsigned batch = 0; batch < options.batches; batch++) {
        int64_t from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < options.per_batch; i++)
            state_cycle(&kept);
        cycle_ns[batch] = per_cycle_ns(from_ns);
    }
    faults = minor_faults() - faults;
    if (options.reset)
        adapter_discard(&kept);
    json_about();
    json_list("cycle_ns", cycle_ns, options.batches);
    json_integer("minor_faults", faults);
    json_integer("cycles", (int64_t)options.batches * options.per_batch);
}

static void mode_resident(void)
{
    static lua_State *states[RESIDENT_MAX_STATES];
    static adapter_heap heaps[RESIDENT_MAX_STATES];
    memset(states, 1, sizeof states); /* their pages are there before the first figure is taken */
    memset(heaps, 1, sizeof heaps);
    memory_now();
    memory_figures before = memory_now();
    int64_t mappings = mapping_count();
    for (unsigned i = 0; i < options.states; i++) {
        open_heap(&heaps[i]);
        states[i] = new_state(heaps[i].alloc, heaps[i].ud);
        luaL_openlibs(states[i]);
    }
    memory_figures after = memory_now();
    mappings = mapping_count() - mappings;
    json_about();
    json_memory("before", before);
    json_memory("after", after);
    json_integer("mappings", mappings);
    json_integer("states", options.states);
    for (unsigned i = 0; i < options.states; i++)
        end_state(states[i], &heaps[i]);
}

static void mode_null_frees(void)
{
    adapter_heap heap;
    open_heap(&heap);
    for (unsigned i = 0; i < options.per_batch; i++)
        heap.alloc(heap.ud, NULL, 0, 0);
    adapter_discard(&heap);
    json_about();
}

/* The command line. */

static unsigned read_count(const char *option, const char *text)
{
    char *end;
    unsigned long value = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text == NULL || *end != '\0' || value == 0 || value > RESIDENT_MAX_STATES)
        fail("%s needs a number from 1 to %d", option, RESIDENT_MAX_STATES);
    return (unsigned)value;
}

static size_t read_mib(const char *option, const char *text)
{
    char *end;
    unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;
    if (text == NULL || *end != '\0' || value == 0 || value > SIZE_MAX >> (2 * KIB_SHIFT))
        fail("%s needs a number of MiB", option);
    return (size_t)value << (2 * KIB_SHIFT);
}

static void read_options(char **argv)
{
    for (; *argv != NULL && **argv == '-'; argv++) {
        const char *option = *argv;
        if (strcmp(option, "--discard") == 0)
            options.discard = true;
        else if (strcmp(option, "--reset") == 0)
            options.reset = true;
        else if (strcmp(option, "--count") == 0)
            options.count = true;
        else if (strcmp(option, "--json") == 0 && argv[1] != NULL)
            json_fd = (int)read_count(option, *++argv);
        else if (strcmp(option, "--batches") == 0 && argv[1] != NULL)
            options.batches = read_count(option, *++argv);
        else if (strcmp(option, "--per-batch") == 0 && argv[1] != NULL)
            options.per_batch = read_count(option, *++argv);
        else if (strcmp(option, "--states") == 0 && argv[1] != NULL)
            options.states = read_count(option, *++argv);
        else if (strcmp(option, "--limit-mib") == 0 && argv[1] != NULL)
            options.heap.limit_bytes = read_mib(option, *++argv);
        else if (strcmp(option, "--reserve-mib") == 0 && argv[1] != NULL)
            options.heap.reserve_bytes = read_mib(option, *++argv);
        else
            fail("unknown or incomplete option %s", option);
    }
    if (*argv != NULL)
        options.script = *argv++;
    if (options.script != NULL && *argv != NULL)
        options.script_argument = *argv;
}

int main(int argc, char **argv)
{
    stamp start = stamp_now();
    if (argc < 2) {
        fputs("usage: lua_host program|teardown|instances|states|resident|null_frees [options] "
              "[script [n]]\n",
              stderr);
        return EXIT_USAGE;
    }
    const char *mode = argv[1];
    read_options(argv + 2);
    bool needs_script = strcmp(mode, "program") == 0 || strcmp(mode, "teardown") == 0;
    if (needs_script && options.script == NULL)
        fail("%s needs a script", mode);
    if (options.discard && !adapter_has_private_heaps)
        fail("this allocator has no private heaps to discard");
    if (options.reset && (options.discard || strcmp(mode, "states") != 0))
        fail("--reset is for the mode states, and not with --discard");
    if (strcmp(mode, "program") == 0)
        mode_program(start);
    else if (strcmp(mode, "teardown") == 0)
        mode_teardown();
    else if (strcmp(mode, "instances") == 0)
        mode_instances();
    else if (strcmp(mode, "states") == 0)
        mode_states();
    else if (strcmp(mode, "resident") == 0)
        mode_resident();
    else if (strcmp(mode, "null_frees") == 0)
        mode_null_frees();
    else
        fail("unknown mode %s", mode);
    json_end();
    return EXIT_SUCCESS;
}
