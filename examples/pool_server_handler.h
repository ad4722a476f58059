/* pool_server_handler.h - runs the Lua function handle() of pool_server, in a pool of sandboxes or
 * in one plain state per thread, and makes an HTTP response of what it returns. */
#ifndef POOL_SERVER_HANDLER_H
#define POOL_SERVER_HANDLER_H

#include <microhttpd.h>

#include "emma_report.h"
#include "emma_sandbox_pool.h"

typedef struct handler_options {
    const char *file; /* Lua that defines handle() */
    size_t limit_bytes;
    uint64_t instructions;
    uint64_t deadline_us;
    size_t threads;   /* for so many, sandboxes are ready from the start */
    size_t sandboxes; /* that there are at most */
    bool exports;     /* each sandbox is shown to `emma top` */
    bool isolated;    /* false: no sandboxes, a lua_State per thread */
} handler_options;

/* Loads the file; the options are not copied. false: `message` tells why it could not be. */
bool handler_start(const handler_options *options, char message[EMMA_SANDBOX_MESSAGE_BYTES]);

/* After the last request, and after the threads that made requests have ended. */
void handler_stop(void);

/* Runs handle(request), from any thread. *code is the status of HTTP; NULL: no memory. */
struct MHD_Response *handler_answer(const emma_sandbox_value *request, unsigned *code);

/* A response that is a text of the server's own. */
struct MHD_Response *handler_text(const char *text, size_t bytes, const char *type);

/* All that is counted, as JSON. */
struct MHD_Response *handler_stats(void);

/* The same and what the live page shows beside it, as JSON; the page counts as looked at then. */
void handler_status(emma_report_out *out);

#endif
