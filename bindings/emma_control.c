/* emma_control.c - see emma_control.h. */
#include "emma_control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Errors ---- */

/* A pointer only: there is little room for what is a thread's own in a library that is opened late. */
static _Thread_local control_error *last_error;

control_error *control_begin(control_error *error)
{
    control_error *before = last_error;
    error->kind = CONTROL_NONE;
    last_error = error;
    return before;
}

void control_end(control_error *before)
{
    last_error = before;
}

bool control_is_text(const control_error *error, const char *text)
{
    const size_t bytes = strlen(error->message), text_bytes = strlen(text);
    if (error->kind != EMMA_SANDBOX_ERROR || bytes < text_bytes)
        return false;
    const size_t before = bytes - text_bytes;
    if (strcmp(error->message + before, text) != 0)
        return false;
    const char *colon = strstr(error->message, ": ");
    return before == 0 || (colon && (size_t)(colon - error->message) + 2 == before);
}

const char *control_kind_text(int kind)
{
    switch (kind) {
    case CONTROL_CLOSED:
        return "closed";
    case CONTROL_CORRUPT:
        return "corrupt";
    case CONTROL_REFUSED:
        return "refused";
    default:
        return emma_sandbox_status_text((enum emma_sandbox_status)kind);
    }
}

void control_fail(int kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error->message, sizeof last_error->message, format, arguments);
    va_end(arguments);
    last_error->traceback[0] = '\0';
    last_error->kind = kind;
}

static void fail_memory(void)
{
    control_fail(CONTROL_REFUSED, "the system refuses memory");
}

/* What the core says of a call on `what`. */
static void note_status(enum emma_status status, const char *what)
{
    switch (status) {
    case EMMA_OK:
        break;
    case EMMA_NO_MEMORY:
        control_fail(CONTROL_REFUSED, "%s: the limit or the system refuses memory", what);
        break;
    case EMMA_INVALID:
        control_fail(EMMA_SANDBOX_INVALID, "%s: out of its range", what);
        break;
    case EMMA_BUSY:
        control_fail(EMMA_SANDBOX_BUSY, "%s: the instance is in use", what);
        break;
    case EMMA_UNSUPPORTED:
        control_fail(EMMA_SANDBOX_UNSUPPORTED, "%s: not possible with this instance or kernel",
                     what);
        break;
    case EMMA_CORRUPT:
        control_fail(CONTROL_CORRUPT, "%s: the heap is damaged", what);
        break;
    }
}

/* A handle's flag: taken by the thread that uses it. */
static bool take(atomic_flag *busy, bool is_open, const char *what)
{
    if (atomic_flag_test_and_set_explicit(busy, memory_order_acquire)) {
        control_fail(EMMA_SANDBOX_BUSY,
                     "this %s is in use: by another thread, or by the call that "
                     "this one is inside of",
                     what);
        return false;
    }
    if (is_open)
        return true;
    atomic_flag_clear_explicit(busy, memory_order_release);
    control_fail(CONTROL_CLOSED, "this %s is closed", what);
    return false;
}

static void give_back(atomic_flag *busy)
{
    atomic_flag_clear_explicit(busy, memory_order_release);
}

/* ---- Values ---- */

#define PIECE_LEAST_BYTES ((size_t)1024)
#define PIECE_ALIGN_BYTES ((size_t)16)

struct control_piece {
    struct control_piece *next;
    size_t used_bytes;
    size_t size_bytes;
    size_t unused; /* what follows is aligned */
    char bytes[];
};

void *control_arena_take(control_arena *arena, size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return NULL;
    bytes = (bytes + PIECE_ALIGN_BYTES - 1) & ~(PIECE_ALIGN_BYTES - 1);
    struct control_piece *piece = arena->pieces;
    if (!piece || piece->size_bytes - piece->used_bytes < bytes) {
        const size_t size = bytes < PIECE_LEAST_BYTES ? PIECE_LEAST_BYTES : bytes;
        piece = malloc(sizeof *piece + size);
        if (!piece)
            return NULL;
        *piece = (struct control_piece){ .next = arena->pieces, .size_bytes = size };
        arena->pieces = piece;
    }
    void *room = piece->bytes + piece->used_bytes;
    piece->used_bytes += bytes;
    return room;
}

