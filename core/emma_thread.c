/* emma_thread.c - what a thread keeps of its own: who it is, and which heaps served it last.
 *
 * One record for all shared instances of this copy of emma, read and written by its thread alone; but
 * signal handlers come at any instruction, and may use other instances. */
#include "emma_internal.h"

#if EMMA_TLS
static __thread emmai_thread emmai_self EMMA_TLS_MODEL;
#endif

static inline emmai_thread *emmai_thread_self(void)
{
#if EMMA_TLS
    return &emmai_self;
#else
    return NULL;
#endif
}

/* A thread's name as an owner: never 0, which is nobody. */
static uint64_t thread_name(const emmai_thread *self, uint32_t kernel_id)
{
    return (uint64_t)kernel_id << 32 | (self ? self->birth : 0) | 1;
}

/* The calling thread's, as it was when it last took a heap; that of no heap's owner before. */
static uint64_t emmai_thread_id(const emmai_thread *self)
{
    return thread_name(self, self ? self->kernel_id : (uint32_t)emmai_os_thread_id());
}

/* Marks the thread's words as being changed, and returns which nonce was there; EMMAI_NONCE_CHANGING
 * in a signal handler in between, which leaves the words alone: they would be a mix of two
 * instances'. Who reads them sees by `changes` that a handler changed them meanwhile. */
static uint64_t thread_begin_change(emmai_thread *self)
{
    uint64_t before = __atomic_exchange_n(&self->nonce, EMMAI_NONCE_CHANGING, __ATOMIC_RELAXED);
    if (before == EMMAI_NONCE_CHANGING)
        return before;
    emmai_sync_set(&self->changes, (uint16_t)(self->changes + 1));
    emmai_sync_set(&self->nonce_before, (uint64_t)0);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return before;
}

static void thread_end_change(emmai_thread *self, uint64_t nonce, uint64_t before)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_sync_set(&self->nonce_before, before);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_sync_set(&self->nonce, nonce);
}

/* Remembers which heap serves the thread in this instance. */
static void emmai_thread_remember(emmai_thread *self, const emma *instance, emmai_thread_heap *heap)
{
    uint64_t before = self ? thread_begin_change(self) : EMMAI_NONCE_CHANGING;
    if (before == EMMAI_NONCE_CHANGING)
        return;
    emmai_sync_set(&self->heap_before, self->heap);
    emmai_sync_set(&self->heap, heap);
    EMMAI_FOLLOW_HEAP(&heap->heap);
    thread_end_change(self, instance->nonce, before);
}

static void emmai_thread_forget(emmai_thread *self)
{
    if (thread_begin_change(self) == EMMAI_NONCE_CHANGING)
        return;
    EMMAI_FOLLOW_HEAP(NULL);
    thread_end_change(self, 0, 0);
}

/* Tells threads apart that the kernel gave the same id, one after the other's death: what the earlier one
 * had is not the later one's until that takes it, as anyone may. A handler may come first. */
static void thread_number(emmai_thread *self, const emma *instance)
{
    uint32_t unborn = 0;
    uint32_t births = __atomic_add_fetch(&instance->control->births, 1, __ATOMIC_RELAXED);
    /* From a random number on, as other instances count theirs; odd, as in all names. */
    uint32_t birth = ((uint32_t)instance->nonce + 2 * births) | 1;
    __atomic_compare_exchange_n(&self->birth, &unborn, birth, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

/* Asks the kernel who this is before it takes a heap; 0 when it must not have one. A thread that has
 * another id than before came through a fork: alone, so that no heap of before is in use by anyone
 * else. Not so a child that shares the parent's memory (vfork): it goes on as the thread that it
 * suspends, and has no heap where that has none. */
static uint64_t emmai_thread_identify(emmai_thread *self, const emma *instance)
{
    uint32_t kernel_id = (uint32_t)emmai_os_thread_id();
    if ((uint32_t)emmai_os_process_id() != emmai_sync_get(&instance->control->process_id))
        return self && self->kernel_id ? emmai_thread_id(self) : 0;
    if (self && self->kernel_id != kernel_id) {
        self->forked = self->kernel_id != 0; /* once true, it stays so */
        emmai_thread_forget(self);
        if (!self->birth)
            thread_number(self, instance);
        emmai_sync_set(&self->kernel_id, kernel_id);
    }
    return thread_name(self, kernel_id);
}

/* The heap that served the calling thread in this instance, if that was one of the last two. */
static inline emmai_heap *emmai_thread_last(const emma *instance)
{
    const emmai_thread *self = emmai_thread_self();
    if (EMMAI_UNLIKELY(!self))
        return NULL;
    /* In this order: compilers move plain loads across a fence where no address was taken. */
    uint16_t changes = emmai_sync_get(&self->changes);
    emmai_thread_heap *heap;
    if (EMMAI_LIKELY(emmai_sync_get(&self->nonce) == instance->nonce))
        heap = emmai_sync_get(&self->heap);
    else if (emmai_sync_get(&self->nonce_before) == instance->nonce)
        heap = emmai_sync_get(&self->heap_before);
    else
        return NULL;
    if (EMMAI_UNLIKELY(emmai_sync_get(&self->changes) != changes))
        return NULL;
    if (!heap) /* Never in tests: there is one where the nonce is an instance's. */
        __builtin_unreachable();
    return &heap->heap;
}

/* A thread that frees so often and has no heap takes one, for the stashes: it is a consumer. Not for a few
 * frees, as at a thread's end. */
#define LONE_FREES_MAX 64

static bool emmai_thread_wants_heap(void)
{
    emmai_thread *self = emmai_thread_self();
    return self && ++self->lone_frees % LONE_FREES_MAX == 0;
}
