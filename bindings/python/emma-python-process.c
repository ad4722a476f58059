/* emma-python-process.c - the process around Python: when the library takes over, and what it says.
 *
 * Preloaded, it is there before Python is: nothing of Python is called here but what may be called before
 * and after. It goes to whatever program the user starts, and to those that this one starts; those that are
 * not Python it leaves alone. */
#include "emma-python.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY_NAME "libemma-python"

/* Which process emma came to serve; 0: none. A child of a fork does not report. */
static pid_t first_process;

void emmai_python_note_start(void)
{
    first_process = getpid();
}

/* ---- messages ---- */

/* What may come with a block: its slab's page, and pages of metadata. */
#define REFUSAL_SLACK_BYTES ((size_t)256 << 10)

void emmai_python_tell_refusal(emma *instance, size_t bytes, bool is_running)
{
    static bool told;
    if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
        return;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    const bool is_limited =
        stats.limit_bytes - stats.spare_bytes - stats.footprint_bytes < bytes + REFUSAL_SLACK_BYTES;
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text,
                          is_limited ? "the limit of " : "the system, or the address space of ");
    emmai_malloc_text_size(&text, is_limited ? stats.limit_bytes : stats.reserve_bytes, 0);
    emmai_malloc_text_add(&text, " refused a request for ");
    emmai_malloc_text_size(&text, bytes, 0);
    emmai_malloc_text_add(&text, " (footprint ");
    emmai_malloc_text_size(&text, stats.footprint_bytes, 0);
    if (stats.spare_bytes) {
        emmai_malloc_text_add(&text, ", and ");
        emmai_malloc_text_size(&text, stats.spare_bytes, 0);
        emmai_malloc_text_add(&text, " held back for this");
    }
    emmai_malloc_text_say(&text, is_running ? "): MemoryError"
                                            : "): too little for Python to start or to end");
}

static const char *domain_name(unsigned domain)
{
    return domain == EMMA_PYTHON_RAW ? "raw" : domain == EMMA_PYTHON_MEM ? "mem" : "obj";
}

/* Another allocator that Python put in the place of this one, after it was asked for. */
static void tell_displaced(void)
{
    const char *asked = getenv("PYTHONMALLOC");
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "did not serve ");
    bool any = false;
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        if (!look.wanted || look.serves)
            continue;
        emmai_malloc_text_add(&text, any ? ", " : "");
        emmai_malloc_text_add(&text, domain_name(domain));
        any = true;
    }
    if (!any)
        return;
    if (asked && asked[0]) {
        emmai_malloc_text_add(&text, ": PYTHONMALLOC=");
        emmai_malloc_text_add(&text, asked);
        emmai_malloc_text_say(&text, " chose another allocator; unset it");
    } else {
        emmai_malloc_text_say(
            &text,
            ": another allocator took its place; Python's development mode (-X dev, PYTHONDEVMODE) "
            "does that, and a second Py_Initialize");
    }
}

/* ---- figures ---- */

#define STATUS_BYTES 4096

/* Bytes of the process's memory that is no file's, as the kernel counts it; 0 where it does not tell. */
static size_t anonymous_bytes(void)
{
    char status[STATUS_BYTES];
    const int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const ssize_t got = descriptor < 0 ? 0 : read(descriptor, status, sizeof status - 1);
    if (descriptor >= 0)
        close(descriptor);
    status[got > 0 ? got : 0] = '\0';
    const char *line = strstr(status, "\nRssAnon:");
    return line ? (size_t)strtoull(line + sizeof "\nRssAnon:" - 1, NULL, 10) << 10 : 0;
}

/* What of it is not the instance's: the C library's malloc, stacks, data of libraries. */
static size_t outside_bytes(const emma_stats *stats)
{
    const size_t all = anonymous_bytes();
    return all > stats->footprint_bytes ? all - stats->footprint_bytes : 0;
}

void emmai_python_add_figures(malloc_text *text, const emma_stats *stats)
{
    emmai_malloc_text_add(text, "  outside             ");
    emmai_malloc_text_size(text, outside_bytes(stats), 12);
    emmai_malloc_text_add(text, "   not Python's, so not seen by the limit\n");
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        emmai_malloc_text_add(text, "  domain ");
        emmai_malloc_text_add(text, domain_name(domain));
        emmai_malloc_text_add(text, !look.wanted   ? "                 not asked for\n"
                                    : !look.serves ? "                     displaced\n"
                                                   : "                          emma\n");
    }
}

