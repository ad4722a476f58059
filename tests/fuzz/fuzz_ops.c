/* fuzz_ops.c - bytes become operations on an instance and on the model of it.
 *
 * The first two bytes choose the instance, each four that follow are one operation: what, which
 * slot, and a size as a short float. Beside the model's operations there are the instance's own,
 * checkpoints (the model has copies of itself for them), refusals of the kernel, leaps of the clock, and (in a
 * build with EMMA_CHECKS) misuse, which a handler must be told of and which must do nothing.
 *
 * LLVMFuzzerTestOneInput is what libFuzzer calls; fuzz_replay.c calls it on files. */
#define TEST_END_FAILED() abort()
#include "../core/emma_fault.h"

#include "../core/emma_model.h"
#include "fuzz_ops.h"

enum { SLOTS = 48, OPERATION_BYTES = 4, OPERATIONS_MAX = 4096, STATS_EVERY = 8, LEVELS = 3 };

enum extra {
    EXTRA_TRIM = MODEL_OPS,
    EXTRA_RESET,
    EXTRA_SET_LIMIT,
    EXTRA_SPARE,
    EXTRA_CLOCK,
    EXTRA_REFUSE_NTH,
    EXTRA_REFUSE_FROM,
    EXTRA_REFUSE_NONE,
    EXTRA_FREE_ALL,
    EXTRA_VERIFY,
    EXTRA_ABSURD,
    EXTRA_DOUBLE_FREE,
    EXTRA_WRONG_SIZE,
    EXTRA_INTERIOR,
    EXTRA_FOREIGN,
    EXTRA_CHECKPOINT, /* from here on only where there are checkpoints */
    EXTRA_ROLLBACK,
    EXTRA_DROP,
    EXTRA_END
};

typedef struct operation {
    uint8_t what;
    uint8_t slot;
    size_t bytes;
    unsigned shift;
} operation;

static model m;
static struct {
    unsigned name;
    model m;
} levels[LEVELS];
static size_t depth; /* how many there are */
static unsigned crimes;
static unsigned char *last_freed;

static void count_crime(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                        const char *message)
{
    (void)arg, (void)crime, (void)address;
    CHECK_EQ(instance, m.instance);
    CHECK(strncmp(message, "emma: fuzz: ", 12) == 0);
    crimes++;
}

/* Twelve bits of mantissa, four of exponent: 0 to 4095 exactly, up to LARGEST roughly: more would
 * cost time that finds nothing. */
static size_t decode_bytes(unsigned code)
{
    enum { MANTISSA_BITS = 12, EXACT = 4, LARGEST = 1 << 19 };
    const unsigned exponent = code >> MANTISSA_BITS;
    const size_t mantissa = code & ((1u << MANTISSA_BITS) - 1);
    return exponent < EXACT ? mantissa : (mantissa << (exponent - EXACT)) % LARGEST;
}

static bool create(unsigned kind, unsigned limit_code)
{
    static const size_t limits[] = { EMMA_UNLIMITED, EMMA_LIMIT_MIN_BYTES, 48 * 1024, 128 * 1024,
                                     512 * 1024,     TEST_MIB + 5000,      4u << 20,  16u << 20 };
    emma_options options = test_options();
    options.flags = kind & 1 ? EMMA_ALIGN8 : 0;
    options.flags |= limit_code & TEST_COUNT(limits) ? EMMA_CHECKPOINTS : 0;
    options.limit_bytes = limits[limit_code % TEST_COUNT(limits)];
    options.reserve_bytes = kind & 2 ? 2 * TEST_MIB : kind & 4 ? 64 * TEST_MIB : 0;
    options.spare_bytes = kind & 8 && options.limit_bytes >= 48 * 1024 ? 16 * 1024 : 0;
    options.name = "fuzz";
    options.misuse_handler = count_crime;
    memset(&fault, 0, sizeof fault);
    fault.at = kind >> 4; /* creation can be refused too */
    emma *instance = emma_create(&options);
    if (!instance) {
        CHECK_GT(fault.failures, 0);
        return false;
    }
    fault_none();
    model_init(&m, instance, options.flags, SLOTS);
    m.may_refuse = true;
    last_freed = NULL;
    depth = 0;
    return true;
}

/* Only a checked build promises to find these; `address` is not the start of a live block unless
 * the size is wrong. */
static void misuse(const operation *op, unsigned char *address, bool sized, size_t wrong)
{
    const unsigned before = crimes;
    if (sized)
        emma_free_sized(m.instance, address, wrong);
    else if (op->bytes % 3 == 0)
        emma_free(m.instance, address);
    else if (op->bytes % 3 == 1)
        CHECK_EQ(emma_realloc(m.instance, address, op->bytes), NULL);
    else
        CHECK_EQ(emma_usable_size(m.instance, address), 0);
    CHECK_EQ(crimes, before + 1);
}

