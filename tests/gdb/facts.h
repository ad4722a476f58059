/* facts.h - what the program that gdb looks at says of itself, a line each, for check.py to compare:
 *
 *   instance ADDRESS NAME KIND ORIGIN RESERVE
 *   stat ADDRESS NAME VALUE
 *   chunk INSTANCE ADDRESS KIND BLOCK_BYTES LIVE FREE RESIDENT BYTES
 *   block INSTANCE ADDRESS BYTES STATE      BYTES 0: not told
 *   asked INSTANCE ADDRESS BYTES            of a live block, where emma knows (EMMA_CHECKS)
 *   none ADDRESS                            of no instance
 *   gone INSTANCE                           destroyed
 *   step INSTANCE ADDRESS ADDRESS           blocks that are freed next
 */
#ifndef FACTS_H
#define FACTS_H

#include "../core/emma_test.h"

/* Where they go; opened by main. */
extern FILE *facts;

/* What each copy of emma in the program does; copy.c. */
#define COPY_FUNCTIONS(name)                \
    void name##_make(size_t reserve_bytes); \
    void name##_tell(void);                 \
    void name##_hide(void);                 \
    void name##_enter(void);                \
    void name##_step(void);

COPY_FUNCTIONS(plain)
COPY_FUNCTIONS(tiny)
COPY_FUNCTIONS(checked)
COPY_FUNCTIONS(hardened)

/* Where gdb stops, before the function does anything; program.c. */
#define STOP_IN(name) ((void)fflush(facts), name())
void stop_idle(void);
void stop_inside(void);
void stop_stepping(void);
void stop_stepped(void);

#endif
