/* pool_server.c - an HTTP server on the loopback interface that runs handle() of a Lua file for
 * each request, in a sandbox of a pool: what a request does to its state, or how it fails, no later
 * one sees.
 *
 *     pool_server [OPTION...] [HANDLER.lua]        (examples/lua/handler.lua)
 *         --port N           0: any free one; it is printed (8080)
 *         --page N           a port for the live page, with a thread of its own, which answers also
 *                            when all others are at work (the page is at / of the one port)
 *         --threads N        of the server (2)
 *         --limit SIZE       memory that a request may take, with K, M or G (1M)
 *         --deadline MS      time that it may take (100)
 *         --instructions N   of Lua that it may execute; 0: any number, not counted (0)
 *         --sandboxes N      at most (one per thread)
 *         --export           shows each sandbox to `emma top PID`
 *         --no-isolation     for comparison: a plain lua_State per thread, no limits, no rollback
 *
 * A handler's error is answered by 500; one that needs more memory, instructions or time than it
 * may have, by 503; a body of more than 64 KiB, by 413. / is a live page of the pool, each
 * sandbox's map, requests and how they ended; it asks for /emma/status.json. With --page those two
 * are there only. Both are refused, by 403, where the request's Host is no address and not
 * localhost. /stats tells the counters alone. The handler gets all other paths, and all that is
 * neither GET nor HEAD. SIGINT and SIGTERM end it.
 *
 * Build, in the project's top folder (Debian: liblua5.4-dev, libmicrohttpd-dev):
 *     cc -O2 -Icore -Ibindings -Ibindings/lua -Ibindings/report \
 *         -DEMMA_REPORT_DIR='"bindings/report"' $(pkg-config --cflags lua5.4 libmicrohttpd) \
 *         examples/pool_server*.c bindings/report/emma_report*.c bindings/emma_sample*.c \
 *         bindings/lua/emma_sandbox.c bindings/lua/emma_lua.c core/emma.c \
 *         $(pkg-config --libs lua5.4 libmicrohttpd) -pthread -o pool_server
 *
 * No expected output: it is a server, and tests/lua/pool_server tells what it does.
 */
#define _GNU_SOURCE
#include "pool_server_handler.h"
#include "pool_server_page.h"

#include "emma_export.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX_BYTES ((size_t)64 * 1024)
#define QUERY_MAX      32 /* fields; more are left out */
#define IDLE_SECONDS   30u
#define US_PER_MS      1000
#define EXIT_USAGE     2
#define PORT_MAX       65535

static const char text_type[] = "text/plain; charset=utf-8";

/* ---- Options ---- */

enum { PORT, PAGE, THREADS, LIMIT, DEADLINE, INSTRUCTIONS, SANDBOXES, EXPORT, NO_ISOLATION };

/* The number that an option has, and its range. */
static struct setting {
    const char *name;
    uint64_t least, most, value;
} settings[] = {
    [PORT] = { "port", 0, PORT_MAX, 8080 },
    [PAGE] = { "page", 0, PORT_MAX, PORT_MAX + 1 }, /* none of its own */
    [THREADS] = { "threads", 1, 64, 2 },
    [LIMIT] = { "limit", EMMA_LIMIT_MIN_BYTES, (uint64_t)1 << 40, (uint64_t)1 << 20 },
    [DEADLINE] = { "deadline", 1, 3600000, 100 },
    [INSTRUCTIONS] = { "instructions", 0, INT64_MAX, 0 },
    [SANDBOXES] = { "sandboxes", 1, 4096, 0 },
};

static const struct option long_options[] = {
    { "port", required_argument, NULL, PORT },
    { "page", required_argument, NULL, PAGE },
    { "threads", required_argument, NULL, THREADS },
    { "limit", required_argument, NULL, LIMIT },
    { "deadline", required_argument, NULL, DEADLINE },
    { "instructions", required_argument, NULL, INSTRUCTIONS },
    { "sandboxes", required_argument, NULL, SANDBOXES },
    { "export", no_argument, NULL, EXPORT },
    { "no-isolation", no_argument, NULL, NO_ISOLATION },
    { NULL, 0, NULL, 0 },
};

