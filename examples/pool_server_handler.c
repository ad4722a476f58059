/* pool_server_handler.c - see pool_server.c, of which it is a part. */
#define _GNU_SOURCE
#include "pool_server_handler.h"

#include "pool_server_watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define STATS_BYTES    1024
#define CODE_LEAST     200
#define CODE_MOST      599
#define STATUS_COUNT   EMMA_SANDBOX_BROKEN /* of those that a call ends with */
#define TYPE_DEFAULT   "text/plain; charset=utf-8"

/* What handle() returned. */
typedef struct handler_page {
    int64_t code;
    const char *body; /* NULL: what was returned is not a page */
    size_t bytes;
    const char *type;
} handler_page;

static struct {
    const handler_options *options;
    emma_sandbox_pool *pool; /* NULL: not isolated */
    struct timespec start;
    char *text; /* the file's */
    size_t bytes;
    pthread_key_t plain_key;          /* a thread's lua_State */
    atomic_ullong ends[STATUS_COUNT]; /* how calls ended */
    atomic_ullong unavailable;        /* requests that got no sandbox, or no state */
    atomic_ullong requests;           /* all */
} handler;

/* ---- Responses ---- */

struct MHD_Response *handler_text(const char *text, size_t bytes, const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(bytes, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    /* What cannot be a header, as it has line breaks in it, is refused. */
    if (response &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) != MHD_YES)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, TYPE_DEFAULT);
    return response;
}

static struct MHD_Response *handler_failure(enum emma_sandbox_status status, const char *message)
{
    char text[EMMA_SANDBOX_MESSAGE_BYTES + 32];
    /* A sandbox bounds its messages, a plain state does not. */
    snprintf(text, sizeof text, "%s: %.*s\n", emma_sandbox_status_text(status),
             EMMA_SANDBOX_MESSAGE_BYTES, message);
    return handler_text(text, strlen(text), TYPE_DEFAULT);
}

/* An error is the handler's; the rest may go well another time, or with more room: 503. */
static unsigned handler_code(enum emma_sandbox_status status)
{
    return status == EMMA_SANDBOX_ERROR ? MHD_HTTP_INTERNAL_SERVER_ERROR
                                        : MHD_HTTP_SERVICE_UNAVAILABLE;
}

/* A text of a request's. */
static const char *request_text(const emma_sandbox_value *request, const char *name)
{
    const emma_sandbox_pair *pair = request->as.pairs.items;
    while (strcmp(pair->key.as.text.data, name) != 0)
        pair++;
    return pair->value.as.text.data;
}

static void note_failure(const emma_sandbox_value *request, const char *reason, const char *message)
{
    watch_failure(reason, request_text(request, "method"), request_text(request, "path"), message);
}

/* Makes a response of how a call ended, and counts it. */
static struct MHD_Response *handler_finish(const emma_sandbox_value *request,
                                           enum emma_sandbox_status status, const char *message,
                                           const handler_page *page, unsigned *code)
{
    if (status == EMMA_SANDBOX_DONE &&
        (!page->body || page->code < CODE_LEAST || page->code > CODE_MOST)) {
        status = EMMA_SANDBOX_ERROR;
        message = "handle() did not return a status from 200 to 599 and a body";
    }
    atomic_fetch_add(&handler.ends[status], 1);
    if (status == EMMA_SANDBOX_DONE) {
        *code = (unsigned)page->code;
        return handler_text(page->body, page->bytes, page->type);
    }
    note_failure(request, emma_sandbox_status_text(status), message);
    *code = handler_code(status);
    return handler_failure(status, message);
}

static struct MHD_Response *handler_unavailable(const emma_sandbox_value *request,
                                                const char *message, unsigned *code)
{
    static const char text[] = "there is nothing to run it in\n";
    atomic_fetch_add(&handler.unavailable, 1);
    note_failure(request, "unavailable", message);
    *code = MHD_HTTP_SERVICE_UNAVAILABLE;
    return handler_text(text, sizeof text - 1, TYPE_DEFAULT);
}

/* ---- In a sandbox ---- */

static handler_page sandbox_page(const emma_sandbox *sandbox)
{
    handler_page page = { .type = TYPE_DEFAULT };
    size_t count;
    const emma_sandbox_value *results = emma_sandbox_results(sandbox, &count);
    if (count < 2 || results[0].type != EMMA_SANDBOX_INTEGER ||
        results[1].type != EMMA_SANDBOX_TEXT)
        return page;
    page.code = results[0].as.integer;
    page.body = results[1].as.text.data;
    page.bytes = results[1].as.text.bytes;
    if (count > 2 && results[2].type == EMMA_SANDBOX_TEXT)
        page.type = results[2].as.text.data;
    return page;
}

