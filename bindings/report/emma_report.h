/* emma_report.h - a report of a heap, as JSON for programs, and as a page or a picture for people.
 *
 *     emma_report report = { .program = "script.lua" };
 *     emma_report_gather(&report, instance);
 *     emma_report_place place;
 *     if (!emma_report_prepare(&place, "report.html") || !emma_report_write(&place, &report))
 *         puts(place.why);
 *     emma_report_release(&report);
 *
 * emma_report_gather.c  the figures of an instance, and what they come to in words
 * emma_report_series.c  memory over time
 * emma_report_place.c   where a report may be written, and how it comes there
 * emma_report_out.c     text into a descriptor
 * emma_report_sites.c   who allocated, where it was sampled (emma_sample.h)
 * emma_report_json.c, emma_report_page.c, emma_report_svg.c, emma_report_svg_map.c  the three kinds
 * emma-report*.html, .css, .js, vendor/  the page, compiled in by emma_report_page.c
 *
 * For programs, not for the core's users: it needs the C library and is in no
 * installed library's interface. */
#ifndef EMMA_REPORT_H
#define EMMA_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "emma.h"
#include "emma_report_series.h"
#include "emma_sample.h"

/* ---- what a report tells ---- */

enum emma_report_value {
    EMMA_REPORT_NULL,
    EMMA_REPORT_TEXT,
    EMMA_REPORT_NUMBER,
    EMMA_REPORT_SECONDS,
    EMMA_REPORT_BOOL,
    EMMA_REPORT_JSON
};

/* Something that the host tells of the program. */
typedef struct emma_report_field {
    const char *name;
    enum emma_report_value kind;
    const char *text; /* TEXT; JSON, which is written as it is */
    double seconds;   /* SECONDS */
    int64_t number;   /* NUMBER, BOOL */
} emma_report_field;

/* What objects of a type take, at the start and now. */
typedef struct emma_report_type {
    const char *name;
    size_t count, bytes;
    size_t count_before, bytes_before;
} emma_report_type;

/* Neighbours in the region that have the same figures: `repeat` parts of `part.bytes` each. */
typedef struct emma_report_chunks {
    emma_chunk_stats part; /* the first one */
    size_t repeat;
} emma_report_chunks;

/* The region's parts in order. Zeros at first; emma_report_release_map. */
typedef struct emma_report_map {
    emma_report_chunks *chunks; /* NULL: there was no memory for them */
    size_t count, room;
} emma_report_map;

#define EMMA_REPORT_VERDICTS      5
#define EMMA_REPORT_VERDICT_BYTES 160

/* Size classes that a report has room for. */
#define EMMA_REPORT_CLASSES 96

typedef struct emma_report {
    /* the host's */
    const char *program; /* the title; NULL: none */
    const char *runtime; /* "Lua 5.4.6" */
    const emma_report_field *fields;
    size_t field_count;
    const emma_report_series *series; /* NULL: none */
    const emma_report_type *types;
    size_t type_count;
    const char *types_note;      /* what is counted, and what is not */
    bool types_grew;             /* what there was at the start is known */
    const emma_sampler *sampler; /* NULL: nothing was sampled */
    /* emma_report_gather's */
    pid_t process;
    emma_stats stats;
    emma_class_stats classes[EMMA_REPORT_CLASSES]; /* those in use */
    size_t class_count;
    emma_report_map map; /* emma_report_release */
    /* emma_report_write's */
    char verdicts[EMMA_REPORT_VERDICTS][EMMA_REPORT_VERDICT_BYTES];
    size_t verdict_count;
} emma_report;

/* Fills in the figures of the instance as they are now, in place of those of before. */
void emma_report_gather(emma_report *report, const emma *instance);

void emma_report_release(emma_report *report);

/* The map alone; room that it has is used again. */
void emma_report_gather_map(emma_report_map *map, const emma *instance);

void emma_report_release_map(emma_report_map *map);

/* Bytes of a class's slabs that no live block has. */
size_t emma_report_waste(const emma_class_stats *class);

/* ---- where it goes ---- */

enum emma_report_format {
    EMMA_REPORT_AS_JSON,
    EMMA_REPORT_AS_PAGE,
    EMMA_REPORT_AS_SVG,
    EMMA_REPORT_FORMATS
};

#define EMMA_REPORT_WHY_BYTES 512

/* Of `error`: the name's end is none that is known. */
#define EMMA_REPORT_BAD_NAME (-1)

