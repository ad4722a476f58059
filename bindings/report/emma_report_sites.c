/* emma_report_sites.c - who allocated, as JSON: {frames, columns, rows}, a row for each stack, its
 * frames by number, the outermost first; null where nothing was sampled. */
#include "emma_report.h"

#include <inttypes.h>

/* Estimates are no whole numbers, and differences of them can be a little below 0. */
static uint64_t whole(double estimate)
{
    return estimate > 0 ? (uint64_t)(estimate + 0.5) : 0;
}

static void frames(emma_report_out *out, const emma_sampler *sampler)
{
    const uint32_t count = __atomic_load_n(&sampler->frames.count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        const emma_sample_frame_name name = emma_sample_frame_of(sampler, i);
        emmai_out_text(out, i ? ",\n[" : "\n[");
        emmai_out_json(out, name.function);
        emmai_out_text(out, ",");
        emmai_out_json(out, name.file);
        emmai_out_format(out, ",%d]", name.line);
    }
}

static void row(emma_report_out *out, const emma_sampler *sampler, uint32_t number)
{
    const emma_sample_site *site = &sampler->sites[number];
    const uint32_t *stack;
    const size_t count = emma_sample_frames_of(sampler, number, &stack);
    emmai_out_format(out, "[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",[",
                     whole(site->live_bytes), whole(site->live_blocks), whole(site->bytes),
                     whole(site->blocks));
    for (size_t i = 0; i < count; i++)
        emmai_out_format(out, i ? ",%" PRIu32 : "%" PRIu32, stack[i]);
    emmai_out_text(out, "]]");
}

void emmai_report_sites(emma_report_out *out, const emma_sampler *sampler)
{
    bool any = false;
    /* First: the frames of these are there, though other interpreters' threads add some. */
    const uint32_t rows = sampler ? __atomic_load_n(&sampler->stacks.count, __ATOMIC_ACQUIRE) : 0;
    if (!sampler) {
        emmai_out_text(out, "null");
        return;
    }
    emmai_out_format(out,
                     "{\n    \"rate_bytes\": %zu,\n    \"samples\": %" PRIu64
                     ",\n    \"missed\": %" PRIu64 ",\n    \"frames\": [",
                     sampler->rate_bytes, sampler->samples, sampler->missed);
    frames(out, sampler);
    emmai_out_text(out, "],\n    \"columns\": [\"live_bytes\", \"live_blocks\", "
                        "\"allocated_bytes\", \"allocated_blocks\", \"stack\"],\n    \"rows\": [");
    for (uint32_t i = 0; i < rows; i++)
        if (whole(sampler->sites[i].bytes)) {
            emmai_out_text(out, any ? ",\n" : "\n");
            row(out, sampler, i);
            any = true;
        }
    emmai_out_text(out, "]\n  }");
}
