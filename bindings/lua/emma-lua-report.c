/* emma-lua-report.c - what a run took of memory: --stats for people, --report for programs.
 *
 * The report is written beside its place and renamed into it, so that whoever reads the place sees
 * a whole report or the one before. Only a report (or an empty file) is ever replaced. What is no
 * regular file, or is open already as a stream of this process, is held from the start and written
 * to as it is: a rename would take it away from others. */
#define _XOPEN_SOURCE 700 /* realpath, mkstemp */
#include "emma-lua.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_REPORT_MODE   0666 /* before the user's umask */
#define MODE_BITS         0777
#define SHELL_DESCRIPTORS 10 /* a shell can redirect those below */
#define NANOSECONDS       1e-9

#define REPORT_START   "{\n  \"emma_version\": \"" /* what tells a report from other files */
#define TEMPORARY_NAME "/.emma-lua.XXXXXX"

static int report_descriptor = -1; /* where to write; -1: into the place */
static char *report_place;         /* absolute: the script may change directories */
static char *report_directory;     /* the place's */
static bool report_replaces;       /* report_before was there at the start */
static struct stat report_before;
static mode_t report_mode;

static bool report_failed(const char *what)
{
    fprintf(stderr, "%s: --report: cannot write '%s': %s\n", emmai_cli.program,
            emmai_cli.options.report_path, what);
    return false;
}

/* Copies a descriptor to where no redirection of the script's commands meets it. False: a message
 * has been printed. */
static bool hold(int descriptor)
{
    report_descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, SHELL_DESCRIPTORS);
    return report_descriptor >= 0 || report_failed(strerror(errno));
}

/* The stream of this process that writes to the file; -1: none does. */
static int find_stream(const struct stat *file)
{
    struct stat stream;
    for (int i = STDOUT_FILENO; i < SHELL_DESCRIPTORS; i++)
        if (fstat(i, &stream) == 0 && stream.st_dev == file->st_dev &&
            stream.st_ino == file->st_ino && (fcntl(i, F_GETFL) & O_ACCMODE) != O_RDONLY)
            return i;
    return -1;
}

/* A pipe, a terminal, a device. */
static bool hold_special(const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0 && errno == ENXIO && S_ISFIFO(report_before.st_mode))
        return report_failed("nothing reads from this pipe");
    if (descriptor < 0)
        return report_failed(strerror(errno));
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
    bool held = hold(descriptor);
    close(descriptor);
    return held;
}

static char *join(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + 1;
    char *path = malloc(bytes);
    if (path != NULL)
        snprintf(path, bytes, "%s%s", directory, name);
    return path;
}

/* Fills in report_directory and report_place. False: errno says why not. */
static bool resolve_place(const char *path)
{
    char *whole = report_replaces ? realpath(path, NULL) : strdup(path);
    char *copy = whole != NULL ? strdup(whole) : NULL;
    report_directory = copy != NULL ? realpath(dirname(copy), NULL) : NULL;
    char *name = report_directory != NULL ? join("/", basename(whole)) : NULL;
    report_place = name != NULL ? join(report_directory, name) : NULL;
    int error = errno;
    free(name);
    free(copy);
    free(whole);
    errno = error;
    return report_place != NULL;
}

/* Makes the file that is to be renamed into the place, and its name. -1: a message has been
 * printed. */
static int make_temporary(char **name)
{
    *name = join(report_directory, TEMPORARY_NAME);
    int descriptor = *name != NULL ? mkstemp(*name) : -1;
    if (descriptor >= 0)
        return descriptor;
    fprintf(stderr, "%s: --report: cannot write '%s': no file can be made in '%s': %s\n",
            emmai_cli.program, emmai_cli.options.report_path, report_directory, strerror(errno));
    free(*name);
    return -1;
}

/* Why a regular file must not be replaced, as it is no report: more likely it is a script whose
 * name stands where the report's was forgotten. NULL: it may be. */
static const char *why_keep(const char *path)
{
    char start[sizeof REPORT_START - 1];
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = descriptor >= 0 ? read(descriptor, start, sizeof start) : -1;
    if (descriptor >= 0)
        close(descriptor);
    if (count < 0)
        return "the file is there and cannot be read, so it may be no report";
    if (count == 0 || (count == sizeof start && memcmp(start, REPORT_START, sizeof start) == 0))
        return NULL;
    return "the file is there and is no report";
}

/* Whether the place is as it was found. NULL: it is; else what happened. */
static const char *why_not_replace(void)
{
    struct stat now;
    if (lstat(report_place, &now) != 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!report_replaces || !S_ISREG(now.st_mode) || now.st_dev != report_before.st_dev ||
        now.st_ino != report_before.st_ino)
        return "another file has come there since the start";
    return why_keep(report_place);
}

