/* emma_report_json.c - a report for programs. What people see is made from it, too. */
#include "emma_report.h"

#include <inttypes.h>

static const char *const kind_names[] = {
    [EMMA_CHUNK_FREE] = "free",   [EMMA_CHUNK_SLAB] = "slab", [EMMA_CHUNK_RUN] = "run",
    [EMMA_CHUNK_YOUNG] = "young", [EMMA_CHUNK_HEAP] = "heap",
};
#define KIND_COUNT (sizeof kind_names / sizeof kind_names[0])

/* What offsets and lengths are given in: all are whole pages. */
#define UNIT_BYTES ((size_t)4096)

static void number(emma_report_out *out, const char *name, uint64_t value)
{
    emmai_out_format(out, "  \"%s\": %" PRIu64 ",\n", name, value);
}

static void size_or_null(emma_report_out *out, const char *name, size_t bytes)
{
    if (bytes == EMMA_UNLIMITED)
        emmai_out_format(out, "  \"%s\": null,\n", name);
    else
        number(out, name, bytes);
}

static void text_or_null(emma_report_out *out, const char *name, const char *text)
{
    emmai_out_format(out, "  \"%s\": ", name);
    if (text)
        emmai_out_json(out, text);
    else
        emmai_out_text(out, "null");
    emmai_out_text(out, ",\n");
}

static void one_field(emma_report_out *out, const emma_report_field *field)
{
    emmai_out_format(out, "  \"%s\": ", field->name);
    switch (field->kind) {
    case EMMA_REPORT_NULL:
        emmai_out_text(out, "null");
        break;
    case EMMA_REPORT_TEXT:
        emmai_out_json(out, field->text);
        break;
    case EMMA_REPORT_NUMBER:
        emmai_out_format(out, "%" PRId64, field->number);
        break;
    case EMMA_REPORT_SECONDS:
        emmai_out_seconds(out, (uint64_t)(field->seconds * 1e9));
        break;
    case EMMA_REPORT_BOOL:
        emmai_out_text(out, field->number ? "true" : "false");
        break;
    case EMMA_REPORT_JSON:
        emmai_out_text(out, field->text);
        break;
    }
    emmai_out_text(out, ",\n");
}

static void figures(emma_report_out *out, const emma_stats *stats)
{
    size_or_null(out, "limit_bytes", stats->limit_bytes);
    size_or_null(out, "soft_limit_bytes", stats->soft_limit_bytes);
    number(out, "spare_bytes", stats->spare_bytes);
    number(out, "reserve_bytes", stats->reserve_bytes);
    number(out, "peak_footprint_bytes", stats->peak_footprint_bytes);
    number(out, "footprint_bytes", stats->footprint_bytes);
    number(out, "live_bytes", stats->live_bytes);
    number(out, "live_blocks", stats->live_blocks);
    number(out, "large_bytes", stats->large_bytes);
    number(out, "large_blocks", stats->large_blocks);
    number(out, "retained_bytes", stats->retained_bytes);
    number(out, "metadata_bytes", stats->metadata_bytes);
    number(out, "mapping_count", stats->mapping_count);
    number(out, "moved_bytes", stats->moved_bytes);
    number(out, "returned_bytes", stats->returned_bytes);
    number(out, "refused_count", stats->refused_count);
    number(out, "reentered_count", stats->reentered_count);
    number(out, "abandoned_bytes", stats->abandoned_bytes);
}

static void classes(emma_report_out *out, const emma_report *report)
{
    emmai_out_text(out, "  \"classes\": [");
    for (size_t i = 0; i < report->class_count; i++) {
        const emma_class_stats *class = &report->classes[i];
        emmai_out_format(
            out,
            "%s\n    {\"block_bytes\": %zu, \"live_blocks\": %zu, \"free_blocks\": %zu, "
            "\"slabs\": %zu, \"footprint_bytes\": %zu, \"waste_bytes\": %zu}",
            i ? "," : "", class->block_bytes, class->live_blocks, class->free_blocks, class->slabs,
            class->footprint_bytes, emma_report_waste(class));
    }
    emmai_out_text(out, "\n  ],\n");
}

