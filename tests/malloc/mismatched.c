/* A block comes back by each function there is, of its family and of others: a checked build reports the others, unless
 * that is switched off, and any other build takes them. What a checked build keeps of a block for that, nothing of
 * the block's is in the way of, nor lost when it cannot be resized. */
#include "../../core/emma_config.h"
#include "malloc_test.h"

/* C++'s, by the names that compilers give them; then C23's. */
void *_Znwm(size_t bytes);
void *_Znam(size_t bytes);
void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment);
void *_ZnamSt11align_val_t(size_t bytes, size_t alignment);
void _ZdlPv(void *block);
void _ZdaPv(void *block);
void _ZdlPvm(void *block, size_t bytes);
void _ZdaPvm(void *block, size_t bytes);
void _ZdlPvSt11align_val_t(void *block, size_t alignment);
void _ZdaPvSt11align_val_t(void *block, size_t alignment);
void _ZdlPvmSt11align_val_t(void *block, size_t bytes, size_t alignment);
void _ZdaPvmSt11align_val_t(void *block, size_t bytes, size_t alignment);
void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t alignment, size_t bytes);

/* A family, and for its blocks an alignment; 0: they have none. */
typedef enum family { MALLOC, NEW, NEW_ARRAY } family;

typedef struct form {
    family family;
    size_t alignment;
} form;

/* ---- out ---- */

enum { CALLOC = 1, MEMALIGN = 1, POSIX_MEMALIGN = 2 };

typedef struct maker {
    form form;
    unsigned way; /* 0, or of those above */
} maker;

static const maker makers[] = { { { MALLOC, 0 }, 0 },         { { MALLOC, 0 }, CALLOC },
                                { { MALLOC, 8 }, 0 },         { { MALLOC, 64 }, 0 },
                                { { MALLOC, 64 }, MEMALIGN }, { { MALLOC, 4096 }, POSIX_MEMALIGN },
                                { { MALLOC, 131072 }, 0 },    { { NEW, 0 }, 0 },
                                { { NEW, 16 }, 0 },           { { NEW, 64 }, 0 },
                                { { NEW, 4096 }, 0 },         { { NEW_ARRAY, 0 }, 0 },
                                { { NEW_ARRAY, 64 }, 0 } };

static void *make_aligned(const maker *by, size_t bytes)
{
    void *block = NULL;
    if (by->way == MEMALIGN)
        return memalign(by->form.alignment, bytes);
    if (by->way == POSIX_MEMALIGN)
        CHECK_EQ(posix_memalign(&block, by->form.alignment, bytes), 0);
    else
        block = aligned_alloc(by->form.alignment, bytes);
    return block;
}

static void *make_new(const maker *by, size_t bytes)
{
    const bool array = by->form.family == NEW_ARRAY;
    const size_t alignment = by->form.alignment;
    if (alignment)
        return (array ? _ZnamSt11align_val_t : _ZnwmSt11align_val_t)(bytes, alignment);
    return (array ? _Znam : _Znwm)(bytes);
}

static void *make(const maker *by, size_t bytes)
{
    void *block;
    if (by->form.family != MALLOC)
        block = make_new(by, bytes);
    else if (by->form.alignment)
        block = make_aligned(by, bytes);
    else
        block = by->way == CALLOC ? calloc(1, bytes) : malloc(bytes);
    CHECK(block != NULL);
    if (by->form.alignment)
        CHECK_EQ((uintptr_t)block % by->form.alignment, 0);
    return block;
}

/* ---- and back ---- */

enum { SIZED = 1, REALLOC = 2 };

typedef struct releaser {
    form form;
    unsigned way;
    const char *name;
    bool any; /* of any alignment */
} releaser;

