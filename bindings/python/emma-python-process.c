/* emma-python-process.c - the process around Python: when the library takes over, and what it says.
 *
 * Preloaded, it is there before Python is: nothing of Python is called here but what may be called
 * before and after. It goes to whatever program the user starts, and to those that this one starts;
 * those that are not Python it leaves alone. */
#include "emma-python-report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY_NAME "libemma-python"

/* Which process emma came to serve; 0: none. A child of a fork does not report. */
static pid_t first_process;

void emmai_python_note_start(void)
{
    first_process = getpid();
    if (emmai_python_is_to_report() && emmai_malloc_report_path[0])
        emmai_python_watch_start();
}

bool emmai_python_is_to_report(void)
{
    return emma_python_instance() && first_process == getpid() && emmai_malloc_is_to_report();
}

/* ---- messages ---- */

/* What may come with a block: its slab's page, and pages of metadata. */
#define REFUSAL_SLACK_BYTES ((size_t)256 << 10)

void emmai_python_tell_refusal(emma *instance, size_t bytes, bool is_running)
{
    static bool told;
    if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
        return;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    const bool is_limited =
        stats.limit_bytes - stats.spare_bytes - stats.footprint_bytes < bytes + REFUSAL_SLACK_BYTES;
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text,
                          is_limited ? "the limit of " : "the system, or the address space of ");
    emmai_malloc_text_size(&text, is_limited ? stats.limit_bytes : stats.reserve_bytes, 0);
    emmai_malloc_text_add(&text, " refused a request for ");
    emmai_malloc_text_size(&text, bytes, 0);
    emmai_malloc_text_add(&text, " (footprint ");
    emmai_malloc_text_size(&text, stats.footprint_bytes, 0);
    if (stats.spare_bytes) {
        emmai_malloc_text_add(&text, ", and ");
        emmai_malloc_text_size(&text, stats.spare_bytes, 0);
        emmai_malloc_text_add(&text, " held back for this");
    }
    emmai_malloc_text_say(&text, is_running ? "): MemoryError"
                                            : "): too little for Python to start or to end");
}

/* Another allocator that Python put in the place of this one, after it was asked for. */
static void tell_displaced(void)
{
    const char *asked = getenv("PYTHONMALLOC");
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "did not serve ");
    bool any = false;
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        if (!look.wanted || look.serves)
            continue;
        emmai_malloc_text_add(&text, any ? ", " : "");
        emmai_malloc_text_add(&text, emmai_python_domain_name(domain));
        any = true;
    }
    if (!any)
        return;
    if (asked && asked[0]) {
        emmai_malloc_text_add(&text, ": PYTHONMALLOC=");
        emmai_malloc_text_add(&text, asked);
        emmai_malloc_text_say(&text, " chose another allocator; unset it");
    } else {
        emmai_malloc_text_say(
            &text,
            ": another allocator took its place; Python's development mode (-X dev, PYTHONDEVMODE) "
            "does that, and a second Py_Initialize");
    }
}

/* ---- figures ---- */

void emmai_python_add_figures(malloc_text *text, const emma_stats *stats)
{
    emmai_malloc_text_add(text, "  outside             ");
    emmai_malloc_text_size(text, emmai_python_outside_bytes(stats), 12);
    emmai_malloc_text_add(text, "   not Python's, so not seen by the limit\n");
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        emmai_malloc_text_add(text, "  domain ");
        emmai_malloc_text_add(text, emmai_python_domain_name(domain));
        emmai_malloc_text_add(text, !look.wanted   ? "                 not asked for\n"
                                    : !look.serves ? "                     displaced\n"
                                                   : "                          emma\n");
    }
}

/* ---- begin and end ---- */

/* Where the name of this library stands in a list of libraries, and how long its whole entry is. */
static char *find_in_list(char *list, size_t *length)
{
    while (*list) {
        list += strspn(list, ": ");
        *length = strcspn(list, ": ");
        char *name = memrchr(list, '/', *length);
        name = name ? name + 1 : list;
        if (strncmp(name, LIBRARY_NAME, sizeof LIBRARY_NAME - 1) == 0 && *length)
            return list;
        list += *length;
    }
    return NULL;
}

/* Programs that this one starts are to be as they would be without emma. */
static void hide_from_children(char *list)
{
    size_t length;
    char *entry = find_in_list(list, &length);
    memmove(entry, entry + length, strlen(entry + length) + 1);
    if (strspn(list, ": ") == strlen(list))
        unsetenv("LD_PRELOAD");
    unsetenv("EMMA_OPTIONS");
}

static bool report_failed;

/* The last of all that is called at exit, as it was the first to be asked for. */
static void fail_at_exit(int status, void *nothing)
{
    (void)nothing;
    if (!report_failed || status != EXIT_SUCCESS || first_process != getpid())
        return;
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

__attribute__((constructor)) static void begin(void)
{
    size_t length;
    char *list = getenv("LD_PRELOAD");
    if (!list || !find_in_list(list, &length))
        return; /* it was loaded for install() to call */
    on_exit(fail_at_exit, NULL);
    const enum emma_status status = emma_python_start(EMMA_PYTHON_ALL);
    const malloc_options *asked = &emmai_malloc_asked;
    if (status == EMMA_UNSUPPORTED)
        return;
    if (status == EMMA_NO_MEMORY) {
        char buffer[MALLOC_LINE_BYTES];
        malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
        emmai_malloc_text_say(&text, "the system refuses it memory: Python goes on without");
    }
    if (!asked->children)
        hide_from_children(list);
}

__attribute__((destructor)) static void end(void)
{
    if (!emmai_python_is_to_report())
        return;
    tell_displaced();
    if (emmai_malloc_report_path[0])
        report_failed = !emmai_python_report_at_end();
}
