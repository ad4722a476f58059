/* labels.c - a program whose malloc is a checked emma's, with blocks of each of its families. */
#include <stdlib.h>

void *_Znwm(size_t bytes);
void *_Znam(size_t bytes);
void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment);
void *_ZnamSt11align_val_t(size_t bytes, size_t alignment);
void stop_idle(void);

enum { BYTES = 100, LARGE_BYTES = 100000 };

void *blocks[7];

__attribute__((noinline)) void stop_idle(void)
{
    __asm__ volatile("" : : : "memory");
}

int main(void)
{
    void *made[] = {
        malloc(BYTES),     aligned_alloc(64, BYTES),          _Znwm(BYTES),
        _Znam(BYTES),      _ZnwmSt11align_val_t(BYTES, 4096), _ZnamSt11align_val_t(BYTES, 64),
        _Znam(LARGE_BYTES)
    };
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        blocks[i] = made[i];
    stop_idle();
    return 0;
}
