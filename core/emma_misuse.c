/* emma_misuse.c - what happens when a caller hands in something that is not what it says: a line on
 * stderr and a trap, or the host's handler; the offending call then does nothing.
 *
 * The line names the crime, the address, and what the chunks' entries tell of that place. Nothing is
 * read but the instance's own state, all of which is accessible: no address makes it fault. */
#include "emma_internal.h"

#define DECIMAL     10u
#define HEXADECIMAL 16u
/* A number of 64 bits in decimal. */
#define NUMBER_MAX_BYTES sizeof "18446744073709551615"
/* The longest of all that can be. */
#define MESSAGE_MAX_BYTES                                                                      \
    (sizeof "emma: : mismatched free of 0x (malloc aligned to , passed to free_aligned_sized " \
            "aligned to )\n" +                                                                 \
     EMMA_NAME_MAX_BYTES + 3 * NUMBER_MAX_BYTES)

/* ---- composing the line ---- */

static const char *misuse_text(enum emma_misuse crime)
{
    switch (crime) { /* Never in tests: there is no other. */
    case EMMA_MISUSE_FOREIGN:
        return "foreign pointer";
    case EMMA_MISUSE_DOUBLE_FREE:
        return "double free of";
    case EMMA_MISUSE_INTERIOR:
        return "interior pointer";
    case EMMA_MISUSE_MISALIGNED:
        return "misaligned pointer";
    case EMMA_MISUSE_WRONG_SIZE:
        return "wrong size of";
    case EMMA_MISUSE_OVERRUN:
        return "overrun block";
    case EMMA_MISUSE_AFTER_FREE:
        return "write after free of";
    case EMMA_MISUSE_MISMATCH:
        return "mismatched free of";
    }
    return "misuse of";
}

static char *misuse_append(char *end, const char *text)
{
    while (*text) {
        *end++ = *text++;
        __asm__ volatile("" : : : "memory");
    }
    *end = '\0';
    return end;
}

static char *misuse_append_number(char *end, size_t value, size_t base)
{
    size_t unit = 1;
    while (value / unit >= base)
        unit *= base;
    for (; unit; unit /= base)
        *end++ = "0123456789abcdef"[value / unit % base];
    return end;
}

static char *misuse_append_size(char *end, size_t bytes, const char *what)
{
    return misuse_append(misuse_append_number(end, bytes, DECIMAL), what);
}

/* Bytes of the run that a chunk belongs to; 0: to none. */
EMMAI_LOOKS_AT_OTHERS static size_t misuse_run_bytes(const emma *instance, size_t chunk)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    while (entry->kind == EMMAI_BODY)
        entry = emmai_slab_of_id(instance, (ptrdiff_t)--chunk);
    return entry->kind == EMMAI_RUN ? entry->run_bytes : 0;
}

/* Whether a chunk of a shared instance has the state of a thread's heap in it. */
static bool misuse_is_heap(const emma *instance, size_t chunk)
{
    const emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if ((const char *)heap == emmai_chunk_start(instance, chunk))
            return true;
    return false;
}

/* Appends what is at an address. */
EMMAI_LOOKS_AT_OTHERS static char *misuse_append_place(char *end, const emma *instance,
                                                       const void *address)
{
    size_t offset = emmai_offset(instance, address);
    if (offset >= instance->region_bytes)
        return misuse_append(end, "outside the region");
    size_t chunk = offset >> EMMA_CHUNK_SHIFT;
    const emmai_slab *slab = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    uint8_t kind = slab->kind;
    if (kind == EMMAI_YOUNG)
        slab = emmai_young_find(instance, offset);
    unsigned size_class = slab ? slab->size_class : 0;
    if (size_class)
        return misuse_append_size(end, emmai_class_bytes(size_class), "-byte class");
    size_t run_bytes = misuse_run_bytes(instance, chunk);
    if (run_bytes)
        return misuse_append_size(end, run_bytes, "-byte run");
    bool is_free = kind == EMMAI_FREE || (kind == EMMAI_HEAP && !misuse_is_heap(instance, chunk));
    return misuse_append(end, is_free ? "free chunk" : "no block");
}

/* Begins the line, up to what is known of the address. */
static char *misuse_begin(char *message, const emma *instance, enum emma_misuse crime,
                          const void *address)
{
    char *end = misuse_append(message, "emma: ");
    end = misuse_append(end, instance->control->name);
    end = misuse_append(end, ": ");
    end = misuse_append(end, misuse_text(crime));
    end = misuse_append(end, " 0x");
    end = misuse_append_number(end, (uintptr_t)address, HEXADECIMAL);
    return misuse_append(end, " (");
}

