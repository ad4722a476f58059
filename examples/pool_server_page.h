/* pool_server_page.h - the live page of pool_server: / and what it asks for, /emma/status.json. */
#ifndef POOL_SERVER_PAGE_H
#define POOL_SERVER_PAGE_H

#include <microhttpd.h>
#include <stdbool.h>

/* Whether the page has that path. */
bool page_has(const char *path);

/* Whether a request's Host, with a port or without, is an address or localhost; NULL: none was
 * given. Any other name may be one that a page of somebody else's, in a browser here, has made lead
 * to this server, to read what it answers. */
bool page_is_for(const char *host);

/* A response for such a path, from any thread; NULL: no memory. */
struct MHD_Response *page_answer(const char *path);

#endif
