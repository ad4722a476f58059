/* emma_misuse.c - what happens when a caller hands in something that is not what it says: a line on
 * stderr and a trap, or the host's handler; the offending call then does nothing. */
#include "emma_internal.h"

#define CRIME_MAX_BYTES   24
#define MESSAGE_MAX_BYTES (sizeof "emma: : \n" + EMMA_NAME_MAX_BYTES + CRIME_MAX_BYTES)

static const char *misuse_text(enum emma_misuse crime)
{
    switch (crime) {
    case EMMA_MISUSE_FOREIGN:
        return "foreign pointer";
    case EMMA_MISUSE_DOUBLE_FREE:
        return "double free";
    case EMMA_MISUSE_INTERIOR:
        return "interior pointer";
    case EMMA_MISUSE_MISALIGNED:
        return "misaligned pointer";
    case EMMA_MISUSE_WRONG_SIZE:
        return "wrong size";
    case EMMA_MISUSE_OVERRUN:
        return "overrun block";
    case EMMA_MISUSE_AFTER_FREE:
        return "write after free";
    }
    return "misuse";
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

static EMMAI_NOINLINE void emmai_misuse(const emma *instance, enum emma_misuse crime,
                                        const void *address)
{
    const emmai_control *control = instance->control;
    char message[MESSAGE_MAX_BYTES];
    char *end = misuse_append(message, "emma: ");
    end = misuse_append(end, control->name);
    end = misuse_append(end, ": ");
    end = misuse_append(end, misuse_text(crime));
    if (control->misuse_handler) {
        bool inside = instance->heap.gate == 0 && !control->outside;
        bool nested = inside && emmai_callback_begin(instance);
        control->misuse_handler(control->misuse_arg, (emma *)(uintptr_t)instance, crime, address,
                                message);
        if (inside)
            emmai_callback_end(instance, nested);
        return;
    }
    *end++ = '\n';
    emmai_os_print(message, (size_t)(end - message));
    __builtin_trap();
}

/* What a block is guilty of that lies in a chunk of a kind that holds no block there. */
static enum emma_misuse emmai_misuse_of_kind(uint8_t kind)
{
    return kind == EMMAI_FREE || kind == EMMAI_HEAP ? EMMA_MISUSE_DOUBLE_FREE
           : kind == EMMAI_YOUNG                    ? EMMA_MISUSE_MISALIGNED
                                                    : EMMA_MISUSE_INTERIOR;
}