typedef struct emma_report_place {
    char why[EMMA_REPORT_WHY_BYTES]; /* what went wrong */
    int error; /* that as an errno, where it is one; EMMA_REPORT_BAD_NAME; 0 */
    enum emma_report_format format;
    int descriptor;  /* where to write; -1: into `file` */
    char *file;      /* absolute: the program may change directories */
    char *directory; /* the file's */
    bool replaces;   /* `before` was there */
    struct stat before;
    char *text; /* emma_report_make's; NULL: none */
    size_t text_bytes, text_room;
} emma_report_place;

/* Finds out whether a report can be written there, and leaves nothing: false where not. The name
 * ends in .html, .json or .svg. Never is a file replaced that is no report. What is no regular
 * file, or is open already as a stream of this process, is held from now on and will be written to
 * as it is, as JSON if the name tells no other kind. */
bool emma_report_prepare(emma_report_place *place, const char *path);

/* Writes the report, whole or not at all where it is a file, and releases the place. */
bool emma_report_write(emma_report_place *place, emma_report *report);

/* Makes the text in memory of its own, which a write to this place then writes; it needs no report.
 * For those who may not wait for a reader with a lock held. False: no memory. */
bool emma_report_make(emma_report_place *place, emma_report *report);

/* Releases the place without that. */
void emma_report_forget(emma_report_place *place);

/* ---- text ---- */

/* Writes a size for people into `text`, as "1.5 MiB", or "none"; returns text. */
#define EMMA_REPORT_SIZE_BYTES 32
const char *emma_report_size(char text[EMMA_REPORT_SIZE_BYTES], size_t bytes);

/* Text on its way into a descriptor, or into memory. */
typedef struct emma_report_out {
    int descriptor;
    bool keeps; /* in memory, which is the caller's to unmap */
    char *kept; /* NULL: none yet */
    size_t kept_bytes, kept_room;
    int error; /* errno of the first step that failed; 0 */
    size_t used;
    char buffer[8192];
} emma_report_out;

void emmai_out_bytes(emma_report_out *out, const char *bytes, size_t count);
void emmai_out_text(emma_report_out *out, const char *text);
__attribute__((format(printf, 2, 3))) void emmai_out_format(emma_report_out *out,
                                                            const char *format, ...);
/* As a JSON string, with no character in it that means something in HTML. */
void emmai_out_json(emma_report_out *out, const char *text);
/* As text or an attribute of XML and HTML. */
void emmai_out_xml(emma_report_out *out, const char *text);
void emmai_out_seconds(emma_report_out *out, uint64_t nanoseconds);
void emmai_out_flush(emma_report_out *out);

/* What a page is made of: names that stand in it as {{name}}, and what comes there, a text
 * or what a function writes. */
typedef struct emma_report_part {
    const char *name;
    const char *text; /* as it is; NULL: write(out, arg) */
    void (*write)(emma_report_out *out, const void *arg);
    const void *arg;
} emma_report_part;

/* Writes the page. {{nonce}} and the styles and scripts of reports are there besides `parts`.
 * `nonce` is one of emmai_out_nonce. */
#define EMMA_REPORT_NONCE_BYTES 33
void emmai_out_nonce(char nonce[EMMA_REPORT_NONCE_BYTES]);
void emmai_out_page(emma_report_out *out, const char *page, const char *nonce,
                    const emma_report_part *parts, size_t count);

/* Takes a file into the program as the text emmai_part_<name>. */
#define EMMA_REPORT_PART(name, path)                                                \
    __asm__(".pushsection .rodata\n"                                                \
            ".globl emmai_part_" #name "\n.hidden emmai_part_" #name "\n"           \
            ".type emmai_part_" #name ", @object\n"                                 \
            "emmai_part_" #name ":\n.incbin \"" path "\"\n.byte 0\n"                \
            ".size emmai_part_" #name ", . - emmai_part_" #name "\n.popsection\n"); \
    extern const char emmai_part_##name[] __attribute__((visibility("hidden")))

/* Puts the figures into words. */
void emmai_report_judge(emma_report *report);

/* How a report of each kind begins: these around the version. */
extern const char *const emmai_report_heads[EMMA_REPORT_FORMATS][2];
void emmai_out_head(emma_report_out *out, enum emma_report_format format);

/* What the JSON has of sites: a value. */
void emmai_report_sites(emma_report_out *out, const emma_sampler *sampler);

/* A map as JSON, as emmaReport.renderMap of emma-report-map.js takes it. */
void emmai_out_map(emma_report_out *out, const emma_report_map *map);

void emmai_report_as_json(emma_report_out *out, const emma_report *report);
void emmai_report_as_page(emma_report_out *out, const emma_report *report);
void emmai_report_as_svg(emma_report_out *out, const emma_report *report);

#endif
