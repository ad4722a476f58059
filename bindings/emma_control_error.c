/* emma_control_error.c - the calling thread's record of what went wrong,
 * and handles that are taken. */

/* A pointer only: there is little room for what is a thread's own in a library that is opened
 * late. */
static _Thread_local control_error *last_error;

control_error *control_begin(control_error *error)
{
    control_error *before = last_error;
    if (error)
        error->kind = CONTROL_NONE;
    last_error = error;
    return before;
}

void control_end(control_error *before)
{
    last_error = before;
}

/* Where the first place in a message ends, as "name:12: "; 0: there is none. */
static size_t first_place_end(const char *message)
{
    for (const char *colon = strchr(message, ':'); colon; colon = strchr(colon + 1, ':')) {
        const size_t digits = strspn(colon + 1, "0123456789");
        if (digits && colon[1 + digits] == ':' && colon[2 + digits] == ' ')
            return (size_t)(colon - message) + digits + 3;
    }
    return 0;
}

bool control_is_text(const control_error *error, const char *text)
{
    const size_t bytes = error->message_bytes, text_bytes = strlen(text);
    if (error->kind != EMMA_SANDBOX_ERROR || bytes < text_bytes)
        return false;
    const size_t before = bytes - text_bytes;
    if (memcmp(error->message + before, text, text_bytes) != 0)
        return false;
    return before == 0 || first_place_end(error->message) == before;
}

bool control_has_text(const control_error *error, const char *text)
{
    return memmem(error->message, error->message_bytes, text, strlen(text)) != NULL;
}

/* How many bytes the character at the beginning of a text has; of one that is no UTF-8, some. */
static size_t character_bytes(const char *text, size_t bytes)
{
    size_t count = 1;
    while (count < bytes && ((unsigned char)text[count] & 0xC0) == 0x80)
        count++;
    return count;
}

void control_copy_text(char *copy, size_t room, const char *text, size_t bytes)
{
    static const char null_character[] = "\\0";
    size_t used = 0;
    for (size_t at = 0, taken; at < bytes; at += taken) {
        taken = character_bytes(text + at, bytes - at);
        const bool is_null = text[at] == '\0';
        const size_t more = is_null ? sizeof null_character - 1 : taken;
        if (used + more >= room)
            break;
        memcpy(copy + used, is_null ? null_character : text + at, more);
        used += more;
    }
    copy[used] = '\0';
}

const char *control_kind_text(unsigned kind)
{
    switch (kind) {
    case CONTROL_CLOSED:
        return "closed";
    case CONTROL_CORRUPT:
        return "corrupt";
    case CONTROL_REFUSED:
        return "refused";
    default:
        return emma_sandbox_status_text((enum emma_sandbox_status)kind);
    }
}

void control_fail(unsigned kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error->message, sizeof last_error->message, format, arguments);
    va_end(arguments);
    last_error->message_bytes = strlen(last_error->message);
    last_error->traceback[0] = '\0';
    last_error->kind = kind;
}

static void fail_memory(void)
{
    control_fail(CONTROL_REFUSED, "the system refuses memory");
}

/* What the core says of a call on `what`. */
static void note_status(enum emma_status status, const char *what)
{
    switch (status) {
    case EMMA_OK:
        break;
    case EMMA_NO_MEMORY:
        control_fail(CONTROL_REFUSED, "%s: the limit or the system refuses memory", what);
        break;
    case EMMA_INVALID:
        control_fail(EMMA_SANDBOX_INVALID, "%s: out of its range", what);
        break;
    case EMMA_BUSY:
        control_fail(EMMA_SANDBOX_BUSY, "%s: the instance is in use", what);
        break;
    case EMMA_UNSUPPORTED:
        control_fail(EMMA_SANDBOX_UNSUPPORTED, "%s: not possible with this instance or kernel",
                     what);
        break;
    case EMMA_CORRUPT:
        control_fail(CONTROL_CORRUPT, "%s: the heap is damaged", what);
        break;
    }
}

/* A handle's flag: taken by the thread that uses it. */
static bool take(atomic_flag *busy, const char *what)
{
    if (!atomic_flag_test_and_set_explicit(busy, memory_order_acquire))
        return true;
    control_fail(EMMA_SANDBOX_BUSY,
                 "this %s is in use: by another thread, or by the call that this one is inside of",
                 what);
    return false;
}

static void give_back(atomic_flag *busy)
{
    atomic_flag_clear_explicit(busy, memory_order_release);
}