static bool prepare_place(const char *path)
{
    const char *why = NULL;
    struct stat link;
    if (!report_replaces && lstat(path, &link) == 0)
        return report_failed("it is a link to a file that is not there");
    if (!report_replaces && path[strlen(path) - 1] == '/')
        return report_failed(strerror(ENOENT));
    if (report_replaces && access(path, W_OK) != 0)
        return report_failed(strerror(errno));
    if (report_replaces && (why = why_keep(path)) != NULL)
        return report_failed(why);
    if (!resolve_place(path))
        return report_failed(strerror(errno));
    mode_t mask = umask(0);
    umask(mask);
    report_mode = report_replaces ? report_before.st_mode & MODE_BITS : NEW_REPORT_MODE & ~mask;

    char *temporary;
    int descriptor = make_temporary(&temporary);
    if (descriptor < 0)
        return false;
    close(descriptor);
    unlink(temporary);
    free(temporary);
    return true;
}

bool emmai_report_prepare(void)
{
    const char *path = emmai_cli.options.report_path;
    if (path == NULL)
        return true;
    if (path[0] == '\0')
        return report_failed("the name is empty");
    if (strcmp(path, "-") == 0)
        return report_failed("it names no file (the standard output is /dev/stdout)");
    report_replaces = stat(path, &report_before) == 0;
    if (!report_replaces && errno != ENOENT)
        return report_failed(strerror(errno));
    if (!report_replaces)
        return prepare_place(path);
    if (S_ISDIR(report_before.st_mode))
        return report_failed(strerror(EISDIR));
    int stream = find_stream(&report_before);
    if (stream >= 0)
        return hold(stream);
    return S_ISREG(report_before.st_mode) ? prepare_place(path) : hold_special(path);
}

static double seconds_since(const struct timespec *start, clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)(now.tv_sec - start->tv_sec) +
           (double)(now.tv_nsec - start->tv_nsec) * NANOSECONDS;
}

void emmai_report_take_figures(void)
{
    interpreter *self = &emmai_cli;
    if (self->instance == NULL || (!self->options.show_stats && self->options.report_path == NULL))
        return;
    emma_class_stats class = { .struct_bytes = sizeof class };
    unsigned count = 0;
    self->figures = (emma_stats){ .struct_bytes = sizeof self->figures };
    emma_get_stats(self->instance, &self->figures);
    while (emma_get_class_stats(self->instance, count, &class))
        count++;
    free(self->classes);
    self->classes = calloc(count, sizeof *self->classes);
    self->class_count = self->classes != NULL ? count : 0;
    for (unsigned i = 0; i < self->class_count; i++) {
        self->classes[i].struct_bytes = sizeof class;
        emma_get_class_stats(self->instance, i, &self->classes[i]);
    }
    self->figures_taken = true;
}

const char *emmai_report_size(char text[SIZE_TEXT_BYTES], size_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;
    double amount = (double)bytes;
    while (amount >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        amount /= 1024;
        unit++;
    }
    if (bytes == EMMA_UNLIMITED)
        snprintf(text, SIZE_TEXT_BYTES, "none");
    else if (unit == 0)
        snprintf(text, SIZE_TEXT_BYTES, "%zu %s", bytes, units[unit]);
    else
        snprintf(text, SIZE_TEXT_BYTES, "%.1f %s", amount, units[unit]);
    return text;
}

static size_t class_waste(const emma_class_stats *class)
{
    size_t live = class->live_blocks * class->block_bytes;
    return class->footprint_bytes > live ? class->footprint_bytes - live : 0;
}

static void print_line(const char *label, size_t bytes, const char *note)
{
    char text[SIZE_TEXT_BYTES];
    fprintf(stderr, "  %-24s %12s   %s\n", label, emmai_report_size(text, bytes), note);
}

static void print_classes(void)
{
    fprintf(stderr, "  %10s %12s %12s %8s %12s %12s\n", "block size", "live blocks", "free blocks",
            "slabs", "footprint", "waste");
    for (size_t i = 0; i < emmai_cli.class_count; i++) {
        const emma_class_stats *class = &emmai_cli.classes[i];
        char footprint[SIZE_TEXT_BYTES], waste[SIZE_TEXT_BYTES];
        if (class->footprint_bytes == 0 && class->slabs == 0)
            continue;
        fprintf(stderr, "  %10zu %12zu %12zu %8zu %12s %12s\n", class->block_bytes,
                class->live_blocks, class->free_blocks, class->slabs,
                emmai_report_size(footprint, class->footprint_bytes),
                emmai_report_size(waste, class_waste(class)));
    }
}