/* Ends the program unless `text` is a number, or for --limit a size, in the option's range. */
static void parse_number(struct setting *setting, const char *text)
{
    static const char units[] = "KMG";
    char *end = (char *)(uintptr_t)text;
    unsigned shift = 0;
    uint64_t number = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
    const char *unit = *end && setting == &settings[LIMIT] ? strchr(units, *end) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
    }
    if (end != text && *end == '\0' && number <= setting->most >> shift &&
        number << shift >= setting->least) {
        setting->value = number << shift;
        return;
    }
    fprintf(stderr, "pool_server: --%s: '%s' is not %s from %ju to %ju\n", setting->name, text,
            setting == &settings[LIMIT] ? "a size" : "a number", (uintmax_t)setting->least,
            (uintmax_t)setting->most);
    exit(EXIT_USAGE);
}

static handler_options parse_options(int count, char **arguments)
{
    handler_options options = { .file = "examples/lua/handler.lua", .isolated = true };
    int found;
    while ((found = getopt_long(count, arguments, "", long_options, NULL)) != -1) {
        if (found == '?')
            exit(EXIT_USAGE); /* getopt named what is wrong */
        if (found == NO_ISOLATION)
            options.isolated = false;
        else if (found == EXPORT)
            options.exports = true;
        else
            parse_number(&settings[found], optarg);
    }
    if (optind < count)
        options.file = arguments[optind++];
    if (optind < count) {
        fprintf(stderr, "pool_server: '%s' is one argument too many\n", arguments[optind]);
        exit(EXIT_USAGE);
    }
    options.limit_bytes = settings[LIMIT].value;
    options.instructions = settings[INSTRUCTIONS].value;
    options.deadline_us = settings[DEADLINE].value * US_PER_MS;
    options.threads = settings[THREADS].value;
    options.sandboxes = settings[SANDBOXES].value ? settings[SANDBOXES].value : options.threads;
    return options;
}

/* ---- Requests ---- */

/* What is served at a port. */
typedef struct service {
    bool has_page, has_handler;
} service;

/* The body of a request as it comes in. */
typedef struct upload {
    char *data;
    size_t bytes;
    bool too_large; /* what came is dropped, and what comes */
} upload;

typedef struct query {
    emma_sandbox_pair fields[QUERY_MAX];
    size_t count;
} query;

static void upload_add(upload *body, const char *data, size_t bytes)
{
    char *grown = bytes <= BODY_MAX_BYTES - body->bytes && !body->too_large
                      ? realloc(body->data, body->bytes + bytes)
                      : NULL;
    if (!grown) {
        body->too_large = true;
        return;
    }
    memcpy(grown + body->bytes, data, bytes);
    body->data = grown;
    body->bytes += bytes;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    upload *body = *context;
    (void)arg, (void)connection, (void)how;
    if (body)
        free(body->data);
    free(body);
}

static emma_sandbox_value text_value(const char *text, size_t bytes)
{
    const emma_sandbox_value value = { .type = EMMA_SANDBOX_TEXT, .as.text = { text, bytes } };
    return value;
}

static emma_sandbox_pair text_pair(const char *key, const char *text, size_t bytes)
{
    const emma_sandbox_pair pair = { text_value(key, strlen(key)), text_value(text, bytes) };
    return pair;
}

static enum MHD_Result on_query_field(void *arg, enum MHD_ValueKind kind, const char *key,
                                      size_t key_bytes, const char *value, size_t value_bytes)
{
    query *fields = arg;
    (void)kind;
    fields->fields[fields->count].key = text_value(key, key_bytes);
    fields->fields[fields->count++].value = text_value(value, value ? value_bytes : 0);
    return fields->count < QUERY_MAX ? MHD_YES : MHD_NO;
}

/* Makes the table that handle() is given, and runs it. */
static struct MHD_Response *run_handler(struct MHD_Connection *connection, const char *path,
                                        const char *method, const upload *body, unsigned *code)
{
    query fields; /* only as many as there are get written */
    fields.count = 0;
    MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, on_query_field, &fields);
    const emma_sandbox_pair entries[] = {
        text_pair("method", method, strlen(method)),
        text_pair("path", path, strlen(path)),
        text_pair("body", body->data, body->bytes),
        { text_value("query", strlen("query")),
          { .type = EMMA_SANDBOX_PAIRS, .as.pairs = { fields.fields, fields.count } } },
    };
    const emma_sandbox_value request = {
        .type = EMMA_SANDBOX_PAIRS,
        .as.pairs = { entries, sizeof entries / sizeof entries[0] },
    };
    return handler_answer(&request, code);
}

