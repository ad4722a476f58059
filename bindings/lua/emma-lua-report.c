/* emma-lua-report.c - what a run took of memory: --stats for people, --report for programs.
 *
 * The report is written beside its place and renamed into it, so that whoever reads the place sees
 * a whole report or the one before. A place that is no regular file (a pipe, a terminal) is
 * written to as it is. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "emma-lua.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPORT_MODE 0666 /* before the user's umask */
#define NANOSECONDS 1e-9

static char *report_place;     /* absolute: the script may change directories */
static char *report_temporary; /* beside it; NULL: write into the place itself */

static bool report_failed(const char *what)
{
    fprintf(stderr, "%s: --report: cannot write '%s': %s\n", emmai_cli.program,
            emmai_cli.options.report_path, what);
    return false;
}

/* A place that does not exist yet: its directory made absolute, its name kept. NULL: errno says
 * why not. */
static char *resolve_new_place(const char *path)
{
    char *for_directory = strdup(path);
    char *for_name = strdup(path);
    char *directory = for_directory != NULL ? realpath(dirname(for_directory), NULL) : NULL;
    char *place = NULL;
    if (for_name != NULL && directory != NULL) {
        const char *name = basename(for_name);
        size_t bytes = strlen(directory) + strlen(name) + 2;
        place = malloc(bytes);
        if (place != NULL)
            snprintf(place, bytes, "%s/%s", directory, name);
    }
    int error = errno;
    free(directory);
    free(for_name);
    free(for_directory);
    errno = error;
    return place;
}

static char *temporary_beside(const char *place)
{
    size_t bytes = strlen(place) + 32;
    char *temporary = malloc(bytes);
    if (temporary != NULL)
        snprintf(temporary, bytes, "%s.%ld.tmp", place, (long)emmai_cli.pid);
    return temporary;
}

static FILE *open_report(void)
{
    int flags = O_WRONLY | O_CLOEXEC;
    const char *path = report_place;
    if (report_temporary != NULL) {
        path = report_temporary;
        flags |= O_CREAT | O_EXCL;
        unlink(path); /* of a killed run with this process id */
    }
    int descriptor = open(path, flags, REPORT_MODE);
    if (descriptor < 0)
        return NULL;
    FILE *file = fdopen(descriptor, "w");
    if (file == NULL)
        close(descriptor);
    return file;
}

/* Whether a file is a report, or empty: anything else is more likely a script whose name stands
 * where the report's was forgotten. */
static bool may_be_replaced(const char *path)
{
    FILE *file = fopen(path, "r");
    int first = file != NULL ? getc(file) : EOF;
    if (file != NULL)
        fclose(file);
    return first == EOF || first == '{';
}

bool emmai_report_prepare(void)
{
    const char *path = emmai_cli.options.report_path;
    struct stat status;
    if (path == NULL)
        return true;
    if (path[0] == '\0')
        return report_failed("the name is empty");
    bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode))
        return report_failed(strerror(EISDIR));
    if (!exists && (errno != ENOENT || path[strlen(path) - 1] == '/'))
        return report_failed(strerror(errno));
    if (exists && access(path, W_OK) != 0)
        return report_failed(strerror(errno));
    if (exists && !S_ISREG(status.st_mode)) {
        report_place = strdup(path);
        return report_place != NULL ? true : report_failed(strerror(errno));
    }
    if (exists && !may_be_replaced(path))
        return report_failed("the file is there and is no report");
    report_place = exists ? realpath(path, NULL) : resolve_new_place(path);
    if (report_place == NULL || (report_temporary = temporary_beside(report_place)) == NULL)
        return report_failed(strerror(errno));
    FILE *file = open_report();
    if (file == NULL)
        return report_failed(strerror(errno));
    fclose(file);
    unlink(report_temporary);
    return true;
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
    fputs("{\n  \"script\": ", file);
    if (self->options.script < self->argc)
        json_string(file, self->argv[self->options.script]);
    else
        fputs("null", file);
    fprintf(file, ",\n  \"emma_version\": \"%s\",\n  \"lua_version\": \"%s\",\n", emma_version(),
            LUA_RELEASE);
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

static bool write_report(const int *exit_status)
{
    FILE *file = open_report();
    if (file == NULL)
        return report_failed(strerror(errno));
    json_report(file, exit_status);
    bool written = fflush(file) == 0 && ferror(file) == 0;
    int error = errno;
    if (fclose(file) != 0 && written) {
        written = false;
        error = errno;
    }
    if (written && (report_temporary == NULL || rename(report_temporary, report_place) == 0))
        return true;
    if (written)
        error = errno;
    if (report_temporary != NULL)
        unlink(report_temporary);
    return report_failed(strerror(error));
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
    fflush(stdout); /* a terminal shows the program's last words first */
    if (self->options.show_stats && self->figures_taken)
        print_stats(exit_status);
    return self->options.report_path == NULL || write_report(exit_status);
}
