/* fuzz_ops.h - the entry that libFuzzer and fuzz_replay.c call. */
#ifndef EMMA_FUZZ_OPS_H
#define EMMA_FUZZ_OPS_H

#include <stddef.h>
#include <stdint.h>

/* Runs one input to its end; a failed check aborts the program. Returns 0, as libFuzzer demands. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#endif
