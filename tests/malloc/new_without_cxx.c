/* operator new in a program without a C++ library, out of memory: a message and abort. */
#include "malloc_test.h"

void *_Znwm(size_t bytes);
void _ZdlPv(void *block);

static void do_new(void *arg)
{
    (void)arg;
    _ZdlPv(_Znwm((size_t)PTRDIFF_MAX));
}

int main(void)
{
    malloc_test_serves();
    _ZdlPv(_Znwm(100));
    static char text[4096];
    const int status = test_run_child(do_new, NULL, text, sizeof text);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGABRT);
    CHECK_EQ(strcmp(text, "emma: malloc: no memory for operator new, and no C++ library to tell\n"), 0);
    return 0;
}
