/* emma-malloc-environment.c - finds a variable of the environment at any time, even
 * before the C library knows it. */
#include "emma-malloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

/* One byte of a file, through a buffer. */
typedef struct early_file {
    int descriptor;
    size_t used, filled;
    char buffer[MALLOC_EARLY_BYTES];
} early_file;

static bool early_next(early_file *file, char *out)
{
    if (file->used == file->filled) {
        const ssize_t got = read(file->descriptor, file->buffer, sizeof file->buffer);
        if (got <= 0)
            return false;
        file->used = 0;
        file->filled = (size_t)got;
    }
    *out = file->buffer[file->used++];
    return true;
}

/* Reads one variable of the environment, cut to the buffer; false: there are no more. */
static bool early_variable(early_file *file, char variable[MALLOC_EARLY_BYTES])
{
    size_t length = 0;
    char letter;
    while (early_next(file, &letter) && letter != '\0')
        if (length < MALLOC_EARLY_BYTES - 1)
            variable[length++] = letter;
    variable[length] = '\0';
    return length > 0;
}

/* The value in a line NAME=VALUE; NULL: it is of another variable. */
static const char *value_of(const char *variable, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=' ? variable + length + 1
                                                                           : NULL;
}

/* What the kernel was given. */
static const char *find_early(const char *name, char buffer[MALLOC_EARLY_BYTES])
{
    early_file file;
    const char *value = NULL;
    file.used = file.filled = 0;
    file.descriptor = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    if (file.descriptor < 0)
        return NULL;
    while (!value && early_variable(&file, buffer))
        value = value_of(buffer, name);
    close(file.descriptor);
    return value;
}

const char *emmai_malloc_find_variable(const char *name, char early[MALLOC_EARLY_BYTES])
{
    if (getauxval(AT_SECURE)) /* the caller may not be the one to decide */
        return NULL;
    if (!environ)
        return find_early(name, early);
    const char *value = NULL;
    for (char **variable = environ; *variable && !value; variable++)
        value = value_of(*variable, name);
    return value;
}
