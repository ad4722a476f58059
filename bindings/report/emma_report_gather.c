/* emma_report_gather.c - the figures of an instance as they are now, and
 * what they come to in words. */
#include "emma_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- chunks ---- */

static bool is_alike(const emma_chunk_stats *a, const emma_chunk_stats *b)
{
    return a->kind == b->kind && a->bytes == b->bytes && a->block_bytes == b->block_bytes &&
           a->live_blocks == b->live_blocks && a->free_blocks == b->free_blocks &&
           a->resident_bytes == b->resident_bytes;
}

/* Counts what there is no room for, too. */
static bool note_chunk(void *arg, const emma_chunk_stats *chunk)
{
    emma_report_map *map = arg;
    emma_report_chunks *last =
        map->count && map->count <= map->room ? &map->chunks[map->count - 1] : NULL;
    if (last && is_alike(&last->part, chunk) &&
        last->part.offset_bytes + last->repeat * chunk->bytes == chunk->offset_bytes) {
        last->repeat++;
        return true;
    }
    if (map->count < map->room)
        map->chunks[map->count] = (emma_report_chunks){ *chunk, 1 };
    map->count++;
    return true;
}

/* Memory of the kernel's own: malloc may be served from the instance that is looked at. */
static bool make_room(emma_report_map *map, size_t room)
{
    emma_report_release_map(map);
    void *chunks = mmap(NULL, room * sizeof *map->chunks, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunks == MAP_FAILED)
        return false;
    map->chunks = chunks;
    map->room = room;
    return true;
}

#define CHUNKS_LEAST 1024
#define CHUNKS_SLACK 64 /* for what comes to be between the count and the look */

void emma_report_gather_map(emma_report_map *map, const emma *instance)
{
    if (!map->chunks && !make_room(map, CHUNKS_LEAST))
        return;
    for (int attempt = 0; attempt < 2; attempt++) {
        map->count = 0;
        emma_walk_chunks(instance, note_chunk, map);
        if (map->count <= map->room)
            return;
        if (attempt == 0 && !make_room(map, map->count + map->count / 8 + CHUNKS_SLACK))
            return;
    }
    map->count = map->room;
}

void emma_report_release_map(emma_report_map *map)
{
    if (map->chunks)
        munmap(map->chunks, map->room * sizeof *map->chunks);
    *map = (emma_report_map){ .chunks = NULL };
}

void emma_report_release(emma_report *report)
{
    emma_report_release_map(&report->map);
}

/* ---- classes ---- */

size_t emma_report_waste(const emma_class_stats *class)
{
    const size_t live = class->live_blocks * class->block_bytes;
    return class->footprint_bytes > live ? class->footprint_bytes - live : 0;
}

static void gather_classes(emma_report *report, const emma *instance)
{
    emma_class_stats class = { .struct_bytes = sizeof class };
    report->class_count = 0;
    for (unsigned i = 0;
         report->class_count < EMMA_REPORT_CLASSES && emma_get_class_stats(instance, i, &class);
         i++)
        if (class.slabs || class.footprint_bytes)
            report->classes[report->class_count++] = class;
}

/* ---- in words ---- */

__attribute__((format(printf, 2, 3))) static void say(emma_report *report, const char *format, ...)
{
    if (report->verdict_count == EMMA_REPORT_VERDICTS)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report->verdicts[report->verdict_count++], EMMA_REPORT_VERDICT_BYTES, format,
              arguments);
    va_end(arguments);
}

static unsigned percent(size_t part, size_t whole)
{
    return whole ? (unsigned)((double)part * 100 / (double)whole + 0.5) : 0;
}

static void say_of_limit(emma_report *report)
{
    const emma_stats *stats = &report->stats;
    char peak[EMMA_REPORT_SIZE_BYTES], limit[EMMA_REPORT_SIZE_BYTES];
    emma_report_size(peak, stats->peak_footprint_bytes);
    emma_report_size(limit, stats->limit_bytes);
    if (stats->limit_bytes == EMMA_UNLIMITED)
        say(report, "There was no limit; at its peak it had %s.", peak);
    else
        say(report, "At its peak it had %s, %u %% of the limit of %s.", peak,
            percent(stats->peak_footprint_bytes, stats->limit_bytes), limit);
    if (stats->refused_count)
        say(report, "%llu %s refused, by the limit or by the kernel.",
            (unsigned long long)stats->refused_count,
            stats->refused_count == 1 ? "request was" : "requests were");
}

/* The class with the most waste is named where it is a tenth of the footprint or more. */
static void say_of_waste(emma_report *report)
{
    const emma_class_stats *worst = NULL;
    size_t waste = 0;
    for (size_t i = 0; i < report->class_count; i++) {
        const emma_class_stats *class = &report->classes[i];
        waste += emma_report_waste(class);
        if (!worst || emma_report_waste(class) > emma_report_waste(worst))
            worst = class;
    }
    const size_t footprint = report->stats.footprint_bytes;
    char size[EMMA_REPORT_SIZE_BYTES];
    say(report, "%s, %u %% of the footprint, is waste: free blocks in slabs that are in use.",
        emma_report_size(size, waste), percent(waste, footprint));
    if (worst && emma_report_waste(worst) >= footprint / 10)
        say(report, "The most of it, %s, is in slabs of %zu bytes.",
            emma_report_size(size, emma_report_waste(worst)), worst->block_bytes);
}

/* Memory that only grows: the last third of the time has a third of the growth or more,
 * and it ends at its highest. */
static void say_of_growth(emma_report *report)
{
    const emma_report_series *series = report->series;
    if (!series || series->count < 8)
        return;
    const emma_report_point *last = &series->points[series->count - 1];
    const emma_report_point *first = &series->points[0];
    size_t most = 0, before = first->live_bytes;
    for (size_t i = 0; i < series->count; i++) {
        const emma_report_point *point = &series->points[i];
        most = point->live_bytes > most ? point->live_bytes : most;
        if (point->nanoseconds <= last->nanoseconds / 3 * 2)
            before = point->live_bytes;
    }
    const size_t grown =
        last->live_bytes > first->live_bytes ? last->live_bytes - first->live_bytes : 0;
    const size_t lately = last->live_bytes > before ? last->live_bytes - before : 0;
    char size[EMMA_REPORT_SIZE_BYTES];
    emma_report_size(size, grown);
    if (grown > most / 2 && last->live_bytes >= most / 10 * 9 && lately >= grown / 3)
        say(report, "Live memory grew by %s and was still growing at the end.", size);
    else
        say(report, "Live memory was not growing at the end: %s more than at the start.", size);
}

void emma_report_gather(emma_report *report, const emma *instance)
{
    report->process = getpid();
    report->stats = (emma_stats){ .struct_bytes = sizeof report->stats };
    emma_get_stats(instance, &report->stats);
    gather_classes(report, instance);
    emma_report_gather_map(&report->map, instance);
}

void emmai_report_judge(emma_report *report)
{
    report->verdict_count = 0;
    say_of_limit(report);
    say_of_waste(report);
    say_of_growth(report);
}