static const releaser releasers[] = { { { MALLOC, 0 }, 0, "free", true },
                                      { { MALLOC, 0 }, REALLOC, "realloc", true },
                                      { { MALLOC, 0 }, SIZED, "free_sized", false },
                                      { { MALLOC, 8 }, SIZED, "free_aligned_sized", false },
                                      { { MALLOC, 64 }, SIZED, "free_aligned_sized", false },
                                      { { MALLOC, 4096 }, SIZED, "free_aligned_sized", false },
                                      { { MALLOC, 131072 }, SIZED, "free_aligned_sized", false },
                                      { { NEW, 0 }, 0, "delete", false },
                                      { { NEW, 0 }, SIZED, "delete", false },
                                      { { NEW, 16 }, 0, "delete", false },
                                      { { NEW, 64 }, 0, "delete", false },
                                      { { NEW, 64 }, SIZED, "delete", false },
                                      { { NEW, 4096 }, 0, "delete", false },
                                      { { NEW, 4096 }, SIZED, "delete", false },
                                      { { NEW, 48 }, 0, "delete", false },
                                      { { NEW_ARRAY, 0 }, 0, "delete[]", false },
                                      { { NEW_ARRAY, 0 }, SIZED, "delete[]", false },
                                      { { NEW_ARRAY, 64 }, 0, "delete[]", false },
                                      { { NEW_ARRAY, 64 }, SIZED, "delete[]", false } };

static void release_malloc(const releaser *by, void *block, size_t bytes)
{
    if (by->way == SIZED && by->form.alignment)
        free_aligned_sized(block, by->form.alignment, bytes);
    else if (by->way == SIZED)
        free_sized(block, bytes);
    else if (by->way == REALLOC)
        free(realloc(block, bytes + 100));
    else
        free(block);
}

static void release_aligned(const releaser *by, void *block, size_t bytes)
{
    const bool array = by->form.family == NEW_ARRAY;
    const size_t alignment = by->form.alignment;
    if (by->way == SIZED)
        (array ? _ZdaPvmSt11align_val_t : _ZdlPvmSt11align_val_t)(block, bytes, alignment);
    else
        (array ? _ZdaPvSt11align_val_t : _ZdlPvSt11align_val_t)(block, alignment);
}

static void release(const releaser *by, void *block, size_t bytes)
{
    const bool array = by->form.family == NEW_ARRAY;
    if (by->form.family == MALLOC)
        release_malloc(by, block, bytes);
    else if (by->form.alignment)
        release_aligned(by, block, bytes);
    else if (by->way == SIZED)
        (array ? _ZdaPvm : _ZdlPvm)(block, bytes);
    else
        (array ? _ZdaPv : _ZdlPv)(block);
}

static bool fits(const maker *from, const releaser *to)
{
    return from->form.family == to->form.family &&
           (to->any || from->form.alignment == to->form.alignment);
}

/* ---- every pair ---- */

static void add_form(char *text, size_t size, const char *function, size_t alignment)
{
    const size_t used = strlen(text);
    if (!alignment)
        snprintf(text + used, size - used, "%s", function);
    else if (alignment & (alignment - 1))
        snprintf(text + used, size - used, "%s aligned to no power of two", function);
    else
        snprintf(text + used, size - used, "%s aligned to %zu", function, alignment);
}

static void describe(char *text, size_t size, const maker *from, const releaser *to)
{
    static const char *const out[] = { "malloc", "new", "new[]" };
    *text = '\0';
    add_form(text, size, out[from->form.family], from->form.alignment);
    strncat(text, ", passed to ", size - strlen(text) - 1);
    add_form(text, size, to->name, to->form.alignment);
}

typedef struct release_call {
    const releaser *by;
    void *block;
    size_t bytes;
} release_call;

static void do_release(void *arg)
{
    const release_call *call = arg;
    release(call->by, call->block, call->bytes);
}

/* The first function that is the right one. */
static const releaser *right_for(const maker *from)
{
    size_t k = 0;
    while (!fits(from, &releasers[k]))
        k++;
    CHECK_LT(k, TEST_COUNT(releasers));
    return &releasers[k];
}

/* Who takes a block for another one tells another size, too: a delete of an array that of its first element. */
static void release_pair(const maker *from, const releaser *to, size_t bytes, bool reports)
{
    release_call call = { to, make(from, bytes), fits(from, to) ? bytes : bytes / 3 };
    if (reports && !fits(from, to)) {
        char line[TEST_LINE_BYTES], pair[TEST_LINE_BYTES / 2];
        describe(pair, sizeof pair, from, to);
        test_misuse_line(line, "malloc", "mismatched free of", call.block, pair);
        test_dies(do_release, &call, line);
        call = (release_call){ right_for(from), call.block, bytes };
    }
    do_release(&call);
}

