/* emma_control_value.c - values of a language's on their way into a sandbox, and its functions. */

#define PIECE_LEAST_BYTES ((size_t)1024)
#define PIECE_ALIGN_BYTES ((size_t)16)

struct control_piece {
    struct control_piece *next;
    size_t used_bytes;
    size_t size_bytes;
    size_t unused; /* what follows is aligned */
    char bytes[];
};

void *control_arena_take(control_arena *arena, size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return NULL;
    arena->taken_bytes += bytes;
    if (control_arena_is_full(arena))
        return NULL;
    bytes = (bytes + PIECE_ALIGN_BYTES - 1) & ~(PIECE_ALIGN_BYTES - 1);
    struct control_piece *piece = arena->pieces;
    if (!piece || piece->size_bytes - piece->used_bytes < bytes) {
        const size_t size = bytes < PIECE_LEAST_BYTES ? PIECE_LEAST_BYTES : bytes;
        piece = malloc(sizeof *piece + size);
        if (!piece)
            return NULL;
        *piece = (struct control_piece){ .next = arena->pieces, .size_bytes = size };
        arena->pieces = piece;
    }
    void *room = piece->bytes + piece->used_bytes;
    piece->used_bytes += bytes;
    return room;
}

bool control_arena_is_full(const control_arena *arena)
{
    return arena->most_bytes && arena->taken_bytes > arena->most_bytes;
}

void control_arena_free(control_arena *arena)
{
    while (arena->pieces) {
        struct control_piece *piece = arena->pieces;
        arena->pieces = piece->next;
        free(piece);
    }
}

emma_sandbox_pair *control_begin_pairs(control_arena *arena, emma_sandbox_value *value, size_t room)
{
    emma_sandbox_pair *pairs =
        room > PTRDIFF_MAX / sizeof *pairs ? NULL : control_arena_take(arena, room * sizeof *pairs);
    value->type = EMMA_SANDBOX_PAIRS;
    value->as.pairs.items = pairs;
    value->as.pairs.count = 0;
    return pairs;
}

bool control_set_text(control_arena *arena, emma_sandbox_value *value, const char *data,
                      size_t bytes)
{
    char *copy = control_arena_take(arena, bytes);
    if (!copy)
        return false;
    memcpy(copy, data, bytes);
    value->type = EMMA_SANDBOX_TEXT;
    value->as.text.data = copy;
    value->as.text.bytes = bytes;
    return true;
}

bool control_is_list(const emma_sandbox_value *value)
{
    const size_t count = value->as.pairs.count;
    for (size_t i = 0; i < count; i++) {
        const emma_sandbox_value *key = &value->as.pairs.items[i].key;
        /* Keys are distinct: as many as there are, all within that range, are all of it. */
        if (key->type != EMMA_SANDBOX_INTEGER || key->as.integer < 1 ||
            (uint64_t)key->as.integer > count)
            return false;
    }
    return count > 0;
}

/* ---- Functions ---- */

static void drop_function(const control_function *function)
{
    if (function && function->callable)
        function->drop(function->callable);
}

/* NULL: no memory. */
static const control_function *add_function(control_functions *functions,
                                            const control_function *function)
{
    control_function *held = malloc(sizeof *held);
    control_function **items =
        realloc(functions->items, (functions->count + 1) * sizeof *functions->items);
    if (items)
        functions->items = items;
    if (!held || !items) {
        free(held);
        return NULL;
    }
    *held = *function;
    return items[functions->count++] = held;
}

/* One that is there already is not held twice; NULL: no memory, and it is dropped. */
static const control_function *hold_function(control_functions *functions,
                                             const control_function *function)
{
    for (size_t i = 0; i < functions->count; i++)
        if (functions->items[i]->callable == function->callable &&
            functions->items[i]->call == function->call) {
            drop_function(function);
            return functions->items[i];
        }
    const control_function *held = add_function(functions, function);
    if (!held) {
        drop_function(function);
        fail_memory();
    }
    return held;
}

static void drop_last_function(control_functions *functions)
{
    control_function *function = functions->items[--functions->count];
    drop_function(function);
    free(function);
}

static void drop_functions(control_functions *functions)
{
    while (functions->count)
        drop_last_function(functions);
    free(functions->items);
    functions->items = NULL;
}

/* The line goes without its end. A print that fails stops the script: it has no error to raise. */
static void print_line(void *arg, emma_sandbox *sandbox, const char *text, size_t bytes)
{
    const control_function *function = arg;
    emma_sandbox_value line = { .type = EMMA_SANDBOX_TEXT, .as.text = { text, bytes - 1 } };
    emma_sandbox_answer answer = { 0 };
    function->call(function->callable, sandbox, &line, 1, &answer);
    if (answer.error)
        emma_sandbox_kill(sandbox);
    if (answer.release)
        answer.release(&answer);
}

static void set_print(emma_sandbox_options *options, const control_function *function)
{
    options->print = function ? print_line : NULL;
    options->print_arg = (void *)(uintptr_t)function;
}