static void types(emma_report_out *out, const emma_report *report)
{
    text_or_null(out, "types_note", report->types_note);
    emmai_out_format(out, "  \"types_since_start\": %s,\n", report->types_grew ? "true" : "false");
    emmai_out_text(out, "  \"types\": [");
    for (size_t i = 0; i < report->type_count; i++) {
        const emma_report_type *type = &report->types[i];
        emmai_out_text(out, i ? ",\n    {\"name\": " : "\n    {\"name\": ");
        emmai_out_json(out, type->name);
        emmai_out_format(
            out, ", \"count\": %zu, \"bytes\": %zu, \"count_before\": %zu, \"bytes_before\": %zu}",
            type->count, type->bytes, type->count_before, type->bytes_before);
    }
    emmai_out_text(out, "\n  ],\n");
}

static void column(emma_report_out *out, const emma_report_series *series, const char *name,
                   size_t offset)
{
    const size_t count = series ? series->count : 0;
    emmai_out_format(out, "    \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = *(const size_t *)((const char *)&series->points[i] + offset);
        if (bytes == EMMA_UNLIMITED)
            emmai_out_text(out, i ? ",null" : "null");
        else
            emmai_out_format(out, i ? ",%zu" : "%zu", bytes);
    }
    emmai_out_text(out, "]");
}

static void series(emma_report_out *out, const emma_report_series *points)
{
    emmai_out_text(out, "  \"series\": {\n    \"seconds\": [");
    for (size_t i = 0; points && i < points->count; i++) {
        emmai_out_text(out, i ? "," : "");
        emmai_out_seconds(out, points->points[i].nanoseconds);
    }
    emmai_out_text(out, "],\n");
    column(out, points, "live_bytes", offsetof(emma_report_point, live_bytes));
    emmai_out_text(out, ",\n");
    column(out, points, "footprint_bytes", offsetof(emma_report_point, footprint_bytes));
    emmai_out_text(out, ",\n");
    column(out, points, "limit_bytes", offsetof(emma_report_point, limit_bytes));
    emmai_out_text(out, "\n  },\n");
}

void emmai_out_map(emma_report_out *out, const emma_report_map *map)
{
    emmai_out_format(out, "{\n    \"unit_bytes\": %zu,\n    \"kinds\": [", UNIT_BYTES);
    for (size_t i = 0; i < KIND_COUNT; i++)
        emmai_out_format(out, i ? ", \"%s\"" : "\"%s\"", kind_names[i]);
    emmai_out_text(
        out, "],\n    \"columns\": [\"first\", \"units\", \"repeat\", \"kind\", \"block_bytes\", "
             "\"live_blocks\", \"free_blocks\", \"resident\"],\n    \"rows\": [");
    for (size_t i = 0; i < map->count; i++) {
        const emma_chunk_stats *part = &map->chunks[i].part;
        emmai_out_format(out, "%s\n[%zu,%zu,%zu,%d,%zu,%zu,%zu,%zu]", i ? "," : "",
                         part->offset_bytes / UNIT_BYTES, part->bytes / UNIT_BYTES,
                         map->chunks[i].repeat, (int)part->kind, part->block_bytes,
                         part->live_blocks, part->free_blocks, part->resident_bytes / UNIT_BYTES);
    }
    emmai_out_text(out, "]\n  }");
}

void emmai_report_as_json(emma_report_out *out, const emma_report *report)
{
    emmai_out_head(out, EMMA_REPORT_AS_JSON);
    emmai_out_format(out, "%ld,\n", (long)report->process);
    text_or_null(out, "program", report->program);
    text_or_null(out, "runtime", report->runtime);
    for (size_t i = 0; i < report->field_count; i++)
        one_field(out, &report->fields[i]);
    figures(out, &report->stats);
    emmai_out_text(out, "  \"verdicts\": [");
    for (size_t i = 0; i < report->verdict_count; i++) {
        emmai_out_text(out, i ? ",\n    " : "\n    ");
        emmai_out_json(out, report->verdicts[i]);
    }
    emmai_out_text(out, "\n  ],\n");
    classes(out, report);
    types(out, report);
    emmai_out_text(out, "  \"sites\": ");
    emmai_report_sites(out, report->sampler);
    emmai_out_text(out, ",\n");
    series(out, report->series);
    emmai_out_text(out, "  \"chunks\": ");
    emmai_out_map(out, &report->map);
    emmai_out_text(out, "\n}\n");
}
