/* fuzz_ops.c - bytes become operations on an instance and on the model of it.
 *
 * The first two bytes choose the instance (world_create), each four that follow are one operation:
 * what, which slot, and a size as a short float. Beside the model's operations there are the
 * instance's own, checkpoints, refusals of the kernel, leaps of the clock, signal handlers at
 * system calls, misuse (fuzz_misuse.h), a second instance, and other threads, which take turns
 * (fuzz_threads.h). Operations that an instance or a build does not know are refused or do nothing,
 * so that an input means much the same to all.
 *
 * LLVMFuzzerTestOneInput is what libFuzzer and AFL++ call; fuzz_replay.c calls it on files. With
 * EMMA_FUZZ_TRACE in the environment each operation is told on stderr. */
#include "fuzz_instance.h"
#include "fuzz_misuse.h"
#include "fuzz_ops.h"
#include "fuzz_threads.h"

enum { HEAD_BYTES = 2, OPERATION_BYTES = 4, OPERATIONS_MAX = 4096, STATS_EVERY = 8 };

/* New ones at the end, or the corpus means something else. */
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
    EXTRA_CHECKPOINT,
    EXTRA_ROLLBACK,
    EXTRA_DROP,
    EXTRA_SOFT_LIMIT,
    EXTRA_TURN,
    EXTRA_DETACH,
    EXTRA_THREAD_END,
    EXTRA_OTHER_INSTANCE,
    EXTRA_LOOK,
    EXTRA_WILD,
    EXTRA_OVERRUN,
    EXTRA_AFTER_FREE,
    EXTRA_FILL,
    EXTRA_EMPTY,
    EXTRA_INTERRUPT,
    EXTRA_END
};

/* The input, as it is gone through. */
static struct {
    const uint8_t *codes;
    size_t next, count;
    operation now;       /* the one that is being done */
    operation interrupt; /* what a signal handler does at a system call */
    bool traced;
    unsigned interrupt_in; /* which one that is; 0: none */
} input;

/* Twelve bits of mantissa, four of exponent: 0 to 4095 exactly, up to LARGEST roughly: more would
 * cost time that finds nothing. */
static size_t decode_bytes(unsigned code)
{
    enum { MANTISSA_BITS = 12, EXACT = 4, LARGEST = 1 << 19 };
    const unsigned exponent = code >> MANTISSA_BITS;
    const size_t mantissa = code & ((1u << MANTISSA_BITS) - 1);
    return exponent < EXACT ? mantissa : (mantissa << (exponent - EXACT)) % LARGEST;
}

static operation decode(const uint8_t *code)
{
    enum { SHIFTS = 18 };
    const unsigned number = code[2] | (unsigned)code[3] << 8;
    return (operation){ (uint8_t)(code[0] % EXTRA_END), code[1], decode_bytes(number),
                        number % SHIFTS };
}

/* ---- blocks ---- */

static void model_operation(const operation *op)
{
    const model_block *block = &w->m.blocks[op->slot % SLOTS];
    unsigned char *before = block->at;
    model_step(&w->m, op->slot, (enum model_op)op->what, op->bytes, op->shift);
    if (before && block->at != before)
        w->last_freed = before;
}

/* Allocates, or frees, one to eighteen blocks: what a class or a heap holds fills up, and is
 * emptied. */
static void fill(const operation *op, bool full)
{
    for (unsigned i = 0; i <= op->shift; i++) {
        const operation one = { full ? MODEL_MALLOC : MODEL_FREE, (uint8_t)(op->slot + i),
                                op->bytes, 0 };
        if (full == !w->m.blocks[one.slot % SLOTS].at)
            model_operation(&one);
    }
}

/* ---- a signal handler ---- */

/* Allocates or frees as a handler that interrupts an operation on a block, of another slot than
 * that has. A local instance refuses it, or puts it off. */
static void interrupt(long number)
{
    (void)number;
    if (!input.interrupt_in || --input.interrupt_in || input.now.what >= MODEL_OPS)
        return;
    operation op = input.interrupt;
    if ((op.slot - input.now.slot) % SLOTS == 0)
        op.slot++;
    const bool may_refuse = w->m.may_refuse;
    const bool live = w->m.blocks[op.slot % SLOTS].at != NULL;
    w->m.may_refuse = true;
    w->put_off = true;
    model_step(&w->m, op.slot, live ? MODEL_FREE : MODEL_MALLOC, op.bytes, 0);
    w->m.may_refuse = may_refuse;
}

/* ---- all of them ---- */

