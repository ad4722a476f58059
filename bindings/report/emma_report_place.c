/* emma_report_place.c - where a report may be written, and how it comes there.
 *
 * It is written beside its place and renamed into it, so that whoever reads the place sees a whole
 * report or the one before. Only a report (or an empty file) is ever replaced. What is no regular
 * file, or is open already as a stream of this process, is held from the start and written to as it
 * is: a rename would take it away from others. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* realpath, F_DUPFD_CLOEXEC */
#endif
#include "emma_report.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NEW_REPORT_MODE   0666 /* before the user's umask */
#define MODE_BITS         0777
#define SHELL_DESCRIPTORS 10 /* a shell can redirect those below */
#define VERSION_BYTES     32 /* more than any version has */

#define TEMPORARY_NAME "/.emma-report.%ld.%u"
#define MOST_TRIES     100

__attribute__((format(printf, 3, 4))) static bool refuse(emma_report_place *place, int error,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(place->why, sizeof place->why, format, arguments);
    va_end(arguments);
    place->error = error;
    return false;
}

static bool refuse_errno(emma_report_place *place, int error)
{
    return refuse(place, error, "%s", strerror(error));
}

/* Copies a descriptor to where no redirection of the program's commands meets it. */
static bool hold(emma_report_place *place, int descriptor)
{
    place->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, SHELL_DESCRIPTORS);
    return place->descriptor >= 0 || refuse_errno(place, errno);
}

/* The stream of this process that writes to the file; -1: none does. */
static int find_stream(const struct stat *file)
{
    struct stat stream;
    for (int i = STDOUT_FILENO; i < SHELL_DESCRIPTORS; i++)
        if (fstat(i, &stream) == 0 && stream.st_dev == file->st_dev &&
            stream.st_ino == file->st_ino && (fcntl(i, F_GETFL) & O_ACCMODE) != O_RDONLY)
            return i;
    return -1;
}

/* A pipe, a terminal, a device. */
static bool hold_special(emma_report_place *place, const char *path)
{
    const int descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0 && errno == ENXIO && S_ISFIFO(place->before.st_mode))
        return refuse(place, ENXIO, "nothing reads from this pipe");
    if (descriptor < 0)
        return refuse_errno(place, errno);
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
    const bool held = hold(place, descriptor);
    close(descriptor);
    return held;
}

static char *join(const char *directory, const char *name)
{
    const size_t bytes = strlen(directory) + strlen(name) + 1;
    char *path = malloc(bytes);
    if (path)
        snprintf(path, bytes, "%s%s", directory, name);
    return path;
}

/* Fills in the file and its directory. False: errno says why not. */
static bool resolve(emma_report_place *place, const char *path)
{
    char *whole = place->replaces ? realpath(path, NULL) : strdup(path);
    char *copy = whole ? strdup(whole) : NULL;
    place->directory = copy ? realpath(dirname(copy), NULL) : NULL;
    char *name = place->directory ? join("/", basename(whole)) : NULL;
    place->file = name ? join(place->directory, name) : NULL;
    const int error = errno;
    free(name);
    free(copy);
    free(whole);
    errno = error;
    return place->file != NULL;
}

/* Makes the file that is to be renamed into the place, with the mode that a new one has here,
 * and its name. -1: refused. */
static int make_temporary(emma_report_place *place, char **name)
{
    static unsigned number; /* any thread, atomic */
    char end[sizeof TEMPORARY_NAME + 32];
    int descriptor = -1;
    errno = EEXIST;
    for (int tries = 0; descriptor < 0 && errno == EEXIST && tries < MOST_TRIES; tries++) {
        snprintf(end, sizeof end, TEMPORARY_NAME, (long)getpid(),
                 __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED));
        *name = join(place->directory, end);
        if (!*name)
            break;
        descriptor = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, NEW_REPORT_MODE);
        const int error = errno;
        if (descriptor < 0)
            free(*name);
        errno = error;
    }
    if (descriptor < 0)
        refuse(place, errno, "no file can be made in '%s': %s", place->directory, strerror(errno));
    return descriptor;
}

