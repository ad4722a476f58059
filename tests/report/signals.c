/* A reader that goes while a report is written into its pipe is an error of the writer's alone:
 * what the process does with the signal is as it was meanwhile, and afterwards none waits. */
#include "emma_report.h"
#include "emma_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct writing {
    const char *path;
    emma *instance;
    bool written, is_waiting;
    emma_report_place place;
} writing;

static void *write_report(void *arg)
{
    writing *self = arg;
    static emma_report report;
    sigset_t waiting;
    emma_report_gather(&report, self->instance);
    CHECK(emma_report_prepare(&self->place, self->path));
    self->written = emma_report_write(&self->place, &report);
    sigpending(&waiting);
    self->is_waiting = sigismember(&waiting, SIGPIPE);
    emma_report_release(&report);
    return NULL;
}

static void drain(int pipe)
{
    char part[4096];
    ssize_t count;
    while ((count = read(pipe, part, sizeof part)) > 0 || (count < 0 && errno == EAGAIN))
        if (count < 0)
            poll(&(struct pollfd){ .fd = pipe, .events = POLLIN }, 1, -1);
}

/* A page is more than there is room for in a pipe: the writer waits in the middle of it. */
static void write_into_pipe(writing *self, bool reads)
{
    pthread_t thread;
    const int pipe = open(self->path, O_RDONLY | O_NONBLOCK);
    CHECK_GE(pipe, 0);
    CHECK_EQ(pthread_create(&thread, NULL, write_report, self), 0);
    CHECK_EQ(poll(&(struct pollfd){ .fd = pipe, .events = POLLIN }, 1, -1), 1);
    static const int numbers[] = { SIGPIPE, SIGXFSZ };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction now;
        CHECK_EQ(sigaction(numbers[i], NULL, &now), 0);
        CHECK(now.sa_handler == SIG_DFL);
    }
    if (reads)
        drain(pipe);
    close(pipe);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(!self->is_waiting);
}

int main(void)
{
    char directory[] = "/tmp/emma-report-signals.XXXXXX";
    char path[sizeof directory + 16];
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/page.html", directory);
    CHECK_EQ(mkfifo(path, 0600), 0);
    writing self = { .path = path, .instance = test_create(EMMA_UNLIMITED, 0) };
    write_into_pipe(&self, true);
    CHECK(self.written);
    write_into_pipe(&self, false);
    CHECK(!self.written);
    CHECK_EQ(self.place.error, EPIPE);
    emma_destroy(self.instance);
    unlink(path);
    rmdir(directory);
    return 0;
}