void control_arena_free(control_arena *arena)
{
    while (arena->pieces) {
        struct control_piece *piece = arena->pieces;
        arena->pieces = piece->next;
        free(piece);
    }
}

emma_sandbox_pair *control_begin_pairs(control_arena *arena, emma_sandbox_value *value, size_t room)
{
    emma_sandbox_pair *pairs =
        room > PTRDIFF_MAX / sizeof *pairs ? NULL : control_arena_take(arena, room * sizeof *pairs);
    value->type = EMMA_SANDBOX_PAIRS;
    value->as.pairs.items = pairs;
    value->as.pairs.count = 0;
    return pairs;
}

bool control_set_text(control_arena *arena, emma_sandbox_value *value, const char *data,
                      size_t bytes)
{
    char *copy = control_arena_take(arena, bytes);
    if (!copy)
        return false;
    memcpy(copy, data, bytes);
    value->type = EMMA_SANDBOX_TEXT;
    value->as.text.data = copy;
    value->as.text.bytes = bytes;
    return true;
}

bool control_is_list(const emma_sandbox_value *value)
{
    const size_t count = value->as.pairs.count;
    for (size_t i = 0; i < count; i++) {
        const emma_sandbox_value *key = &value->as.pairs.items[i].key;
        /* Keys are distinct: as many as there are, all within that range, are all of it. */
        if (key->type != EMMA_SANDBOX_INTEGER || key->as.integer < 1 ||
            (uint64_t)key->as.integer > count)
            return false;
    }
    return count > 0;
}

/* ---- Functions ---- */

static void drop_function(const control_function *function)
{
    if (function && function->callable)
        function->drop(function->callable);
}

/* NULL: no memory. */
static const control_function *add_function(control_functions *functions,
                                            const control_function *function)
{
    control_function *held = malloc(sizeof *held);
    control_function **items =
        realloc(functions->items, (functions->count + 1) * sizeof *functions->items);
    if (items)
        functions->items = items;
    if (!held || !items) {
        free(held);
        return NULL;
    }
    *held = *function;
    return items[functions->count++] = held;
}

/* One that is there already is not held twice; NULL: no memory, and it is dropped. */
static const control_function *hold_function(control_functions *functions,
                                             const control_function *function)
{
    for (size_t i = 0; i < functions->count; i++)
        if (functions->items[i]->callable == function->callable) {
            drop_function(function);
            return functions->items[i];
        }
    const control_function *held = add_function(functions, function);
    if (!held) {
        drop_function(function);
        fail_memory();
    }
    return held;
}

static void drop_functions(control_functions *functions)
{
    while (functions->count) {
        control_function *function = functions->items[--functions->count];
        drop_function(function);
        free(function);
    }
    free(functions->items);
    functions->items = NULL;
}

/* The line goes without its end. A print that fails stops the script: it has no error to raise. */
static void print_line(void *arg, emma_sandbox *sandbox, const char *text, size_t bytes)
{
    const control_function *function = arg;
    emma_sandbox_value line = { .type = EMMA_SANDBOX_TEXT, .as.text = { text, bytes - 1 } };
    emma_sandbox_answer answer = { 0 };
    function->call(function->callable, sandbox, &line, 1, &answer);
    if (answer.error)
        emma_sandbox_kill(sandbox);
    if (answer.release)
        answer.release(&answer);
}

static void set_print(emma_sandbox_options *options, const control_function *function)
{
    options->print = function ? print_line : NULL;
    options->print_arg = (void *)(uintptr_t)function;
}

/* ---- Instances ---- */

/* A crime is prevented before; this one could be an error of emma's own. */
static void note_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                        const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    control_fail(EMMA_SANDBOX_INVALID, "%s", message);
}

