/* emma.c - the whole core as one translation unit.
 *
 * The core is always compiled like this: its internals are static, so no symbol but the public ones
 * leaves the object, and no flag is needed. The pragmas below take back what a distribution's or a
 * user's flags would make the compiler call from a C library that is not there: the stack
 * protector's failure function, and memcpy for loops (clang has no pragma against that: loops that
 * it would recognise are fenced in emma_arch_x86_64.h). */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_stack_protector)), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC optimize("no-tree-loop-distribute-patterns", "no-stack-protector")
#endif

#include "emma_internal.h"

#include "emma_class.c"
#include "emma_os.c"
#include "emma_bits.c"
#include "emma_misuse.c"
#include "emma_guard.c"
#include "emma_footprint.c"
#include "emma_metadata.c"
#include "emma_place.c"
#include "emma_entry.c"
#include "emma_chunk.c"
#include "emma_purge.c"
#include "emma_huge.c"
#include "emma_image.c"
#include "emma_dirty.c"
#include "emma_level.c"
#include "emma_rollback.c"
#include "emma_checkpoint.c"
#include "emma_hardened.c"
#include "emma_young.c"
#include "emma_slab.c"
#include "emma_run.c"
#include "emma_canary.c"
#include "emma_checked.c"
#include "emma_delay.c"
#include "emma_watch.c"
#include "emma_thread.c"
#include "emma_shared.c"
#include "emma_adopt.c"
#include "emma_held.c"
#include "emma_remote.c"
#include "emma_stash.c"
#include "emma_abandoned.c"
#include "emma_block.c"
#include "emma_free.c"
#include "emma_realloc.c"
#include "emma_instance.c"
#include "emma_stats.c"
#include "emma_walk.c"
#include "emma_map.c"
#include "emma_check.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
