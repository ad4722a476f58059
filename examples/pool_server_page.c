/* pool_server_page.c - see pool_server_page.h. The page is one of bindings/report: its styles, charts and maps. All
 * that it needs is in it, and its policy lets it talk to nobody but this server. Texts of scripts reach it as JSON, and
 * are put in as text. */
#define _GNU_SOURCE
#include "pool_server_page.h"

#include "emma_report.h"
#include "pool_server_handler.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

/* The folder of this file. */
#ifndef POOL_SERVER_DIR
#define POOL_SERVER_DIR "examples"
#endif

EMMA_REPORT_PART(live_page, POOL_SERVER_DIR "/pool_server_page.html");
EMMA_REPORT_PART(live_style, POOL_SERVER_DIR "/pool_server_page.css");
EMMA_REPORT_PART(live_script, POOL_SERVER_DIR "/pool_server_page.js");

#define POLICY_BYTES 256
static const char policy_format[] =
    "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char status_path[] = "/emma/status.json";

bool page_has(const char *path)
{
    return strcmp(path, "/") == 0 || strcmp(path, status_path) == 0;
}

/* Whether the part up to the port is a name or address that leads to this machine by itself. */
static bool is_own_name(const char *host, size_t bytes)
{
    char name[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const bool has_brackets = bytes >= 2 && host[0] == '[' && host[bytes - 1] == ']';
    if (has_brackets) {
        host++;
        bytes -= 2;
    }
    if (bytes >= sizeof name)
        return false;
    memcpy(name, host, bytes);
    name[bytes] = '\0';
    if (has_brackets)
        return inet_pton(AF_INET6, name, &address) == 1;
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1;
}

bool page_is_for(const char *host)
{
    if (!host)
        return true;
    const char *port = strrchr(host, ':');
    const bool has_port = port && port[1 + strspn(port + 1, "0123456789")] == '\0';
    return is_own_name(host, has_port ? (size_t)(port - host) : strlen(host));
}

static void out_page(emma_report_out *out, char policy[POLICY_BYTES])
{
    char nonce[EMMA_REPORT_NONCE_BYTES];
    const emma_report_part parts[] = {
        { .name = "live_style", .text = emmai_part_live_style },
        { .name = "live_script", .text = emmai_part_live_script },
    };
    emmai_out_nonce(nonce);
    snprintf(policy, POLICY_BYTES, policy_format, nonce, nonce);
    emmai_out_page(out, emmai_part_live_page, nonce, parts, sizeof parts / sizeof parts[0]);
}

static void add_headers(struct MHD_Response *response, const char *type, const char *policy)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (*policy)
        MHD_add_response_header(response, "Content-Security-Policy", policy);
}

struct MHD_Response *page_answer(const char *path)
{
    const bool is_status = strcmp(path, status_path) == 0;
    char policy[POLICY_BYTES] = "";
    emma_report_out out = { .descriptor = memfd_create("answer", MFD_CLOEXEC) };
    if (out.descriptor < 0)
        return NULL;
    if (is_status)
        handler_status(&out);
    else
        out_page(&out, policy);
    emmai_out_flush(&out);
    const off_t bytes = lseek(out.descriptor, 0, SEEK_END);
    struct MHD_Response *response =
        out.error || bytes < 0 ? NULL : MHD_create_response_from_fd((size_t)bytes, out.descriptor);
    if (!response) {
        close(out.descriptor);
        return NULL;
    }
    add_headers(response, is_status ? "application/json" : "text/html; charset=utf-8", policy);
    return response;
}