control_instance *control_instance_new(const emma_options *options, const char *name)
{
    emma_options given = *options;
    given.name = name;
    given.misuse_handler = note_misuse;
    const enum emma_status status = emma_options_check(&given);
    if (status != EMMA_OK) {
        note_status(status, "options");
        return NULL;
    }
    control_instance *handle = calloc(1, sizeof *handle);
    if (handle)
        handle->instance = emma_create(&given);
    if (!handle || !handle->instance) {
        free(handle);
        fail_memory();
        return NULL;
    }
    return handle;
}

static bool use_instance(control_instance *handle)
{
    return take(&handle->busy, handle->instance != NULL, "instance");
}

void control_instance_close(control_instance *handle)
{
    if (!handle->instance || !use_instance(handle))
        return;
    emma_destroy(handle->instance);
    handle->instance = NULL;
    give_back(&handle->busy);
}

void control_instance_free(control_instance *handle)
{
    emma_destroy(handle->instance);
    free(handle);
}

size_t control_instance_malloc(control_instance *handle, size_t bytes)
{
    if (!use_instance(handle))
        return 0;
    void *block = emma_malloc(handle->instance, bytes);
    if (!block)
        control_fail(CONTROL_REFUSED, "the limit or the system refuses %zu bytes", bytes);
    give_back(&handle->busy);
    return (size_t)(uintptr_t)block;
}

typedef struct block_search {
    const void *block;
    size_t bytes;
    bool found;
} block_search;

static bool search_block(void *arg, void *block, size_t bytes)
{
    block_search *search = arg;
    search->found = block == search->block;
    search->bytes = bytes;
    return !search->found;
}

static bool find_block(control_instance *handle, block_search *search)
{
    emma_walk(handle->instance, search_block, search);
    if (!search->found)
        control_fail(EMMA_SANDBOX_INVALID, "address: no block begins at %p", search->block);
    return search->found;
}

void control_instance_release(control_instance *handle, size_t address)
{
    block_search search = { .block = (const void *)(uintptr_t)address };
    if (!use_instance(handle))
        return;
    if (find_block(handle, &search))
        emma_free(handle->instance, (void *)(uintptr_t)address);
    give_back(&handle->busy);
}

size_t control_instance_usable_size(control_instance *handle, size_t address)
{
    block_search search = { .block = (const void *)(uintptr_t)address };
    if (!use_instance(handle))
        return 0;
    find_block(handle, &search);
    give_back(&handle->busy);
    return search.bytes;
}

bool control_instance_owns(control_instance *handle, size_t address)
{
    if (!use_instance(handle))
        return false;
    const bool owns = emma_owns(handle->instance, (const void *)(uintptr_t)address);
    give_back(&handle->busy);
    return owns;
}

size_t control_instance_trim(control_instance *handle)
{
    if (!use_instance(handle))
        return 0;
    const size_t bytes = emma_trim(handle->instance);
    give_back(&handle->busy);
    return bytes;
}

void control_instance_reset(control_instance *handle)
{
    if (!use_instance(handle))
        return;
    note_status(emma_reset(handle->instance), "reset");
    give_back(&handle->busy);
}

void control_instance_check(control_instance *handle)
{
    if (!use_instance(handle))
        return;
    note_status(emma_check(handle->instance), "check");
    give_back(&handle->busy);
}

void control_instance_set_limit(control_instance *handle, size_t limit_bytes)
{
    if (!use_instance(handle))
        return;
    note_status(emma_set_limit(handle->instance, limit_bytes), "limit_bytes");
    give_back(&handle->busy);
}

void control_instance_set_soft_limit(control_instance *handle, size_t soft_limit_bytes)
{
    if (!use_instance(handle))
        return;
    note_status(emma_set_soft_limit(handle->instance, soft_limit_bytes), "soft_limit_bytes");
    give_back(&handle->busy);
}

void control_instance_use_spare(control_instance *handle, bool use)
{
    if (!use_instance(handle))
        return;
    note_status(emma_use_spare(handle->instance, use), "spare");
    give_back(&handle->busy);
}

emma_stats control_instance_stats(control_instance *handle)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (!use_instance(handle))
        return stats;
    emma_get_stats(handle->instance, &stats);
    give_back(&handle->busy);
    return stats;
}

