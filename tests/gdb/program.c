/* program.c - a program with four copies of emma, of different build options, for gdb to look at.
 *
 * program FACTS RESERVE_BYTES ACT...: writes what is to be found to the file FACTS. Acts: idle, inside, step
 * (where gdb stops), hide, die. */
#include "facts.h"

FILE *facts;

/* Volatile: so that calls of functions that do nothing are made. */
static volatile int stops;

#define STOP(name)                            \
    __attribute__((noinline)) void name(void) \
    {                                         \
        stops++;                              \
    }

STOP(stop_idle)
STOP(stop_inside)
STOP(stop_stepping)
STOP(stop_stepped)

int main(int argc, char **argv)
{
    CHECK_GT(argc, 3);
    facts = fopen(argv[1], "w");
    CHECK(facts != NULL);
    const size_t reserve_bytes = strtoul(argv[2], NULL, 10);
    plain_make(reserve_bytes);
    tiny_make(reserve_bytes);
    checked_make(reserve_bytes);
    hardened_make(reserve_bytes);
    plain_tell();
    tiny_tell();
    checked_tell();
    hardened_tell();
    fprintf(facts, "none %p\nnone %p\n", (void *)&argc, (void *)&facts);
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "idle") == 0) {
            STOP_IN(stop_idle);
        } else if (strcmp(argv[i], "hide") == 0) {
            plain_hide();
            checked_hide();
        } else if (strcmp(argv[i], "inside") == 0) {
            plain_enter();
            tiny_enter();
            checked_enter();
            hardened_enter();
        } else if (strcmp(argv[i], "step") == 0) {
            plain_step();
            hardened_step();
        } else {
            CHECK(strcmp(argv[i], "die") == 0);
            fflush(facts);
            abort();
        }
    }
    return 0;
}
