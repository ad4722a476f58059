/* emma_control.c - what the modules for Lua and Python are made of, as one translation unit: its
 * internals are static. See emma_control.h. */

/* For memmem. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "emma_control.h"
#include "emma_export.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emma_control_error.c"
#include "emma_control_value.c"
#include "emma_control_instance.c"
#include "emma_control_sandbox.c"
#include "emma_control_pool.c"