static emma_class_stats class_of(const emma *instance, unsigned index)
{
    emma_class_stats stats = { .struct_bytes = sizeof stats };
    emma_get_class_stats(instance, index, &stats);
    return stats;
}

emma_class_stats control_instance_class_stats(control_instance *handle, unsigned index)
{
    if (!use_instance(handle))
        return (emma_class_stats){ 0 };
    const emma_class_stats stats = class_of(handle->instance, index);
    give_back(&handle->busy);
    return stats;
}

bool control_instance_walk(control_instance *handle, emma_walk_fn visit, void *arg)
{
    if (!use_instance(handle))
        return false;
    const bool whole = emma_walk(handle->instance, visit, arg);
    give_back(&handle->busy);
    return whole;
}

unsigned control_instance_checkpoint(control_instance *handle)
{
    unsigned level = 0;
    if (!use_instance(handle))
        return 0;
    note_status(emma_checkpoint(handle->instance, &level), "checkpoint");
    give_back(&handle->busy);
    return level;
}

void control_instance_rollback(control_instance *handle, unsigned level)
{
    if (!use_instance(handle))
        return;
    note_status(emma_rollback(handle->instance, level), "level");
    give_back(&handle->busy);
}

void control_instance_drop(control_instance *handle, unsigned level)
{
    if (!use_instance(handle))
        return;
    note_status(emma_checkpoint_drop(handle->instance, level), "level");
    give_back(&handle->busy);
}

/* ---- Sandboxes ---- */

/* Records what the kit says of a call. */
static bool note_sandbox(const emma_sandbox *sandbox, enum emma_sandbox_status status)
{
    if (status == EMMA_SANDBOX_DONE)
        return true;
    const char *message = emma_sandbox_message(sandbox);
    control_fail(status, "%s", *message ? message : emma_sandbox_status_text(status));
    snprintf(last_error->traceback, sizeof last_error->traceback, "%s",
             emma_sandbox_traceback(sandbox));
    return false;
}

static bool options_are_valid(const emma_sandbox_options *options)
{
    const char *why;
    const enum emma_sandbox_status status = emma_sandbox_options_check(options, &why);
    if (status != EMMA_SANDBOX_DONE)
        control_fail(status, "%s", why);
    return status == EMMA_SANDBOX_DONE;
}

/* Nothing in it yet; NULL: no memory. */
static control_sandbox *make_handle(void)
{
    control_sandbox *handle = calloc(1, sizeof *handle);
    if (handle)
        pthread_mutex_init(&handle->life, NULL);
    return handle;
}

static void free_handle(control_sandbox *handle)
{
    pthread_mutex_destroy(&handle->life);
    free(handle);
}

control_sandbox *control_sandbox_new(const emma_sandbox_options *options, const char *name,
                                     const control_function *print)
{
    emma_sandbox_options given = *options;
    given.name = name;
    control_sandbox *handle = options_are_valid(options) ? make_handle() : NULL;
    if (!handle) {
        if (!last_error->kind)
            fail_memory();
        drop_function(print);
        return NULL;
    }
    if (print && print->callable)
        set_print(&given, hold_function(&handle->functions, print));
    if (!last_error->kind)
        handle->sandbox = emma_sandbox_create(&given);
    if (handle->sandbox)
        return handle;
    if (!last_error->kind)
        control_fail(CONTROL_REFUSED,
                     "the limit or the system refuses memory or address space for a sandbox");
    control_sandbox_free(handle);
    return NULL;
}

static bool use_sandbox(control_sandbox *handle)
{
    return take(&handle->busy, handle->sandbox != NULL, "sandbox");
}

/* The last of its users frees it. */
static void leave_pool(control_pool *handle)
{
    if (atomic_fetch_sub(&handle->users, 1) != 1)
        return;
    emma_sandbox_pool_destroy(handle->pool);
    for (size_t i = 0; i < handle->functions.count; i++)
        free(handle->names[i]);
    free(handle->names);
    drop_functions(&handle->functions);
    free(handle);
}

