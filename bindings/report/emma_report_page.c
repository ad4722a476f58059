/* emma_report_page.c - a report for people: one page that needs nothing else. Its parts are compiled in; where the
 * page has {{name}}, that part follows.
 *
 * Whatever a program calls itself or its types cannot become part of the page: data is JSON without <, > and &, and
 * the page's policy lets no script run but those that bear its number, which nobody can know before. */
#include "emma_report.h"

#include <string.h>
#include <sys/random.h>

/* EMMA_REPORT_DIR: the folder of this file. */
#define PART(name, file)                                                                 \
    __asm__(".pushsection .rodata\n"                                                     \
            ".globl emmai_part_" #name "\n.hidden emmai_part_" #name "\n"                \
            ".type emmai_part_" #name ", @object\n"                                      \
            "emmai_part_" #name ":\n.incbin \"" EMMA_REPORT_DIR "/" file "\"\n.byte 0\n" \
            ".size emmai_part_" #name ", . - emmai_part_" #name "\n.popsection\n");      \
    extern const char emmai_part_##name[] __attribute__((visibility("hidden")))

PART(page, "emma-report.html");
PART(style, "emma-report.css");
PART(script, "emma-report.js");
PART(uplot, "vendor/uPlot.iife.min.js");
PART(uplot_style, "vendor/uPlot.min.css");
PART(tablesort, "vendor/tablesort.min.js");
PART(tablesort_number, "vendor/tablesort.number.min.js");
PART(uplot_licence, "vendor/uPlot.LICENSE");
PART(tablesort_licence, "vendor/tablesort.LICENCE");

#define NONCE_BYTES 16

typedef struct page_part {
    const char *name;
    const char *text;
} page_part;

static void make_nonce(char nonce[2 * NONCE_BYTES + 1])
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

static const char *find_part(const page_part *parts, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(parts[i].name) == length && memcmp(parts[i].name, name, length) == 0)
            return parts[i].text;
    return NULL;
}

void emmai_report_as_page(emma_report_out *out, const emma_report *report)
{
    char nonce[2 * NONCE_BYTES + 1];
    make_nonce(nonce);
    const page_part parts[] = {
        { "nonce", nonce },
        { "style", emmai_part_style },
        { "script", emmai_part_script },
        { "uplot", emmai_part_uplot },
        { "uplot_style", emmai_part_uplot_style },
        { "tablesort", emmai_part_tablesort },
        { "tablesort_number", emmai_part_tablesort_number },
        { "uplot_licence", emmai_part_uplot_licence },
        { "tablesort_licence", emmai_part_tablesort_licence },
    };
    emmai_out_head(out, EMMA_REPORT_AS_PAGE);
    const char *at = emmai_part_page, *open;
    while ((open = strstr(at, "{{"))) {
        const char *name = open + 2, *close = strstr(name, "}}");
        const size_t length = (size_t)(close - name);
        const char *text = find_part(parts, sizeof parts / sizeof parts[0], name, length);
        emmai_out_bytes(out, at, (size_t)(open - at));
        if (text)
            emmai_out_text(out, text);
        else if (length == 4 && memcmp(name, "data", 4) == 0)
            emmai_report_as_json(out, report);
        else if (length == 5 && memcmp(name, "title", 5) == 0)
            emmai_out_xml(out, report->program ? report->program : "");
        at = close + 2;
    }
    emmai_out_text(out, at);
}