/* ---- the report ---- */

static void json_number(FILE *file, const char *name, uint64_t number)
{
    fprintf(file, "  \"%s\": %" PRIu64 ",\n", name, number);
}

static void json_size(FILE *file, const char *name, size_t bytes)
{
    if (bytes == EMMA_UNLIMITED)
        fprintf(file, "  \"%s\": null,\n", name);
    else
        json_number(file, name, bytes);
}

static void json_domains(FILE *file)
{
    fputs("  \"domains\": {\n", file);
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        fprintf(file,
                "    \"%s\": { \"wanted\": %s, \"serves\": %s, \"older_freed\": %" PRIu64
                ", \"older_resized\": %" PRIu64 " }%s\n",
                domain_name(domain), look.wanted ? "true" : "false", look.serves ? "true" : "false",
                look.older_freed, look.older_resized, domain == EMMA_PYTHON_OBJ ? "" : ",");
    }
    fputs("  },\n", file);
}

static void json_classes(FILE *file, const emma *instance)
{
    emma_class_stats class = { .struct_bytes = sizeof class };
    const char *before = "";
    fputs("  \"classes\": [\n", file);
    for (unsigned i = 0; emma_get_class_stats(instance, i, &class); i++) {
        if (!class.slabs && !class.footprint_bytes)
            continue;
        fprintf(
            file,
            "%s    { \"block_bytes\": %zu, \"live_blocks\": %zu, \"free_blocks\": %zu, \"slabs\": "
            "%zu, \"footprint_bytes\": %zu }",
            before, class.block_bytes, class.live_blocks, class.free_blocks, class.slabs,
            class.footprint_bytes);
        before = ",\n";
    }
    fputs("\n  ]\n", file);
}

static void json_report(FILE *file, const emma *instance)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    fprintf(file, "{\n  \"emma\": \"%s\",\n", emma_version());
    json_number(file, "process", (uint64_t)getpid());
    json_size(file, "limit_bytes", stats.limit_bytes);
    json_size(file, "soft_limit_bytes", stats.soft_limit_bytes);
    json_size(file, "spare_bytes", stats.spare_bytes);
    json_size(file, "reserve_bytes", stats.reserve_bytes);
    json_size(file, "peak_footprint_bytes", stats.peak_footprint_bytes);
    json_size(file, "footprint_bytes", stats.footprint_bytes);
    json_size(file, "live_bytes", stats.live_bytes);
    json_size(file, "live_blocks", stats.live_blocks);
    json_size(file, "large_bytes", stats.large_bytes);
    json_size(file, "large_blocks", stats.large_blocks);
    json_size(file, "retained_bytes", stats.retained_bytes);
    json_size(file, "metadata_bytes", stats.metadata_bytes);
    json_size(file, "outside_bytes", outside_bytes(&stats));
    json_number(file, "moved_bytes", stats.moved_bytes);
    json_number(file, "returned_bytes", stats.returned_bytes);
    json_number(file, "refused_count", stats.refused_count);
    json_domains(file);
    json_classes(file, instance);
    fputs("}\n", file);
}

/* How a report begins, between these its version; what begins otherwise is never written over. */
#define REPORT_HEAD "{\n  \"emma\": \""
#define REPORT_NEXT "\",\n  \"process\": "
/* Longer than a version is. */
#define REPORT_VERSION_BYTES 32

static bool is_report(int descriptor)
{
    char head[sizeof REPORT_HEAD + REPORT_VERSION_BYTES + sizeof REPORT_NEXT];
    const ssize_t got = pread(descriptor, head, sizeof head - 1, 0);
    head[got > 0 ? got : 0] = '\0';
    if (strncmp(head, REPORT_HEAD, sizeof REPORT_HEAD - 1) != 0)
        return false;
    const char *version = head + sizeof REPORT_HEAD - 1;
    const char *next = version + strspn(version, "0123456789.");
    return strncmp(next, REPORT_NEXT, sizeof REPORT_NEXT - 1) == 0;
}

/* Standard output or error, if it goes to that file; -1. */
static int standard_stream_of(const struct stat *file)
{
    struct stat now;
    for (int descriptor = STDOUT_FILENO; descriptor <= STDERR_FILENO; descriptor++)
        if (fstat(descriptor, &now) == 0 && now.st_dev == file->st_dev &&
            now.st_ino == file->st_ino)
            return descriptor;
    return -1;
}

