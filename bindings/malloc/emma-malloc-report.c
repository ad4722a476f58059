/* emma-malloc-report.c - what the process's instance tells: a warning at the soft limit, a table of
 * figures at exit or for malloc_stats, and the structures of mallinfo and malloc_info. */
#include "emma-malloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIGURE_WIDTH ((size_t)12)
#define TABLE_BYTES  ((size_t)6144) /* 19 lines and one for each size class */

/* Zeros where there is no instance. */
static emma_stats take_stats(void)
{
    emma *instance = malloc_instance_if_made();
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (instance)
        emma_get_stats(instance, &stats);
    return stats;
}

/* ---- the soft limit ---- */

/* Inside an allocation: nothing here may allocate. */
void emmai_malloc_warn(void *arg, emma *instance, bool over)
{
    static bool warned;
    (void)arg;
    if (!over || __atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
        return;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "warning: over the soft limit of ");
    emmai_malloc_text_size(&text, stats.soft_limit_bytes, 0);
    emmai_malloc_text_add(&text, ": footprint ");
    emmai_malloc_text_size(&text, stats.footprint_bytes, 0);
    emmai_malloc_text_add(&text, ", limit ");
    emmai_malloc_text_size(&text, stats.limit_bytes, 0);
    emmai_malloc_text_add(&text, "\n");
    emmai_malloc_text_write(&text, STDERR_FILENO);
}

/* ---- the table ---- */

static void add_note(malloc_text *text, const char *note)
{
    if (note[0]) {
        emmai_malloc_text_add(text, "   ");
        emmai_malloc_text_add(text, note);
    }
    emmai_malloc_text_add(text, "\n");
}

/* Labels are as long as their column is wide. */
static void add_size(malloc_text *text, const char *label, size_t bytes, const char *note)
{
    emmai_malloc_text_add(text, label);
    emmai_malloc_text_size(text, bytes, FIGURE_WIDTH);
    add_note(text, note);
}

static void add_count(malloc_text *text, const char *label, uint64_t count, const char *note)
{
    emmai_malloc_text_add(text, label);
    emmai_malloc_text_count(text, count, FIGURE_WIDTH);
    add_note(text, note);
}

static void add_classes(malloc_text *text, const emma *instance)
{
    emma_class_stats class = { .struct_bytes = sizeof class };
    emmai_malloc_text_add(text, "  block size  live blocks  free blocks    slabs    footprint\n");
    for (unsigned i = 0; emma_get_class_stats(instance, i, &class); i++) {
        if (!class.slabs && !class.footprint_bytes)
            continue;
        emmai_malloc_text_count(text, class.block_bytes, 12);
        emmai_malloc_text_count(text, class.live_blocks, 13);
        emmai_malloc_text_count(text, class.free_blocks, 13);
        emmai_malloc_text_count(text, class.slabs, 9);
        emmai_malloc_text_size(text, class.footprint_bytes, 13);
        emmai_malloc_text_add(text, "\n");
    }
}

/* While other threads allocate, the figures of blocks need not fit together. */
static void write_table(const emma *instance, int descriptor)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    char buffer[TABLE_BYTES];
    malloc_text table = emmai_malloc_text(buffer, sizeof buffer);
    malloc_text *text = &table;
    emma_get_stats(instance, &stats);
    emmai_malloc_text_add(text, "memory of process ");
    emmai_malloc_text_count(text, (uint64_t)getpid(), 0);
    emmai_malloc_text_add(text, " (");
    emmai_malloc_text_add(text, program_invocation_short_name);
    emmai_malloc_text_add(text, "), emma ");
    emmai_malloc_text_add(text, emma_version());
    emmai_malloc_text_add(text, "\n");
    add_size(text, "  limit               ", stats.limit_bytes, "");
    add_size(text, "  soft limit          ", stats.soft_limit_bytes, "");
    add_size(text, "  peak footprint      ", stats.peak_footprint_bytes,
             "the most memory it ever had");
    add_size(text, "  footprint           ", stats.footprint_bytes, "of that:");
    add_size(text, "    live              ", stats.live_bytes, "");
    add_size(text, "      large           ", stats.large_bytes,
             "in blocks with a run of their own");
    add_size(text, "    retained          ", stats.retained_bytes, "free, kept for reuse");
    add_size(text, "    metadata          ", stats.metadata_bytes, "emma's own");
    if (stats.abandoned_bytes)
        add_size(text, "    abandoned         ", stats.abandoned_bytes,
                 "by threads that ended in the middle of a call");
    add_count(text, "  live blocks         ", stats.live_blocks, "");
    add_count(text, "    large             ", stats.large_blocks, "");
    add_size(text, "  address space       ", stats.reserve_bytes, "reserved");
    add_size(text, "  moved               ", (size_t)stats.moved_bytes,
             "copied by reallocs that could not stay");
    add_size(text, "  returned            ", (size_t)stats.returned_bytes,
             "given back to the kernel while it ran");
    add_count(text, "  requests refused    ", stats.refused_count, "");
    if (EMMA_PYTHON)
        emmai_python_add_figures(text, &stats);
    add_classes(text, instance);
    emmai_malloc_text_write(text, descriptor);
}

