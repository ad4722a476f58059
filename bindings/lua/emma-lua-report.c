/* emma-lua-report.c - what a run took of memory: --stats and --report. */
#define _XOPEN_SOURCE 700 /* clock_gettime */
#include "emma-lua.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define NANOSECONDS 1e-9

static bool report_failed(void)
{
    fprintf(stderr, "%s: --report: cannot write '%s': %s\n", emmai_cli.program,
            emmai_cli.options.report_path, emmai_cli.place.why);
    return false;
}

bool emmai_report_prepare(void)
{
    const char *path = emmai_cli.options.report_path;
    return path == NULL || emma_report_prepare(&emmai_cli.place, path) || report_failed();
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
    emmai_watch_end();
    emmai_sample_end();
    emma_report_gather(&self->report, self->instance);
    self->figures_taken = true;
}

static void print_line(const char *label, size_t bytes, const char *note)
{
    char text[EMMA_REPORT_SIZE_BYTES];
    fprintf(stderr, "  %-24s %12s   %s\n", label, emma_report_size(text, bytes), note);
}

static void print_classes(void)
{
    fprintf(stderr, "  %10s %12s %12s %8s %12s %12s\n", "block size", "live blocks", "free blocks",
            "slabs", "footprint", "waste");
    for (size_t i = 0; i < emmai_cli.report.class_count; i++) {
        const emma_class_stats *class = &emmai_cli.report.classes[i];
        char footprint[EMMA_REPORT_SIZE_BYTES], waste[EMMA_REPORT_SIZE_BYTES];
        fprintf(stderr, "  %10zu %12zu %12zu %8zu %12s %12s\n", class->block_bytes,
                class->live_blocks, class->free_blocks, class->slabs,
                emma_report_size(footprint, class->footprint_bytes),
                emma_report_size(waste, emma_report_waste(class)));
    }
}

static void print_stats(const int *exit_status)
{
    const interpreter *self = &emmai_cli;
    const emma_stats *figures = &self->report.stats;
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

/* The limits as they were asked for, not in whole pages; what is kept for
 * error paths is open by now. */
static void tell_options(emma_stats *stats)
{
    const interpreter *self = &emmai_cli;
    stats->limit_bytes = self->options.limit_bytes;
    stats->soft_limit_bytes = self->options.soft_limit_bytes;
    stats->spare_bytes = self->spare_bytes;
}

static bool write_report(const int *exit_status)
{
    interpreter *self = &emmai_cli;
    const char *script =
        self->options.script < self->argc ? self->argv[self->options.script] : NULL;
    const emma_report_field fields[] = {
        { .name = "emma_version", .kind = EMMA_REPORT_TEXT, .text = emma_version() },
        { .name = "lua_version", .kind = EMMA_REPORT_TEXT, .text = LUA_RELEASE },
        { .name = "script", .kind = script ? EMMA_REPORT_TEXT : EMMA_REPORT_NULL, .text = script },
        { .name = "exit_status",
          .kind = exit_status ? EMMA_REPORT_NUMBER : EMMA_REPORT_NULL,
          .number = exit_status ? *exit_status : 0 },
        { .name = "run_seconds", .kind = EMMA_REPORT_SECONDS, .seconds = self->run_seconds },
        { .name = "cpu_seconds", .kind = EMMA_REPORT_SECONDS, .seconds = self->cpu_seconds },
        { .name = "soft_limit_crossed",
          .kind = EMMA_REPORT_BOOL,
          .number = self->soft_limit_crossed },
    };
    self->report.program = script ? script : self->program;
    self->report.runtime = LUA_RELEASE;
    self->report.fields = fields;
    self->report.field_count = sizeof fields / sizeof fields[0];
    tell_options(&self->report.stats);
    emmai_watch_tell(&self->report);
    emmai_sample_tell(&self->report);
    return emma_report_write(&self->place, &self->report) || report_failed();
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