/* Throws it away, or gives it back to its pool. */
static void end_sandbox(control_sandbox *handle)
{
    control_pool *pool = handle->pool;
    pthread_mutex_lock(&handle->life);
    emma_sandbox *sandbox = handle->sandbox;
    handle->sandbox = NULL;
    pthread_mutex_unlock(&handle->life);
    handle->pool = NULL;
    if (!pool) {
        emma_sandbox_destroy(sandbox);
    } else {
        note_sandbox(sandbox, emma_sandbox_pool_release(pool->pool, sandbox));
        leave_pool(pool);
    }
    drop_functions(&handle->functions);
}

void control_sandbox_close(control_sandbox *handle)
{
    if (!handle->sandbox || !use_sandbox(handle))
        return;
    end_sandbox(handle);
    give_back(&handle->busy);
}

void control_sandbox_free(control_sandbox *handle)
{
    end_sandbox(handle);
    free_handle(handle);
}

bool control_sandbox_is_closed(const control_sandbox *handle)
{
    return !handle->sandbox;
}

/* After a run or call: the results, with the handle taken; or the error, with it given back. */
static control_results results_of(control_sandbox *handle, enum emma_sandbox_status status)
{
    control_results results = { .sandbox = handle };
    if (note_sandbox(handle->sandbox, status)) {
        results.items = emma_sandbox_results(handle->sandbox, &results.count);
        return results;
    }
    give_back(&handle->busy);
    return (control_results){ 0 };
}

control_results control_sandbox_run(control_sandbox *handle, const char *text, size_t bytes,
                                    const char *name)
{
    if (!use_sandbox(handle))
        return (control_results){ 0 };
    return results_of(handle, emma_sandbox_run(handle->sandbox, name, text, bytes));
}

control_results control_sandbox_call(control_sandbox *handle, const char *function,
                                     const control_values *arguments)
{
    if (!use_sandbox(handle))
        return (control_results){ 0 };
    return results_of(
        handle, emma_sandbox_call(handle->sandbox, function, arguments->items, arguments->count));
}

void control_sandbox_done(control_sandbox *handle)
{
    give_back(&handle->busy);
}

void control_sandbox_set(control_sandbox *handle, const char *name, const control_values *value)
{
    if (!use_sandbox(handle))
        return;
    note_sandbox(handle->sandbox, emma_sandbox_set(handle->sandbox, name, value->items));
    give_back(&handle->busy);
}

void control_sandbox_provide(control_sandbox *handle, const char *name,
                             const control_function *function)
{
    if (!use_sandbox(handle)) {
        drop_function(function);
        return;
    }
    const control_function *held = hold_function(&handle->functions, function);
    if (held)
        note_sandbox(handle->sandbox,
                     emma_sandbox_provide(handle->sandbox, name, held->call, held->callable));
    give_back(&handle->busy);
}

void control_sandbox_kill(control_sandbox *handle)
{
    pthread_mutex_lock(&handle->life);
    if (handle->sandbox)
        emma_sandbox_kill(handle->sandbox);
    else
        control_fail(CONTROL_CLOSED, "this sandbox is closed");
    pthread_mutex_unlock(&handle->life);
}

unsigned control_sandbox_checkpoint(control_sandbox *handle)
{
    unsigned level = 0;
    if (!use_sandbox(handle))
        return 0;
    note_sandbox(handle->sandbox, emma_sandbox_checkpoint(handle->sandbox, &level));
    give_back(&handle->busy);
    return level;
}

/* INVALID has no message of the kit's here. */
static void note_level(control_sandbox *handle, enum emma_sandbox_status status, unsigned level)
{
    if (status == EMMA_SANDBOX_INVALID)
        control_fail(status, "level: there is no checkpoint %u", level);
    else
        note_sandbox(handle->sandbox, status);
}

void control_sandbox_rollback(control_sandbox *handle, unsigned level)
{
    if (!use_sandbox(handle))
        return;
    note_level(handle, emma_sandbox_rollback(handle->sandbox, level), level);
    give_back(&handle->busy);
}