static void misuse_step(const operation *op)
{
    const model_block *block = &m.blocks[op->slot % SLOTS];
    if (op->what == EXTRA_FOREIGN)
        misuse(op, (unsigned char *)&m + op->bytes % sizeof m, false, 0);
    if (!EMMA_CHECKS)
        return;
    if (op->what == EXTRA_DOUBLE_FREE && last_freed && !model_find(&m, last_freed))
        misuse(op, last_freed, false, 0);
    if (op->what == EXTRA_WRONG_SIZE && block->at && op->bytes != block->bytes)
        misuse(op, block->at, true, op->bytes);
    if (op->what == EXTRA_INTERIOR && block->at && block->bytes > 1)
        misuse(op, block->at + 1 + op->bytes % (block->bytes - 1), false, 0);
}

static void absurd_step(const operation *op)
{
    const size_t bytes = SIZE_MAX - op->bytes;
    CHECK_EQ(emma_malloc(m.instance, bytes), NULL);
    CHECK_EQ(emma_calloc(m.instance, bytes, op->shift + 1), NULL);
    CHECK_EQ(emma_aligned_alloc(m.instance, (size_t)1 << op->shift, bytes), NULL);
    CHECK_EQ(emma_aligned_alloc(m.instance, op->bytes | 0x11, 10), NULL);
    CHECK_EQ(emma_realloc(m.instance, m.blocks[op->slot % SLOTS].at, bytes), NULL);
}

static void checkpoint_step(const operation *op)
{
    if (op->what == EXTRA_CHECKPOINT) {
        if (depth < LEVELS && emma_checkpoint(m.instance, &levels[depth].name) == EMMA_OK)
            model_save(&m, &levels[depth++].m);
        return;
    }
    if (!depth)
        return;
    const size_t at = op->slot % depth;
    if (op->what == EXTRA_DROP) {
        CHECK_EQ(emma_checkpoint_drop(m.instance, levels[at].name), EMMA_OK);
        depth = at;
        return;
    }
    CHECK_EQ(emma_rollback(m.instance, levels[at].name), EMMA_OK);
    depth = at + 1;
    model_restore(&m, &levels[at].m);
    model_verify(&m);
    last_freed = NULL;
}

static void instance_step(const operation *op)
{
    switch (op->what) {
    case EXTRA_CHECKPOINT:
    case EXTRA_ROLLBACK:
    case EXTRA_DROP:
        checkpoint_step(op);
        break;
    case EXTRA_TRIM:
        emma_trim(m.instance);
        break;
    case EXTRA_RESET:
        CHECK_EQ(emma_reset(m.instance), EMMA_OK);
        model_init(&m, m.instance, m.flags, SLOTS);
        m.may_refuse = true;
        last_freed = NULL;
        depth = 0;
        break;
    case EXTRA_SET_LIMIT:
        emma_set_limit(m.instance, op->shift == 0 ? EMMA_UNLIMITED : op->bytes);
        break;
    case EXTRA_SPARE:
        emma_use_spare(m.instance, op->slot & 1);
        break;
    case EXTRA_CLOCK:
        fault.clock_ms += op->bytes;
        break;
    case EXTRA_REFUSE_NTH:
        fault.at = fault.calls + 1 + op->slot % 8;
        break;
    case EXTRA_REFUSE_FROM:
        fault.from = fault.calls + 1;
        break;
    case EXTRA_REFUSE_NONE:
        fault_none();
        break;
    case EXTRA_FREE_ALL:
        model_free_all(&m);
        break;
    case EXTRA_VERIFY:
        model_verify(&m);
        break;
    case EXTRA_ABSURD:
        absurd_step(op);
        break;
    default:
        misuse_step(op);
        break;
    }
}

static void step(const operation *op)
{
    const model_block *block = &m.blocks[op->slot % SLOTS];
    unsigned char *before = block->at;
    if (op->what < MODEL_OPS)
        model_step(&m, op->slot, (enum model_op)op->what, op->bytes, op->shift);
    else
        instance_step(op);
    if (before && block->at != before)
        last_freed = before;
}

static void compare_figures(void)
{
    const emma_stats stats = test_stats(m.instance);
    CHECK_EQ(stats.live_blocks, m.live_blocks);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2 || !create(data[0], data[1]))
        return 0;
    const unsigned kinds = m.flags & EMMA_CHECKPOINTS ? EXTRA_END : EXTRA_CHECKPOINT;
    size_t steps = (bytes - 2) / OPERATION_BYTES;
    if (steps > OPERATIONS_MAX)
        steps = OPERATIONS_MAX;
    for (size_t i = 0; i < steps; i++) {
        const uint8_t *code = data + 2 + i * OPERATION_BYTES;
        const unsigned number = code[2] | (unsigned)code[3] << 8;
        const operation op = { (uint8_t)(code[0] % kinds), code[1], decode_bytes(number),
                               number % 18 };
        step(&op);
        if (i % STATS_EVERY == 0)
            compare_figures();
    }
    fault_none();
    model_verify(&m);
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(m.instance);
    return 0;
}