static struct MHD_Response *sandbox_answer(const emma_sandbox_value *request, unsigned *code)
{
    char why[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox *sandbox;
    if (emma_sandbox_pool_acquire(handler.pool, &sandbox) != EMMA_SANDBOX_DONE) {
        emma_sandbox_pool_message(handler.pool, why);
        return handler_unavailable(request, why, code);
    }
    const enum emma_sandbox_status status = emma_sandbox_call(sandbox, "handle", request, 1);
    const handler_page page = sandbox_page(sandbox);
    struct MHD_Response *response =
        handler_finish(request, status, emma_sandbox_message(sandbox), &page, code);
    watch_leave(sandbox);
    emma_sandbox_pool_release(handler.pool, sandbox);
    return response;
}

static bool sandbox_start(const handler_options *options, char *message)
{
    emma_sandbox_pool_options pool = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    pool.sandbox.limit_bytes = options->limit_bytes;
    pool.sandbox.instructions = options->instructions;
    pool.sandbox.deadline_us = options->deadline_us;
    pool.sandboxes_max = options->sandboxes;
    pool.prelude = handler.text;
    pool.prelude_bytes = handler.bytes;
    pool.prelude_name = options->file;
    pool.prepare = watch_prepare;
    handler.pool = emma_sandbox_pool_create(&pool, message);
    if (!handler.pool)
        return false;
    snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "no memory for the sandboxes");
    return emma_sandbox_pool_prepare(handler.pool, options->threads) == EMMA_SANDBOX_DONE;
}

/* ---- In a plain state ---- */

static void plain_close(void *state)
{
    lua_close(state);
}

/* Makes a state with the file loaded; NULL: `message` tells why it could not be. */
static lua_State *plain_create(char *message)
{
    lua_State *state = luaL_newstate();
    snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "no memory for a state");
    if (!state)
        return NULL;
    luaL_openlibs(state);
    if (luaL_loadbuffer(state, handler.text, handler.bytes, "=handler") == LUA_OK &&
        lua_pcall(state, 0, 0, 0) == LUA_OK)
        return state;
    snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "error: %s", lua_tostring(state, -1));
    lua_close(state);
    return NULL;
}

/* The state of this thread, made when it is first used. */
static lua_State *plain_state(void)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    lua_State *state = pthread_getspecific(handler.plain_key);
    if (!state) {
        state = plain_create(message);
        pthread_setspecific(handler.plain_key, state);
    }
    return state;
}

/* The first state is made and thrown away: a file that does not load is told of now. */
static bool plain_start(char *message)
{
    lua_State *state = plain_create(message);
    if (state)
        lua_close(state);
    return state && pthread_key_create(&handler.plain_key, plain_close) == 0;
}

/* Pushes a text, or a table of values: a request has nothing else. */
static void plain_push(lua_State *state, const emma_sandbox_value *value)
{
    if (value->type == EMMA_SANDBOX_TEXT) {
        lua_pushlstring(state, value->as.text.data, value->as.text.bytes);
        return;
    }
    lua_createtable(state, 0, (int)value->as.pairs.count);
    for (size_t i = 0; i < value->as.pairs.count; i++) {
        plain_push(state, &value->as.pairs.items[i].key);
        plain_push(state, &value->as.pairs.items[i].value);
        lua_rawset(state, -3);
    }
}

static handler_page plain_page(lua_State *state)
{
    handler_page page = { .type = TYPE_DEFAULT };
    if (!lua_isinteger(state, 1) || lua_type(state, 2) != LUA_TSTRING)
        return page;
    page.code = lua_tointeger(state, 1);
    page.body = lua_tolstring(state, 2, &page.bytes);
    if (lua_type(state, 3) == LUA_TSTRING)
        page.type = lua_tostring(state, 3);
    return page;
}

static struct MHD_Response *plain_answer(const emma_sandbox_value *request, unsigned *code)
{
    lua_State *state = plain_state();
    if (!state)
        return handler_unavailable(request, "no memory for a state", code);
    lua_getglobal(state, "handle");
    plain_push(state, request);
    const bool done = lua_pcall(state, 1, 3, 0) == LUA_OK;
    const char *message = done ? NULL : lua_tostring(state, -1);
    const handler_page page = plain_page(state);
    struct MHD_Response *response =
        handler_finish(request, done ? EMMA_SANDBOX_DONE : EMMA_SANDBOX_ERROR,
                       message ? message : "(no message)", &page, code);
    lua_settop(state, 0);
    return response;
}

/* ---- Both ---- */

