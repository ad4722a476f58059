/* emma_sandbox.c - the whole sandbox kit as one translation unit, as the core is: its internals
 * are static, so no symbol but the public ones leaves the object. It is compiled for the Lua
 * whose lua.h is found, and needs POSIX threads. */
#include "emma_sandbox_internal.h"

#include "emma_sandbox_call.c"
#include "emma_sandbox_name.c"
#include "emma_sandbox_stop.c"
#include "emma_sandbox_count.c"
#include "emma_sandbox_library.c"
#include "emma_sandbox_host.c"
#include "emma_sandbox_value.c"
#include "emma_sandbox_resource.c"
#include "emma_sandbox_types.c"
#include "emma_sandbox_life.c"
#include "emma_sandbox_checkpoint.c"
#include "emma_sandbox_pool_prepare.c"
#include "emma_sandbox_pool.c"
#include "../emma_export.c"
