/* bench_child.c - see bench_child.h. */
#define _GNU_SOURCE
#include "bench_child.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROC_BUFFER_BYTES 8192
#define NS_PER_SECOND     INT64_C(1000000000)

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", host_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* Clocks and memory. */

int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

stamp stamp_now(void)
{
    return (stamp){ .wall_ns = clock_ns(CLOCK_MONOTONIC),
                    .cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) };
}

static const char *read_proc(const char *path)
{
    static char buffer[PROC_BUFFER_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("cannot open %s", path);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, buffer + length, sizeof buffer - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    buffer[length] = '\0';
    return buffer;
}

static int64_t proc_field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (at == NULL)
        fail("the kernel does not tell %s", name);
    return strtoll(at + strlen(name), NULL, 10);
}

int64_t minor_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

memory_figures memory_now(void)
{
    memory_figures figures = { .minor_faults = minor_faults() };
    const char *status = read_proc("/proc/self/status");
    figures.page_table_kib = proc_field(status, "\nVmPTE:");
    figures.peak_rss_kib = proc_field(status, "\nVmHWM:");
    const char *sums = read_proc("/proc/self/smaps_rollup");
    figures.rss_kib = proc_field(sums, "\nRss:");
    figures.anonymous_kib = proc_field(sums, "\nAnonymous:");
    return figures;
}

int64_t mapping_count(void)
{
    static char buffer[PROC_BUFFER_BYTES];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int64_t lines = 0;
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            lines += buffer[i] == '\n';
    }
    close(fd);
    return lines;
}

/* The JSON object, written member by member. */

int json_fd = STDERR_FILENO;

static const char *json_separator = "{";

void json_name(const char *name)
{
    dprintf(json_fd, "%s\"%s\": ", json_separator, name);
    json_separator = ", ";
}

void json_integer(const char *name, int64_t value)
{
    json_name(name);
    dprintf(json_fd, "%" PRId64, value);
}

void json_text(const char *name, const char *value)
{
    json_name(name);
    dprintf(json_fd, "\"");
    for (; *value != '\0'; value++)
        dprintf(json_fd, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    dprintf(json_fd, "\"");
}

void json_phase(const char *name, stamp from, stamp to)
{
    json_name(name);
    dprintf(json_fd, "{\"wall_ns\": %" PRId64 ", \"cpu_ns\": %" PRId64 "}",
            to.wall_ns - from.wall_ns, to.cpu_ns - from.cpu_ns);
}

void json_memory(const char *name, memory_figures figures)
{
    json_name(name);
    dprintf(json_fd,
            "{\"rss_kib\": %" PRId64 ", \"page_table_kib\": %" PRId64 ", \"peak_rss_kib\": %" PRId64
            ", \"minor_faults\": %" PRId64 "}",
            figures.rss_kib, figures.page_table_kib, figures.peak_rss_kib, figures.minor_faults);
}

void json_list(const char *name, const int64_t *values, unsigned count)
{
    json_name(name);
    for (unsigned i = 0; i < count; i++)
        dprintf(json_fd, "%s%" PRId64, i == 0 ? "[" : ", ", values[i]);
    dprintf(json_fd, "]");
}

void json_malloc_from(void)
{
    Dl_info libc_malloc = { 0 };
    void *(*address)(size_t) = malloc;
    void *plain;
    memcpy(&plain, &address, sizeof plain);
    dladdr(plain, &libc_malloc);
    json_text("libc_malloc_from", libc_malloc.dli_fname != NULL ? libc_malloc.dli_fname : "");
}

void json_end(void)
{
    dprintf(json_fd, "}\n");
}