void control_sandbox_drop(control_sandbox *handle, unsigned level)
{
    if (!use_sandbox(handle))
        return;
    note_level(handle, emma_sandbox_drop(handle->sandbox, level), level);
    give_back(&handle->busy);
}

void control_sandbox_set_limit(control_sandbox *handle, size_t limit_bytes)
{
    if (!use_sandbox(handle))
        return;
    note_sandbox(handle->sandbox, emma_sandbox_set_limit(handle->sandbox, limit_bytes));
    give_back(&handle->busy);
}

void control_sandbox_set_budget(control_sandbox *handle, uint64_t instructions,
                                uint64_t deadline_us)
{
    if (!use_sandbox(handle))
        return;
    note_sandbox(handle->sandbox,
                 emma_sandbox_set_budget(handle->sandbox, instructions, deadline_us));
    give_back(&handle->busy);
}

emma_sandbox_stats control_sandbox_stats(control_sandbox *handle)
{
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    if (!use_sandbox(handle))
        return stats;
    emma_sandbox_get_stats(handle->sandbox, &stats);
    give_back(&handle->busy);
    return stats;
}

emma_sandbox_type_bytes control_sandbox_types(control_sandbox *handle)
{
    emma_sandbox_type_bytes types = { 0 };
    if (!use_sandbox(handle))
        return types;
    note_sandbox(handle->sandbox, emma_sandbox_get_type_bytes(handle->sandbox, &types));
    give_back(&handle->busy);
    return types;
}

emma_stats control_sandbox_memory(control_sandbox *handle)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (!use_sandbox(handle))
        return stats;
    emma_get_stats(emma_sandbox_instance(handle->sandbox), &stats);
    give_back(&handle->busy);
    return stats;
}

emma_class_stats control_sandbox_class_stats(control_sandbox *handle, unsigned index)
{
    if (!use_sandbox(handle))
        return (emma_class_stats){ 0 };
    const emma_class_stats stats = class_of(emma_sandbox_instance(handle->sandbox), index);
    give_back(&handle->busy);
    return stats;
}

bool control_sandbox_walk(control_sandbox *handle, emma_walk_fn visit, void *arg)
{
    if (!use_sandbox(handle))
        return false;
    const bool whole = emma_walk(emma_sandbox_instance(handle->sandbox), visit, arg);
    give_back(&handle->busy);
    return whole;
}

void control_sandbox_check(control_sandbox *handle)
{
    if (!use_sandbox(handle))
        return;
    note_status(emma_check(emma_sandbox_instance(handle->sandbox)), "check");
    give_back(&handle->busy);
}

size_t control_sandbox_trim(control_sandbox *handle)
{
    if (!use_sandbox(handle))
        return 0;
    const size_t bytes = emma_trim(emma_sandbox_instance(handle->sandbox));
    give_back(&handle->busy);
    return bytes;
}

/* ---- Pools ---- */

/* Holds a function under a name, or, as print, under none. */
static const control_function *pool_hold(control_pool *handle, const char *name,
                                         const control_function *function)
{
    char *copy = name ? strdup(name) : NULL;
    char **names = realloc(handle->names, (handle->functions.count + 1) * sizeof *names);
    if (names)
        handle->names = names;
    const control_function *held =
        names && (copy || !name) ? add_function(&handle->functions, function) : NULL;
    if (held) {
        names[handle->functions.count - 1] = copy;
        return held;
    }
    free(copy);
    drop_function(function);
    fail_memory();
    return NULL;
}

control_pool *control_pool_new(const control_function *print)
{
    control_pool *handle = calloc(1, sizeof *handle);
    if (!handle) {
        fail_memory();
        drop_function(print);
        return NULL;
    }
    atomic_init(&handle->users, 1);
    if (print && print->callable)
        handle->printer = pool_hold(handle, NULL, print);
    if (!last_error->kind)
        return handle;
    control_pool_free(handle);
    return NULL;
}