static bool handler_read(const char *name, char *message)
{
    FILE *file = fopen(name, "rb");
    handler.text = malloc(FILE_MAX_BYTES);
    if (file && handler.text)
        handler.bytes = fread(handler.text, 1, FILE_MAX_BYTES, file);
    const bool whole = file && handler.text && !ferror(file) && feof(file);
    if (!whole)
        snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "cannot be read, or is too large");
    if (file)
        fclose(file);
    return whole;
}

bool handler_start(const handler_options *options, char message[EMMA_SANDBOX_MESSAGE_BYTES])
{
    handler.options = options;
    clock_gettime(CLOCK_MONOTONIC, &handler.start);
    if (!handler_read(options->file, message))
        return false;
    return options->isolated ? sandbox_start(options, message) : plain_start(message);
}

void handler_stop(void)
{
    emma_sandbox_pool_destroy(handler.pool);
    free(handler.text);
}

struct MHD_Response *handler_answer(const emma_sandbox_value *request, unsigned *code)
{
    const uint64_t begin = watch_begin();
    atomic_fetch_add(&handler.requests, 1);
    struct MHD_Response *response =
        handler.pool ? sandbox_answer(request, code) : plain_answer(request, code);
    watch_end(begin);
    return response;
}

static void stats_pool(char *text, size_t room)
{
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_pool_get_stats(handler.pool, &stats);
    snprintf(
        text, room,
        "{\"sandboxes\": %zu, \"idle\": %zu, \"sandboxes_max\": %zu, \"footprint_bytes\": %zu, "
        "\"prepared\": %ju, \"failed\": %ju, \"acquired\": %ju, \"waited\": %ju, "
        "\"demanded\": %ju, \"replaced\": %ju, \"broken\": %ju, \"rollback_us\": %ju}",
        stats.sandboxes, stats.idle, stats.sandboxes_max, stats.footprint_bytes,
        (uintmax_t)stats.prepared_count, (uintmax_t)stats.failed_count,
        (uintmax_t)stats.acquired_count, (uintmax_t)stats.waited_count,
        (uintmax_t)stats.demanded_count, (uintmax_t)stats.replaced_count,
        (uintmax_t)stats.broken_count, (uintmax_t)stats.microseconds);
}

static void stats_server(char *text, size_t room)
{
    size_t bytes =
        (size_t)snprintf(text, room, "{\"requests\": %llu, \"unavailable\": %llu",
                         atomic_load(&handler.requests), atomic_load(&handler.unavailable));
    for (int i = 0; i < STATUS_COUNT; i++)
        bytes += (size_t)snprintf(text + bytes, room - bytes, ", \"%s\": %llu",
                                  emma_sandbox_status_text((enum emma_sandbox_status)i),
                                  atomic_load(&handler.ends[i]));
    snprintf(text + bytes, room - bytes, "}");
}

/* Two members of an object: server and pool. */
#define FIGURES_BYTES (2 * STATS_BYTES + 32)
static size_t write_figures(char text[FIGURES_BYTES])
{
    char server[STATS_BYTES];
    char pool[STATS_BYTES] = "null";
    stats_server(server, sizeof server);
    if (handler.pool)
        stats_pool(pool, sizeof pool);
    return (size_t)snprintf(text, FIGURES_BYTES, "\"server\": %s, \"pool\": %s", server, pool);
}

struct MHD_Response *handler_stats(void)
{
    char figures[FIGURES_BYTES];
    char text[FIGURES_BYTES + 4];
    write_figures(figures);
    const int bytes = snprintf(text, sizeof text, "{%s}\n", figures);
    return handler_text(text, (size_t)bytes, "application/json");
}

void handler_status(emma_report_out *out)
{
    const handler_options *options = handler.options;
    char figures[FIGURES_BYTES];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    emmai_out_format(out, "{\"emma\": \"%s\", \"process\": %ld, \"seconds\": %.3f, \"file\": ",
                     emma_version(), (long)getpid(),
                     (double)(now.tv_sec - handler.start.tv_sec) +
                         (double)(now.tv_nsec - handler.start.tv_nsec) / 1e9);
    emmai_out_json(out, options->file);
    emmai_out_format(out,
                     ",\n\"limit_bytes\": %zu, \"instructions\": %ju, \"deadline_us\": %ju, "
                     "\"threads\": %zu,\n",
                     options->limit_bytes, (uintmax_t)options->instructions,
                     (uintmax_t)options->deadline_us, options->threads);
    const size_t bytes = write_figures(figures);
    emmai_out_bytes(out, figures, bytes);
    emmai_out_text(out, ",\n");
    watch_look(out, handler.pool);
    emmai_out_text(out, "}\n");
}