/* Makes an open file ready for a report: a standard stream as it is, where others go on writing; another file at
 * its end, emptied if that was a report. Closes `descriptor` unless it is what it returns; -1, with *why set,
 * where the file is something else. */
static int prepare_report(int descriptor, const struct stat *file, const char **why)
{
    const int stream = standard_stream_of(file);
    fcntl(descriptor, F_SETFL, O_APPEND);
    if (stream < 0 && (!S_ISREG(file->st_mode) || file->st_size == 0))
        return descriptor;
    if (stream < 0 && is_report(descriptor) && ftruncate(descriptor, 0) == 0)
        return descriptor;
    close(descriptor);
    *why = stream < 0 ? "it is there and is no report" : "standard output is closed";
    return stream < 0 ? -1 : fcntl(stream, F_DUPFD_CLOEXEC, 0);
}

/* Opens the report's file; -1, with *why set, where that cannot be. A pipe that nobody reads is not waited for.
 * What is looked at and emptied is what was opened, whatever the path means by then. */
static int open_report(const char **why)
{
    const char *path = emmai_malloc_report_path;
    const int flags = O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK;
    struct stat file;
    int descriptor = -1;
    if (stat(path, &file) == 0 && !S_ISREG(file.st_mode))
        descriptor = open(path, O_WRONLY | flags, 0666);
    else
        descriptor = open(path, O_RDWR | flags, 0666);
    if (descriptor < 0 || fstat(descriptor, &file) != 0) {
        *why = strerror(errno);
        return descriptor;
    }
    return prepare_report(descriptor, &file, why);
}

/* NULL: it is written; else why not. */
static const char *write_report(const emma *instance)
{
    const char *refused;
    const int descriptor = open_report(&refused);
    if (descriptor < 0)
        return refused;
    FILE *file = fdopen(descriptor, "a");
    if (!file)
        return strerror(errno);
    json_report(file, instance);
    const char *why = fflush(file) != 0 ? strerror(errno) : NULL;
    if (fclose(file) != 0 && !why)
        why = strerror(errno);
    return why;
}

static void report(const emma *instance)
{
    const char *why = write_report(instance);
    if (!why)
        return;
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "no report in ");
    emmai_malloc_text_add(&text, emmai_malloc_report_path);
    emmai_malloc_text_add(&text, ": ");
    emmai_malloc_text_say(&text, why);
}

/* ---- begin and end ---- */

/* Where the name of this library stands in a list of libraries, and how long its whole entry is. */
static char *find_in_list(char *list, size_t *length)
{
    while (*list) {
        list += strspn(list, ": ");
        *length = strcspn(list, ": ");
        char *name = memrchr(list, '/', *length);
        name = name ? name + 1 : list;
        if (strncmp(name, LIBRARY_NAME, sizeof LIBRARY_NAME - 1) == 0 && *length)
            return list;
        list += *length;
    }
    return NULL;
}

/* Programs that this one starts are to be as they would be without emma. */
static void hide_from_children(char *list)
{
    size_t length;
    char *entry = find_in_list(list, &length);
    memmove(entry, entry + length, strlen(entry + length) + 1);
    if (strspn(list, ": ") == strlen(list))
        unsetenv("LD_PRELOAD");
    unsetenv("EMMA_OPTIONS");
}

__attribute__((constructor)) static void begin(void)
{
    size_t length;
    char *list = getenv("LD_PRELOAD");
    if (!list || !find_in_list(list, &length))
        return; /* it was loaded for install() to call */
    const enum emma_status status = emma_python_start(EMMA_PYTHON_ALL);
    const malloc_options *asked = &emmai_malloc_asked;
    if (status == EMMA_UNSUPPORTED)
        return;
    if (status == EMMA_NO_MEMORY) {
        char buffer[MALLOC_LINE_BYTES];
        malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
        emmai_malloc_text_say(&text, "the system refuses it memory: Python goes on without");
    }
    if (!asked->children)
        hide_from_children(list);
}

__attribute__((destructor)) static void end(void)
{
    const emma *instance = emma_python_instance();
    if (!instance || first_process != getpid() || !emmai_malloc_is_to_report())
        return;
    tell_displaced();
    if (emmai_malloc_report_path[0])
        report(instance);
}
