/* emma_report_svg.h - what the files of the picture offer each other. Lengths are pixels. */
#ifndef EMMA_REPORT_SVG_H
#define EMMA_REPORT_SVG_H

#include "emma_report.h"

#define WIDTH  1000
#define MARGIN 40

/* ---- emma_report_svg.c ---- */

/* A line of text; `anchor` is start or end. */
void emmai_svg_words(emma_report_out *out, int x, int y, const char *class, const char *anchor,
                     const char *text);

void emmai_svg_heading(emma_report_out *out, int y, const char *text);

/* A square of that class of the style, and what it means. */
void emmai_svg_key(emma_report_out *out, int x, int y, const char *class, const char *text);

/* Part of `length` that `value` is of `whole`. */
int emmai_svg_scaled(size_t value, size_t whole, int length);

/* ---- emma_report_svg_map.c ---- */

/* The height that the map takes, its squares without its head. */
int emmai_svg_map_height(const emma_report *report);

void emmai_svg_map(emma_report_out *out, const emma_report *report, int y);

#endif