MALLOC_EXPORT void malloc_stats(void)
{
    emma *instance = malloc_instance_if_made();
    if (instance)
        write_table(instance, STDERR_FILENO);
}

/* ---- at exit ---- */

/* Where programs do not look for descriptors of their own. */
#define KEPT_DESCRIPTOR 200
#define NO_DESCRIPTOR   (-1)

/* Some programs close stderr, or put another file in its place, before they exit. So a second
 * descriptor is kept; and since some close all that they do not know, what it was is remembered. */
static int report_descriptor = NO_DESCRIPTOR;
static struct stat report_file;

void emmai_malloc_report_at_exit(void)
{
    if (fstat(STDERR_FILENO, &report_file) != 0)
        return;
    int descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, KEPT_DESCRIPTOR);
    if (descriptor < 0)
        descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    report_descriptor = descriptor < 0 ? STDERR_FILENO : descriptor;
}

static bool is_report_file(int descriptor)
{
    struct stat now;
    return fstat(descriptor, &now) == 0 && now.st_dev == report_file.st_dev &&
           now.st_ino == report_file.st_ino;
}

__attribute__((destructor)) static void report(void)
{
    emma *instance = malloc_instance_if_made();
    if (!instance || report_descriptor == NO_DESCRIPTOR || !emmai_malloc_is_to_report())
        return;
    int descriptor = is_report_file(report_descriptor) ? report_descriptor : STDERR_FILENO;
    if (is_report_file(descriptor))
        write_table(instance, descriptor);
}

/* ---- figures as the GNU C library gives them ---- */

MALLOC_EXPORT struct mallinfo2 mallinfo2(void)
{
    const emma_stats stats = take_stats();
    return (struct mallinfo2){
        .arena = stats.footprint_bytes > stats.large_bytes
                     ? stats.footprint_bytes - stats.large_bytes
                     : 0,
        .hblks = stats.large_blocks,
        .hblkhd = stats.large_bytes,
        .usmblks = 0,
        .uordblks = stats.live_bytes,
        .fordblks =
            stats.footprint_bytes > stats.live_bytes ? stats.footprint_bytes - stats.live_bytes : 0,
        .keepcost = stats.retained_bytes,
    };
}

static int to_int(size_t number)
{
    return number < INT_MAX ? (int)number : INT_MAX;
}

static struct mallinfo narrow(void)
{
    const struct mallinfo2 wide = mallinfo2();
    return (struct mallinfo){
        .arena = to_int(wide.arena),
        .hblks = to_int(wide.hblks),
        .hblkhd = to_int(wide.hblkhd),
        .uordblks = to_int(wide.uordblks),
        .fordblks = to_int(wide.fordblks),
        .keepcost = to_int(wide.keepcost),
    };
}

MALLOC_EXPORT struct mallinfo mallinfo(void)
{
    return narrow();
}

MALLOC_EXPORT struct mallinfo __libc_mallinfo(void);

MALLOC_EXPORT struct mallinfo __libc_mallinfo(void)
{
    return narrow();
}

/* XML, of elements that the GNU C library's has too. */
MALLOC_EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0)
        return EINVAL;
    const emma_stats stats = take_stats();
    const int written = fprintf(stream,
                                "<malloc version=\"emma %s\">\n"
                                "<total type=\"fast\" count=\"%zu\" size=\"%zu\"/>\n"
                                "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
                                "<system type=\"current\" size=\"%zu\"/>\n"
                                "<system type=\"max\" size=\"%zu\"/>\n"
                                "<aspace type=\"total\" size=\"%zu\"/>\n"
                                "</malloc>\n",
                                emma_version(), (size_t)0, stats.retained_bytes, stats.large_blocks,
                                stats.large_bytes, stats.footprint_bytes,
                                stats.peak_footprint_bytes, stats.reserve_bytes);
    return written < 0 ? -1 : 0;
}