static void instance_operation(const operation *op)
{
    switch (op->what) {
    case EXTRA_TRIM:
        trim();
        break;
    case EXTRA_RESET:
        reset();
        break;
    case EXTRA_SET_LIMIT:
        set_limit(op);
        break;
    case EXTRA_SPARE:
        CHECK_EQ(emma_use_spare(w->m.instance, op->slot & 1), EMMA_OK);
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
        model_free_all(&w->m);
        break;
    case EXTRA_VERIFY:
        world_verify();
        break;
    case EXTRA_ABSURD:
        ask_absurd(op);
        break;
    case EXTRA_DOUBLE_FREE:
        if (EMMA_CHECKS)
            misuse_double_free(op);
        break;
    case EXTRA_WRONG_SIZE:
        misuse_wrong_size(op);
        break;
    case EXTRA_INTERIOR:
        if (EMMA_CHECKS)
            misuse_interior(op);
        break;
    case EXTRA_FOREIGN:
        misuse_foreign(op);
        break;
    case EXTRA_CHECKPOINT:
        checkpoint();
        break;
    case EXTRA_ROLLBACK:
    case EXTRA_DROP:
        rollback_or_drop(op, op->what == EXTRA_DROP);
        break;
    case EXTRA_SOFT_LIMIT:
        set_soft_limit(op);
        break;
    case EXTRA_TURN:
        turn_give(op->slot);
        break;
    case EXTRA_DETACH:
        emma_thread_detach(w->m.instance);
        break;
    case EXTRA_THREAD_END:
        turn_end(op->slot & 1, op->slot & 2);
        break;
    case EXTRA_OTHER_INSTANCE:
        turn_to_other(op);
        break;
    case EXTRA_LOOK:
        look(op);
        break;
    case EXTRA_WILD:
        if (EMMA_CHECKS)
            misuse_wild(op);
        break;
    case EXTRA_OVERRUN:
        misuse_overrun(op);
        break;
    case EXTRA_AFTER_FREE:
        misuse_after_free(op);
        break;
    case EXTRA_FILL:
        fill(op, true);
        break;
    case EXTRA_EMPTY:
        fill(op, false);
        break;
    case EXTRA_INTERRUPT:
        input.interrupt = *op;
        input.interrupt_in = 1 + op->shift % 4;
        break;
    }
}

/* Tells what an input is, for who looks into one that failed. */
static void trace(const operation *op)
{
    static const char *const names[EXTRA_END] = {
        "malloc",        "calloc",      "aligned",        "realloc null", "realloc",
        "realloc sized", "free",        "free sized",     "resize",       "verify block",
        "trim",          "reset",       "set limit",      "spare",        "clock",
        "refuse nth",    "refuse from", "refuse none",    "free all",     "verify",
        "absurd",        "double free", "wrong size",     "interior",     "foreign",
        "checkpoint",    "rollback",    "drop",           "soft limit",   "turn",
        "detach",        "thread end",  "other instance", "look",         "wild",
        "overrun",       "after free",  "fill",           "empty",        "interrupt"
    };
    fprintf(stderr, "instance %zu, thread %u: %s, slot %u (%u), %zu bytes, shift %u\n",
            (size_t)(w - worlds), turns.whose, names[op->what], op->slot % SLOTS, op->slot,
            op->bytes, op->shift);
}

/* Does the next operation; false when there are no more. */
static bool step(void)
{
    if (input.next == input.count)
        return false;
    input.now = decode(input.codes + input.next * OPERATION_BYTES);
    if (input.traced)
        trace(&input.now);
    world_expect_service();
    if (input.now.what < MODEL_OPS)
        model_operation(&input.now);
    else
        instance_operation(&input.now);
    if (input.next++ % STATS_EVERY == 0)
        world_compare_figures();
    return true;
}

static void verify_worlds(bool to_the_end)
{
    for (w = worlds; w < worlds + WORLDS; w++) {
        if (!w->m.instance)
            continue;
        world_verify();
        if (!to_the_end)
            continue;
        model_free_all(&w->m);
        world_verify();
        emma_destroy(w->m.instance);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < HEAD_BYTES)
        return 0;
    kernel_begin();
    turns_begin(step);
    for (w = worlds + WORLDS; w-- > worlds;)
        world_forget(w, NULL, 0);
    w = worlds;
    fault.at = data[0] >> 4; /* creation can be refused, too */
    if (!world_create(w, data[0], data[1])) {
        kernel_end();
        return 0;
    }
    fault_none();
    memset(&input, 0, sizeof input);
    input.traced = getenv("EMMA_FUZZ_TRACE") != NULL;
    input.codes = data + HEAD_BYTES;
    input.count = (bytes - HEAD_BYTES) / OPERATION_BYTES;
    if (input.count > OPERATIONS_MAX)
        input.count = OPERATIONS_MAX;
    fault.before = interrupt;
    turns_play();
    fault_none();
    fault.before = NULL;
    verify_worlds(false);
    turns_end();
    verify_worlds(true);
    kernel_end();
    return 0;
}