static void print_stats(const int *exit_status)
{
    const interpreter *self = &emmai_cli;
    const emma_stats *figures = &self->figures;
    char note[64];
    fprintf(stderr, "%s: memory of this run (emma %s, %s)\n", self->program, emma_version(),
            LUA_RELEASE);
    print_line("limit", self->options.limit_bytes, "");
    print_line("soft limit", self->options.soft_limit_bytes,
               self->soft_limit_crossed ? "was crossed" : "");
    if (self->spare_bytes != 0)
        print_line("kept for error paths", self->spare_bytes, "part of the limit");
    print_line("peak footprint", figures->peak_footprint_bytes, "the most memory it ever had");
    print_line("footprint at the end", figures->footprint_bytes, "of that:");
    snprintf(note, sizeof note, "in %zu blocks", figures->live_blocks);
    print_line("  live", figures->live_bytes, note);
    snprintf(note, sizeof note, "in %zu blocks with a run of their own", figures->large_blocks);
    print_line("    large", figures->large_bytes, note);
    print_line("  retained", figures->retained_bytes, "free, kept for reuse");
    print_line("  metadata", figures->metadata_bytes, "emma's own");
    print_line("address space", figures->reserve_bytes, "reserved");
    print_line("moved", (size_t)figures->moved_bytes, "copied by reallocs that could not stay");
    print_line("returned", (size_t)figures->returned_bytes,
               "given back to the kernel while it ran");
    fprintf(stderr, "  %-24s %12" PRIu64 "   %s\n", "requests refused", figures->refused_count,
            figures->refused_count != 0 ? "by the limit or the kernel" : "");
    fprintf(stderr, "  %-24s %10.3f s   CPU %.3f s\n", "run time", self->run_seconds,
            self->cpu_seconds);
    if (exit_status != NULL)
        fprintf(stderr, "  %-24s %12d\n", "exit status", *exit_status);
    print_classes();
}

/* The bytes of a well-formed UTF-8 sequence at `text` longer than a byte; 0: there is none. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] >= 0xF0 && text[0] <= 0xF4   ? 4
                    : text[0] >= 0xE0 && text[0] <= 0xEF ? 3
                    : text[0] >= 0xC2 && text[0] <= 0xDF ? 2
                                                         : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F) ||
        (text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))
        return 0; /* longer than needed, a surrogate, or beyond the last code point */
    return length;
}

/* A file's name may be any bytes, JSON only UTF-8: what is none becomes the replacement
 * character. */
static void json_string(FILE *file, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    fputc('"', file);
    while (*at != '\0') {
        size_t length = *at < 0x80 ? 1 : utf8_length(at);
        if (*at == '"' || *at == '\\')
            fprintf(file, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7F)
            fprintf(file, "\\u%04x", *at);
        else if (length == 0)
            fputs("\\ufffd", file);
        else
            fwrite(at, 1, length, file);
        at += length != 0 ? length : 1;
    }
    fputc('"', file);
}

static void json_size(FILE *file, const char *name, size_t bytes)
{
    if (bytes == EMMA_UNLIMITED)
        fprintf(file, "  \"%s\": null,\n", name);
    else
        fprintf(file, "  \"%s\": %zu,\n", name, bytes);
}

static void json_classes(FILE *file)
{
    const char *separator = "";
    fputs("  \"classes\": [", file);
    for (size_t i = 0; i < emmai_cli.class_count; i++) {
        const emma_class_stats *class = &emmai_cli.classes[i];
        fprintf(file,
                "%s\n    {\"block_bytes\": %zu, \"live_blocks\": %zu, \"free_blocks\": %zu, "
                "\"slabs\": %zu, "
                "\"footprint_bytes\": %zu, \"waste_bytes\": %zu}",
                separator, class->block_bytes, class->live_blocks, class->free_blocks, class->slabs,
                class->footprint_bytes, class_waste(class));
        separator = ",";
    }
    fputs("\n  ]\n", file);
}

