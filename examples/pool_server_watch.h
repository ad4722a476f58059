/* pool_server_watch.h - what the live page of pool_server shows beside the figures that are counted anyway: times of
 * requests, the last failures, and each sandbox's map and figures.
 *
 * Nobody waits for who looks. Times and maps are noted only while somebody does. A request that ends leaves the map of
 * its sandbox, which is its thread's until then, at most once from look to look, and not if the lock is taken; of
 * sandboxes that no request had since the last look, the look takes the maps itself, while they are idle. */
#ifndef POOL_SERVER_WATCH_H
#define POOL_SERVER_WATCH_H

#include "emma_report.h"
#include "emma_sandbox_pool.h"

/* For the pool's options: a sandbox is known from when it is prepared until it is destroyed. */
enum emma_sandbox_status watch_prepare(void *arg, emma_sandbox *sandbox);

/* Nanoseconds; 0: nobody looks. */
uint64_t watch_begin(void);

/* The request that began then has its answer. */
void watch_end(uint64_t begin);

/* In the thread that leased it, after the request and before the release. */
void watch_leave(emma_sandbox *sandbox);

/* Texts are copied, and cut where they are long. */
void watch_failure(const char *reason, const char *method, const char *path, const char *message);

/* Members of an object: times, failures, sandboxes. NULL: there is no pool. */
void watch_look(emma_report_out *out, emma_sandbox_pool *pool);

#endif
