/* emma_internal_shared.h - what the files of shared instances offer each other and the core. */
#ifndef EMMA_INTERNAL_SHARED_H
#define EMMA_INTERNAL_SHARED_H

#include "emma_layout_shared.h"

/* ---- emma_thread.c ---- */

static inline emmai_thread *emmai_thread_self(void);
static uint64_t emmai_thread_id(const emmai_thread *self);
static uint64_t emmai_thread_identify(emmai_thread *self, const emma *instance);
static void emmai_thread_remember(emmai_thread *self, const emma *instance,
                                  emmai_thread_heap *heap);
static void emmai_thread_forget(emmai_thread *self);
static inline emmai_heap *emmai_thread_last(const emma *instance);
static bool emmai_thread_wants_heap(void);

/* ---- emma_shared.c ---- */

static emmai_heap *emmai_shared_enter(emma *instance);
static bool emmai_shared_is_inside(const emma *instance);
static void emmai_shared_mark_alone(const emma *instance, bool alone);
static emmai_heap *emmai_shared_earlier(const emma *instance);
static bool emmai_shared_is_idle(const emmai_thread_heap *heap);
static size_t emmai_shared_heap_count(const emma *instance);
static uint32_t emmai_shared_generation(emma *instance);
static void emmai_shared_leave(emma *instance, emmai_thread_heap *heap, bool stocked);
static emmai_thread_heap *emmai_shared_heap_at(const emma *instance, size_t number);
static size_t emmai_shared_heap_number(const emma *instance, size_t chunk);
static emmai_heap *emmai_shared_heap_of(const emma *instance, const emmai_slab *slab);
static emmai_thread_heap *emmai_shared_next_heap(const emma *instance, size_t *number);

/* ---- emma_adopt.c ---- */

static emmai_thread_heap *emmai_adopt_heap(emma *instance, const emmai_thread *self, uint64_t id,
                                           uint32_t generation);
static void emmai_adopt_reclaim(emma *instance);
static void emmai_adopt_decay(emma *instance);

/* ---- emma_held.c ---- */

static size_t emmai_held_take_chunk(emma *instance, emmai_heap *heap);
static size_t emmai_held_take(const emma *instance, emmai_heap *heap);
static void emmai_held_give(emma *instance, emmai_heap *heap, size_t chunk);
static void emmai_held_shed(emma *instance, emmai_heap *heap);
static void emmai_held_shed_all(emma *instance);

/* ---- emma_stash.c ---- */

static inline void emmai_stash_free(const emma *instance, emmai_heap *heap, unsigned size_class,
                                    void *block);
static void *emmai_stash_refill(const emma *instance, emmai_heap *heap, unsigned size_class);
static void *emmai_stash_take(const emma *instance, emmai_heap *heap, unsigned size_class);
static void emmai_stash_give_back(const emma *instance, emmai_heap *heap);
static bool emmai_stash_is_bin(const emma *instance, const emmai_heap *heap, unsigned size_class);
static unsigned emmai_stash_next_class(uint64_t *classes);

/* ---- emma_remote.c ---- */

static void emmai_remote_send(const emma *instance, emmai_heap *heap, unsigned size_class,
                              void *block);
static void emmai_remote_send_off(const emma *instance, emmai_heap *heap);
static void emmai_remote_free_alone(const emma *instance, const emmai_slab *slab, void *block);
static void emmai_remote_drain(emma *instance, emmai_heap *heap);
static void emmai_remote_settle(emma *instance);
static void emmai_remote_clear(emmai_heap *heap);
static void emmai_remote_mark(const emma *instance, const emmai_slab *slab, uint64_t *marks);
static void emmai_remote_count(const emma *instance, size_t *counts);

/* ---- emma_abandoned.c ---- */

static size_t emmai_abandoned_pages(const emma *instance);
static void emmai_abandoned_open(const emma *instance);

#endif