static void json_report(FILE *file, const int *exit_status)
{
    const interpreter *self = &emmai_cli;
    const emma_stats *figures = &self->figures;
    fprintf(file, REPORT_START "%s\",\n  \"lua_version\": \"%s\",\n  \"script\": ", emma_version(),
            LUA_RELEASE);
    if (self->options.script < self->argc)
        json_string(file, self->argv[self->options.script]);
    else
        fputs("null", file);
    fputs(",\n", file);
    if (exit_status != NULL)
        fprintf(file, "  \"exit_status\": %d,\n", *exit_status);
    else
        fputs("  \"exit_status\": null,\n", file);
    fprintf(file, "  \"run_seconds\": %.6f,\n  \"cpu_seconds\": %.6f,\n", self->run_seconds,
            self->cpu_seconds);
    json_size(file, "limit_bytes", self->options.limit_bytes);
    json_size(file, "soft_limit_bytes", self->options.soft_limit_bytes);
    fprintf(file, "  \"soft_limit_crossed\": %s,\n", self->soft_limit_crossed ? "true" : "false");
    json_size(file, "spare_bytes", self->spare_bytes);
    json_size(file, "reserve_bytes", figures->reserve_bytes);
    json_size(file, "peak_footprint_bytes", figures->peak_footprint_bytes);
    json_size(file, "footprint_bytes", figures->footprint_bytes);
    json_size(file, "live_bytes", figures->live_bytes);
    json_size(file, "live_blocks", figures->live_blocks);
    json_size(file, "large_bytes", figures->large_bytes);
    json_size(file, "large_blocks", figures->large_blocks);
    json_size(file, "retained_bytes", figures->retained_bytes);
    json_size(file, "metadata_bytes", figures->metadata_bytes);
    json_size(file, "mapping_count", figures->mapping_count);
    fprintf(file, "  \"moved_bytes\": %" PRIu64 ",\n  \"returned_bytes\": %" PRIu64 ",\n",
            figures->moved_bytes, figures->returned_bytes);
    fprintf(file, "  \"refused_count\": %" PRIu64 ",\n  \"reentered_count\": %" PRIu64 ",\n",
            figures->refused_count, figures->reentered_count);
    json_classes(file);
    fputs("}\n", file);
}

/* Writes and closes. NULL: all of it is written; else why not. */
static const char *write_json(int descriptor, const int *exit_status)
{
    FILE *file = fdopen(descriptor, "w");
    if (file == NULL) {
        const char *no_memory = strerror(errno);
        close(descriptor);
        return no_memory;
    }
    json_report(file, exit_status);
    const char *why = fflush(file) != 0 || ferror(file) ? strerror(errno) : NULL;
    if (fclose(file) != 0 && why == NULL)
        why = strerror(errno);
    return why;
}

static const char *set_owner_and_mode(int descriptor)
{
    if (report_replaces && fchown(descriptor, report_before.st_uid, report_before.st_gid) != 0 &&
        errno != EPERM)
        return strerror(errno);
    return fchmod(descriptor, report_mode) == 0 ? NULL : strerror(errno);
}

static bool write_into_stream(const int *exit_status)
{
    const char *why = write_json(report_descriptor, exit_status);
    return why == NULL || report_failed(why);
}

static bool write_place(const int *exit_status)
{
    char *temporary;
    int descriptor = make_temporary(&temporary);
    if (descriptor < 0)
        return false;
    const char *why = set_owner_and_mode(descriptor);
    if (why == NULL)
        why = write_json(descriptor, exit_status);
    else
        close(descriptor);
    if (why == NULL)
        why = why_not_replace();
    if (why == NULL && rename(temporary, report_place) != 0)
        why = strerror(errno);
    if (why != NULL)
        unlink(temporary);
    free(temporary);
    return why == NULL || report_failed(why);
}

/* A reader that has gone and a limit on the size of files are errors here, not the end. */
static bool write_report(const int *exit_status)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    struct sigaction pipe_before, size_before;
    sigaction(SIGPIPE, &ignore, &pipe_before);
    sigaction(SIGXFSZ, &ignore, &size_before);
    bool written =
        report_descriptor >= 0 ? write_into_stream(exit_status) : write_place(exit_status);
    sigaction(SIGPIPE, &pipe_before, NULL);
    sigaction(SIGXFSZ, &size_before, NULL);
    return written;
}

bool emmai_report_finish(const int *exit_status)
{
    interpreter *self = &emmai_cli;
    static const struct timespec epoch; /* where the clock of the CPU starts */
    if (self->reported || getpid() != self->pid)
        return true;
    self->reported = true;
    if (!self->options.show_stats && self->options.report_path == NULL)
        return true;
    if (self->instance != NULL)
        emmai_report_take_figures();
    self->run_seconds = seconds_since(&self->start, CLOCK_MONOTONIC);
    self->cpu_seconds = seconds_since(&epoch, CLOCK_PROCESS_CPUTIME_ID);
    fflush(NULL); /* the program's last words come first, and files have what it wrote */
    if (self->options.show_stats && self->figures_taken)
        print_stats(exit_status);
    return self->options.report_path == NULL || write_report(exit_status);
}