static void release_every_pair(size_t bytes, bool reports)
{
    for (size_t i = 0; i < TEST_COUNT(makers); i++)
        for (size_t k = 0; k < TEST_COUNT(releasers); k++)
            release_pair(&makers[i], &releasers[k], bytes, reports);
}

/* ---- what is kept of blocks ---- */

static void do_overrun(void *arg)
{
    const release_call *call = arg;
    ((char *)call->block)[call->bytes] ^= 1;
    do_release(arg);
}

static void overrun_every_kind(size_t bytes)
{
    for (size_t i = 0; i < TEST_COUNT(makers); i++) {
        release_call call = { right_for(&makers[i]), make(&makers[i], bytes), bytes };
        char line[TEST_LINE_BYTES];
        snprintf(line, sizeof line, "emma: malloc: overrun block %#zx (", (size_t)call.block);
        static char text[4096];
        const int status = test_run_child(do_overrun, &call, text, sizeof text);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(strncmp(text, line, strlen(line)), 0);
        do_release(&call);
    }
}

enum { BLOCKS = 400, STEPS = 20000, LARGEST = 100000 };

typedef struct held {
    const maker *from; /* NULL: malloc's, since it was resized */
    unsigned char *block;
    size_t bytes;
} held;

static held blocks[BLOCKS];

static void verify(const held *one, size_t bytes)
{
    CHECK(test_filled(one->block, bytes, (uintptr_t)one->from));
    const size_t usable = malloc_usable_size(one->block);
    CHECK_GE(usable, one->bytes);
    if (EMMA_CHECKS)
        CHECK_EQ(usable, one->bytes);
}

static void give_back(held *one)
{
    verify(one, one->bytes);
    release(one->from ? right_for(one->from) : &releasers[0], one->block, one->bytes);
    one->block = NULL;
}

static void resize(held *one, size_t bytes)
{
    CHECK_REFUSED(realloc(one->block, PTRDIFF_MAX), ENOMEM); /* is what it was, with its label */
    verify(one, one->bytes);
    if (one->from->form.family != MALLOC)
        return;
    one->block = realloc(one->block, bytes);
    CHECK(one->block != NULL);
    CHECK(test_filled(one->block, one->bytes < bytes ? one->bytes : bytes, (uintptr_t)one->from));
    one->from = NULL;
    one->bytes = bytes;
    test_fill(one->block, bytes, 0);
}

static void use_all_kinds(void)
{
    test_rng rng = test_rng_from(1);
    for (size_t step = test_steps(STEPS); step > 0; step--) {
        held *one = &blocks[test_below(&rng, BLOCKS)];
        const size_t bytes = 1 + test_random_size(&rng, LARGEST);
        if (!one->block) {
            one->from = &makers[test_below(&rng, TEST_COUNT(makers))];
            one->block = make(one->from, bytes);
            one->bytes = bytes;
            test_fill(one->block, bytes, (uintptr_t)one->from);
        } else if (one->from && one->from->form.family == MALLOC && test_chance(&rng, 30)) {
            resize(one, bytes);
        } else {
            give_back(one);
        }
    }
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i].block)
            give_back(&blocks[i]);
}

/* ---- begin ---- */

static void do_again(void *arg)
{
    CHECK_EQ(setenv("EMMA_OPTIONS", "mismatch=0", 1), 0);
    CHECK_EQ(execl("/proc/self/exe", "mismatched", (char *)arg, (char *)NULL), 0);
}

int main(int count, char **arguments)
{
    (void)arguments;
    malloc_test_serves();
    const bool reports = EMMA_CHECKS && count == 1;
    release_every_pair(24, reports);
    release_every_pair(20000, reports);
    use_all_kinds();
    if (EMMA_CANARIES)
        overrun_every_kind(56);
    if (reports)
        test_in_child(do_again, "without reports");
    return 0;
}