/* / and what it asks for. */
static struct MHD_Response *answer_page(struct MHD_Connection *connection, const char *path,
                                        unsigned *code)
{
    static const char not_here[] = "the live page is at an address or localhost only\n";
    if (page_is_for(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)))
        return page_answer(path);
    *code = MHD_HTTP_FORBIDDEN;
    return handler_text(not_here, sizeof not_here - 1, text_type);
}

static struct MHD_Response *answer(const service *what, struct MHD_Connection *connection,
                                   const char *path, const char *method, const upload *body,
                                   unsigned *code)
{
    static const char too_large[] = "the body is too large\n", nothing[] = "there is only /\n";
    if (body->too_large) {
        *code = MHD_HTTP_CONTENT_TOO_LARGE;
        return handler_text(too_large, sizeof too_large - 1, text_type);
    }
    const bool reads =
        strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (what->has_page && reads && page_has(path))
        return answer_page(connection, path, code);
    if (strcmp(path, "/stats") == 0)
        return handler_stats();
    if (what->has_handler)
        return run_handler(connection, path, method, body, code);
    *code = MHD_HTTP_NOT_FOUND;
    return handler_text(nothing, sizeof nothing - 1, text_type);
}

/* Called with the head of a request, with each part of its body, and once more at its end. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **context)
{
    upload *body = *context;
    (void)version;
    if (!body) {
        *context = calloc(1, sizeof *body);
        return *context ? MHD_YES : MHD_NO;
    }
    if (*data_bytes) {
        upload_add(body, data, *data_bytes);
        *data_bytes = 0;
        return MHD_YES;
    }
    unsigned code = MHD_HTTP_OK;
    struct MHD_Response *response = answer(arg, connection, path, method, body, &code);
    if (!response)
        return MHD_NO;
    const enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- The server ---- */

/* Opens the port on the loopback interface; the setting is the one that it got. */
static int listen_on_port(struct setting *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port->value),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    const int on = 1;
    const int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(file, (struct sockaddr *)&address, bytes) != 0 || listen(file, SOMAXCONN) != 0 ||
        getsockname(file, (struct sockaddr *)&address, &bytes) != 0) {
        fprintf(stderr, "pool_server: port %d of 127.0.0.1: %s\n", (int)port->value,
                strerror(errno));
        exit(EXIT_FAILURE);
    }
    port->value = ntohs(address.sin_port);
    return file;
}

static struct MHD_Daemon *start_daemon(int file, unsigned threads, const service *what)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, (void *)(uintptr_t)what,
        MHD_OPTION_LISTEN_SOCKET, file, MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        NULL, MHD_OPTION_END);
    if (!daemon) {
        fputs("pool_server: the server cannot be started\n", stderr);
        exit(EXIT_FAILURE);
    }
    return daemon;
}

/* Before the first sandbox is made. */
static void start_export(void)
{
    const int error = emma_export_start();
    if (error)
        fprintf(stderr, "pool_server: --export: nothing is shown to 'emma top': %s\n",
                strerror(error));
}

/* A second signal ends the program at once, should a handler without isolation run for ever. */
static void wait_for_end(const sigset_t *ends)
{
    int number;
    sigwait(ends, &number);
    pthread_sigmask(SIG_UNBLOCK, ends, NULL);
}

int main(int count, char **arguments)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    const handler_options options = parse_options(count, arguments);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* in all threads: they are made later */
    signal(SIGPIPE, SIG_IGN);

    if (options.exports)
        start_export();
    if (!handler_start(&options, message)) {
        fprintf(stderr, "pool_server: %s: %s\n", options.file, message);
        return EXIT_FAILURE;
    }
    const bool has_own_page = settings[PAGE].value <= PORT_MAX;
    const service main_service = { .has_page = !has_own_page, .has_handler = true };
    const service page_service = { .has_page = true };
    const int file = listen_on_port(&settings[PORT]);
    const int page_file = has_own_page ? listen_on_port(&settings[PAGE]) : -1;
    struct MHD_Daemon *daemon =
        start_daemon(file, (unsigned)settings[THREADS].value, &main_service);
    struct MHD_Daemon *page_daemon =
        has_own_page ? start_daemon(page_file, 1, &page_service) : NULL;
    printf("http://127.0.0.1:%d/\n", (int)settings[PORT].value);
    if (has_own_page)
        printf("live page: http://127.0.0.1:%d/\n", (int)settings[PAGE].value);
    fflush(stdout);
    wait_for_end(&ends);
    MHD_stop_daemon(daemon);
    if (page_daemon)
        MHD_stop_daemon(page_daemon);
    handler_stop();
    return 0;
}
