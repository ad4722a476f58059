/* emma_report_page.c - a report for people: one page that needs nothing else. Its parts are
 * compiled in; where the page has {{name}}, that part follows.
 *
 * Whatever a program calls itself or its types cannot become part of the page: data is JSON
 * without <, > and &, and the page's policy lets no script run but those that bear its number,
 * which nobody can know before. */
#include "emma_report.h"

#include <string.h>
#include <sys/random.h>

/* EMMA_REPORT_DIR: the folder of this file. */
#define PART(name, file) EMMA_REPORT_PART(name, EMMA_REPORT_DIR "/" file)

PART(page, "emma-report.html");
PART(style, "emma-report.css");
PART(script, "emma-report.js");
PART(map_script, "emma-report-map.js");
PART(uplot, "vendor/uPlot.iife.min.js");
PART(uplot_style, "vendor/uPlot.min.css");
PART(tablesort, "vendor/tablesort.min.js");
PART(tablesort_number, "vendor/tablesort.number.min.js");
PART(uplot_licence, "vendor/uPlot.LICENSE");
PART(tablesort_licence, "vendor/tablesort.LICENCE");

#define NONCE_BYTES ((EMMA_REPORT_NONCE_BYTES - 1) / 2)

void emmai_out_nonce(char nonce[EMMA_REPORT_NONCE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[NONCE_BYTES];
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random)
        memset(random, 0,
               sizeof random); /* early in a machine's life: data is no markup all the same */
    for (size_t i = 0; i < NONCE_BYTES; i++) {
        nonce[2 * i] = digits[random[i] >> 4];
        nonce[2 * i + 1] = digits[random[i] & 15];
    }
    nonce[2 * NONCE_BYTES] = '\0';
}

static const emma_report_part common_parts[] = {
    { .name = "style", .text = emmai_part_style },
    { .name = "script", .text = emmai_part_script },
    { .name = "map_script", .text = emmai_part_map_script },
    { .name = "uplot", .text = emmai_part_uplot },
    { .name = "uplot_style", .text = emmai_part_uplot_style },
    { .name = "tablesort", .text = emmai_part_tablesort },
    { .name = "tablesort_number", .text = emmai_part_tablesort_number },
    { .name = "uplot_licence", .text = emmai_part_uplot_licence },
    { .name = "tablesort_licence", .text = emmai_part_tablesort_licence },
};

/* Whether the part of that name is among them; it is written then. */
static bool out_part(emma_report_out *out, const emma_report_part *parts, size_t count,
                     const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(parts[i].name) != length || memcmp(parts[i].name, name, length) != 0)
            continue;
        if (parts[i].text)
            emmai_out_text(out, parts[i].text);
        else
            parts[i].write(out, parts[i].arg);
        return true;
    }
    return false;
}

void emmai_out_page(emma_report_out *out, const char *page, const char *nonce,
                    const emma_report_part *parts, size_t count)
{
    const emma_report_part nonce_part = { .name = "nonce", .text = nonce };
    const char *open;
    while ((open = strstr(page, "{{"))) {
        const char *name = open + 2, *close = strstr(name, "}}");
        const size_t length = (size_t)(close - name);
        emmai_out_bytes(out, page, (size_t)(open - page));
        if (!out_part(out, parts, count, name, length) &&
            !out_part(out, &nonce_part, 1, name, length))
            out_part(out, common_parts, sizeof common_parts / sizeof common_parts[0], name, length);
        page = close + 2;
    }
    emmai_out_text(out, page);
}

static void out_data(emma_report_out *out, const void *report)
{
    emmai_report_as_json(out, report);
}

static void out_title(emma_report_out *out, const void *report)
{
    const char *program = ((const emma_report *)report)->program;
    emmai_out_xml(out, program ? program : "");
}

void emmai_report_as_page(emma_report_out *out, const emma_report *report)
{
    char nonce[EMMA_REPORT_NONCE_BYTES];
    const emma_report_part parts[] = {
        { .name = "data", .write = out_data, .arg = report },
        { .name = "title", .write = out_title, .arg = report },
    };
    emmai_out_nonce(nonce);
    emmai_out_head(out, EMMA_REPORT_AS_PAGE);
    emmai_out_page(out, emmai_part_page, nonce, parts, sizeof parts / sizeof parts[0]);
}