static bool is_report(const char *start)
{
    for (size_t i = 0; i < EMMA_REPORT_FORMATS; i++) {
        const char *before = emmai_report_heads[i][0], *after = emmai_report_heads[i][1];
        if (strncmp(start, before, strlen(before)) != 0)
            continue;
        const char *version = start + strlen(before);
        if (strncmp(version + strspn(version, "0123456789."), after, strlen(after)) == 0)
            return true;
    }
    return false;
}

/* Why a regular file must not be replaced, as it is no report: more likely it is a script whose
 * name stands where the report's was forgotten. NULL: it may be. */
static const char *why_keep(const char *path)
{
    char start[256 + VERSION_BYTES];
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t count = descriptor >= 0 ? read(descriptor, start, sizeof start - 1) : -1;
    if (descriptor >= 0)
        close(descriptor);
    if (count < 0)
        return "the file is there and cannot be read, so it may be no report";
    start[count] = '\0';
    return count == 0 || is_report(start) ? NULL : "the file is there and is no report";
}

/* Whether the place is as it was found. NULL: it is; else what happened. */
static const char *why_not_replace(const emma_report_place *place)
{
    struct stat now;
    if (lstat(place->file, &now) != 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!place->replaces || !S_ISREG(now.st_mode) || now.st_dev != place->before.st_dev ||
        now.st_ino != place->before.st_ino)
        return "another file has come there since the start";
    return why_keep(place->file);
}

static bool find_format(emma_report_place *place, const char *path)
{
    static const char *const ends[EMMA_REPORT_FORMATS] = { ".json", ".html", ".svg" };
    const size_t length = strlen(path);
    for (int i = 0; i < EMMA_REPORT_FORMATS; i++)
        if (length > strlen(ends[i]) && strcmp(path + length - strlen(ends[i]), ends[i]) == 0) {
            place->format = (enum emma_report_format)i;
            return true;
        }
    return false;
}

static bool prepare_file(emma_report_place *place, const char *path, bool is_known)
{
    const char *why = NULL;
    struct stat link;
    if (!place->replaces && lstat(path, &link) == 0)
        return refuse(place, ENOENT, "it is a link to a file that is not there");
    if (!place->replaces && path[strlen(path) - 1] == '/')
        return refuse_errno(place, ENOENT);
    if (place->replaces && access(path, W_OK) != 0)
        return refuse_errno(place, errno);
    if (place->replaces && (why = why_keep(path)))
        return refuse(place, EEXIST, "%s", why);
    if (!is_known)
        return refuse(place, EMMA_REPORT_BAD_NAME, "its name must end in .html, .json or .svg");
    if (!resolve(place, path))
        return refuse_errno(place, errno);
    char *temporary;
    const int descriptor = make_temporary(place, &temporary);
    if (descriptor < 0)
        return false;
    close(descriptor);
    unlink(temporary);
    free(temporary);
    return true;
}

static bool prepare(emma_report_place *place, const char *path)
{
    if (path[0] == '\0')
        return refuse(place, ENOENT, "the name is empty");
    if (strcmp(path, "-") == 0)
        return refuse(place, EINVAL, "it names no file (the standard output is /dev/stdout)");
    const bool is_known = find_format(place, path);
    place->replaces = stat(path, &place->before) == 0;
    if (!place->replaces)
        return errno == ENOENT ? prepare_file(place, path, is_known) : refuse_errno(place, errno);
    if (S_ISDIR(place->before.st_mode))
        return refuse_errno(place, EISDIR);
    const int stream = find_stream(&place->before);
    if (stream >= 0)
        return hold(place, stream);
    return S_ISREG(place->before.st_mode) ? prepare_file(place, path, is_known)
                                          : hold_special(place, path);
}

bool emma_report_prepare(emma_report_place *place, const char *path)
{
    *place = (emma_report_place){ .descriptor = -1 };
    if (prepare(place, path))
        return true;
    emma_report_forget(place);
    return false;
}