/* One user more: it is not closed meanwhile. */
static bool join_pool(control_pool *handle)
{
    size_t users = atomic_load(&handle->users);
    while (users && !atomic_compare_exchange_weak(&handle->users, &users, users + 1))
        continue;
    if (users && handle->pool)
        return true;
    if (users)
        leave_pool(handle);
    control_fail(CONTROL_CLOSED, "this pool is closed");
    return false;
}

void control_pool_provide(control_pool *handle, const char *name, const control_function *function)
{
    if (handle->pool) {
        control_fail(EMMA_SANDBOX_INVALID, "%s: this pool is open already", name);
        drop_function(function);
        return;
    }
    pool_hold(handle, name, function);
}

/* Registers what the pool's sandboxes have. */
static enum emma_sandbox_status prepare_sandbox(void *arg, emma_sandbox *sandbox)
{
    const control_pool *handle = arg;
    enum emma_sandbox_status status = EMMA_SANDBOX_DONE;
    for (size_t i = 0; i < handle->functions.count && status == EMMA_SANDBOX_DONE; i++) {
        const control_function *function = handle->functions.items[i];
        if (handle->names[i])
            status =
                emma_sandbox_provide(sandbox, handle->names[i], function->call, function->callable);
    }
    return status;
}

void control_pool_open(control_pool *handle, const emma_sandbox_pool_options *options,
                       const char *name, const char *prelude, size_t bytes,
                       const char *prelude_name)
{
    emma_sandbox_pool_options given = *options;
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    if (handle->pool || !options_are_valid(&options->sandbox))
        return;
    given.sandbox.name = name;
    given.prelude = prelude;
    given.prelude_bytes = bytes;
    given.prelude_name = prelude_name;
    set_print(&given.sandbox, handle->printer);
    given.prepare = prepare_sandbox;
    given.prepare_arg = handle;
    handle->pool = emma_sandbox_pool_create(&given, message);
    if (!handle->pool)
        control_fail(EMMA_SANDBOX_ERROR, "%s", message);
}

bool control_pool_is_closed(const control_pool *handle)
{
    return !handle->pool;
}

void control_pool_close(control_pool *handle)
{
    size_t users = 1;
    if (!atomic_compare_exchange_strong(&handle->users, &users, 0)) {
        control_fail(EMMA_SANDBOX_BUSY,
                     "this pool is in use: %zu sandboxes are leased, or about to be", users - 1);
        return;
    }
    emma_sandbox_pool_destroy(handle->pool);
    handle->pool = NULL;
    atomic_store(&handle->users, 1);
}

void control_pool_free(control_pool *handle)
{
    leave_pool(handle);
}

/* What the pool says of a preparation that failed. */
static void note_preparation(control_pool *handle, enum emma_sandbox_status status)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox_pool_message(handle->pool, message);
    control_fail(status, "%s", *message ? message : emma_sandbox_status_text(status));
}

control_sandbox *control_pool_acquire(control_pool *handle)
{
    if (!join_pool(handle))
        return NULL;
    emma_sandbox *sandbox = NULL;
    control_sandbox *lease = make_handle();
    const enum emma_sandbox_status status =
        lease ? emma_sandbox_pool_acquire(handle->pool, &sandbox) : EMMA_SANDBOX_MEMORY;
    if (status == EMMA_SANDBOX_DONE) {
        lease->sandbox = sandbox;
        lease->pool = handle; /* which it leaves when it is closed */
        return lease;
    }
    if (lease) {
        note_preparation(handle, status);
        free_handle(lease);
    } else {
        fail_memory();
    }
    leave_pool(handle);
    return NULL;
}

void control_pool_prepare(control_pool *handle, size_t count)
{
    if (!join_pool(handle))
        return;
    const enum emma_sandbox_status status = emma_sandbox_pool_prepare(handle->pool, count);
    if (status != EMMA_SANDBOX_DONE)
        note_preparation(handle, status);
    leave_pool(handle);
}

emma_sandbox_pool_stats control_pool_stats(control_pool *handle)
{
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    if (!join_pool(handle))
        return stats;
    emma_sandbox_pool_get_stats(handle->pool, &stats);
    leave_pool(handle);
    return stats;
}