/* ---- reporting it ---- */

static void misuse_report(const emma *instance, enum emma_misuse crime, const void *address,
                          const char *message, char *end)
{
    const emmai_control *control = instance->control;
    end = misuse_append(end, ")");
    if (crime == EMMA_MISUSE_DOUBLE_FREE || crime == EMMA_MISUSE_INTERIOR ||
        crime == EMMA_MISUSE_MISALIGNED)
        emmai_watch_invalid(address);
    if (control->misuse_handler) {
        /* The mark of a callback is off then: what one may call takes it off, or only looks;
         * of a shared instance nobody asks for it. */
        bool inside = instance->heap.gate == 0 && !control->outside;
        if (inside)
            emmai_callback_begin(instance);
        control->misuse_handler(control->misuse_arg, (emma *)(uintptr_t)instance, crime, address,
                                message);
        if (inside)
            emmai_callback_end(instance, false);
        return;
    }
    *end++ = '\n';
    emmai_os_print(message, (size_t)(end - message));
    emmai_watch_print_stack();
    __builtin_trap();
}

static EMMAI_NOINLINE void emmai_misuse(const emma *instance, enum emma_misuse crime,
                                        const void *address)
{
    char message[MESSAGE_MAX_BYTES];
    char *end = misuse_begin(message, instance, crime, address);
    misuse_report(instance, crime, address, message, misuse_append_place(end, instance, address));
}

/* The same for a block of `bytes` whose caller says that it is of `given`. */
static EMMAI_NOINLINE void emmai_misuse_size(const emma *instance, const void *block, size_t bytes,
                                             size_t given)
{
    char message[MESSAGE_MAX_BYTES];
    char *end = misuse_begin(message, instance, EMMA_MISUSE_WRONG_SIZE, block);
    end = misuse_append_size(end, bytes, " bytes, passed as ");
    misuse_report(instance, EMMA_MISUSE_WRONG_SIZE, block, message,
                  misuse_append_number(end, given, DECIMAL));
}

static char *misuse_append_label(char *end, const char *function, unsigned label)
{
    end = misuse_append(end, function);
    if (label >> EMMAI_LABEL_SHIFT == 0)
        return end;
    unsigned log2 = (label >> EMMAI_LABEL_SHIFT) - 1;
    end = misuse_append(end, " aligned to ");
    return log2 < sizeof(size_t) * 8 ? misuse_append_number(end, (size_t)1 << log2, DECIMAL)
                                     : misuse_append(end, "no power of two");
}

/* The function by which a block came back. */
static const char *misuse_function(const emmai_claim *claim)
{
    switch (claim->label & EMMAI_LABEL_FAMILY) {
    case EMMAI_LABEL_NEW:
        return "delete";
    case EMMAI_LABEL_NEW_ARRAY:
        return "delete[]";
    }
    if (claim->label_mask == EMMAI_LABEL_FAMILY)
        return claim->resizes ? "realloc" : "free";
    return claim->label >> EMMAI_LABEL_SHIFT ? "free_aligned_sized" : "free_sized";
}

/* The same for a block of a label whose caller claims another one. */
static EMMAI_NOINLINE void emmai_misuse_label(const emma *instance, const void *block,
                                              unsigned label, const emmai_claim *claim)
{
    static const char from[][sizeof "malloc"] = { "malloc", "new", "new[]", "" };
    char message[MESSAGE_MAX_BYTES];
    char *end = misuse_begin(message, instance, EMMA_MISUSE_MISMATCH, block);
    end = misuse_append_label(end, from[label & EMMAI_LABEL_FAMILY], label);
    end = misuse_append(end, ", passed to ");
    end = misuse_append_label(end, misuse_function(claim), claim->label);
    misuse_report(instance, EMMA_MISUSE_MISMATCH, block, message, end);
}

/* What a block is guilty of that lies in a chunk of a kind that holds no block there. */
static enum emma_misuse emmai_misuse_of_kind(const emma *instance, uint8_t kind, const void *block)
{
    size_t chunk = emmai_offset(instance, block) >> EMMA_CHUNK_SHIFT;
    if (kind == EMMAI_YOUNG || (kind == EMMAI_HEAP && misuse_is_heap(instance, chunk)))
        return EMMA_MISUSE_MISALIGNED;
    return kind == EMMAI_FREE || kind == EMMAI_HEAP ? EMMA_MISUSE_DOUBLE_FREE
                                                    : EMMA_MISUSE_INTERIOR;
}