void emma_report_forget(emma_report_place *place)
{
    if (place->descriptor >= 0)
        close(place->descriptor);
    if (place->text)
        munmap(place->text, place->text_room);
    place->text = NULL;
    free(place->file);
    free(place->directory);
    place->file = place->directory = NULL;
    place->descriptor = -1;
}

/* ---- writing ---- */

static void write_text(emma_report_out *out, enum emma_report_format format,
                       const emma_report *report)
{
    static void (*const writers[EMMA_REPORT_FORMATS])(emma_report_out *, const emma_report *) = {
        emmai_report_as_json, emmai_report_as_page, emmai_report_as_svg
    };
    writers[format](out, report);
    emmai_out_flush(out);
}

bool emma_report_make(emma_report_place *place, emma_report *report)
{
    emma_report_out out = { .descriptor = -1, .keeps = true };
    emmai_report_judge(report);
    write_text(&out, place->format, report);
    place->text = out.kept;
    place->text_bytes = out.kept_bytes;
    place->text_room = out.kept_room;
    return !out.error || refuse_errno(place, out.error);
}

/* Writes and closes. 0, or why not as an errno. */
static int write_into(emma_report_place *place, int descriptor, const emma_report *report)
{
    emma_report_out out = { .descriptor = descriptor };
    if (place->text) {
        emmai_out_bytes(&out, place->text, place->text_bytes);
        emmai_out_flush(&out);
    } else {
        write_text(&out, place->format, report);
    }
    if (close(descriptor) != 0 && !out.error)
        out.error = errno;
    return out.error;
}

/* What is replaced keeps both. */
static int set_owner_and_mode(const emma_report_place *place, int descriptor)
{
    if (!place->replaces)
        return 0;
    if (fchown(descriptor, place->before.st_uid, place->before.st_gid) != 0 && errno != EPERM)
        return errno;
    return fchmod(descriptor, place->before.st_mode & MODE_BITS) == 0 ? 0 : errno;
}

static bool write_file(emma_report_place *place, const emma_report *report)
{
    char *temporary;
    const int descriptor = make_temporary(place, &temporary);
    if (descriptor < 0)
        return false;
    int error = set_owner_and_mode(place, descriptor);
    const char *why = NULL;
    if (error)
        close(descriptor);
    else
        error = write_into(place, descriptor, report);
    if (!error && (why = why_not_replace(place)))
        refuse(place, EEXIST, "%s", why);
    else if (!error && rename(temporary, place->file) != 0)
        error = errno;
    if (error)
        refuse_errno(place, error);
    if (error || why)
        unlink(temporary);
    free(temporary);
    return !error && !why;
}

static bool write_stream(emma_report_place *place, const emma_report *report)
{
    const int descriptor = place->descriptor;
    place->descriptor = -1;
    const int error = write_into(place, descriptor, report);
    return !error || refuse_errno(place, error);
}

/* The signals of writes that fail. They come to the thread that wrote. */
typedef struct write_signals {
    sigset_t taken;  /* that did not wait before */
    sigset_t before; /* the thread's mask */
} write_signals;

static void hold_signals(write_signals *signals)
{
    static const int numbers[] = { SIGPIPE, SIGXFSZ };
    sigset_t held, waiting;
    sigemptyset(&held);
    sigemptyset(&signals->taken);
    sigpending(&waiting);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&held, numbers[i]);
        if (!sigismember(&waiting, numbers[i]))
            sigaddset(&signals->taken, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &held, &signals->before);
}

static void take_signals(const write_signals *signals)
{
    const struct timespec at_once = { 0 };
    const int error = errno;
    while (sigtimedwait(&signals->taken, NULL, &at_once) > 0 || errno == EINTR)
        continue;
    errno = error;
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

/* A reader that has gone and a limit on the size of files are errors here, not the end. */
bool emma_report_write(emma_report_place *place, emma_report *report)
{
    write_signals signals;
    hold_signals(&signals);
    if (!place->text)
        emmai_report_judge(report);
    const bool written =
        place->descriptor >= 0 ? write_stream(place, report) : write_file(place, report);
    take_signals(&signals);
    emma_report_forget(place);
    return written;
}
