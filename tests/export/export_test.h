/* export_test.h - what the tests of the exporter share: its page, found as others find it. */
#ifndef EXPORT_TEST_H
#define EXPORT_TEST_H

#include "../core/emma_test.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "emma_export.h"

/* The layout only: its functions for files are the exporter's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "emma_export_page.h"
#pragma GCC diagnostic pop

enum { EXPORT_TEST_WAITS = 4000, EXPORT_TEST_WAIT_US = 5000 };

/* Opens the n-th page that a process has, to be read; -1: it has no more. The caller closes it. */
static inline int export_test_open(pid_t pid, int skip)
{
    char folder[64], path[320], link[64];
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
    DIR *files = opendir(folder);
    CHECK(files != NULL);
    int found = -1;
    for (struct dirent *file; found < 0 && (file = readdir(files));) {
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        const ssize_t length = readlink(path, link, sizeof link - 1);
        link[length > 0 ? length : 0] = '\0';
        if (strncmp(link, "/memfd:emma-export", 18) == 0 && skip-- == 0)
            found = open(path, O_RDONLY | O_CLOEXEC);
    }
    closedir(files);
    return found;
}

/* The page of a process that is open and its own; NULL: there is none. */
static inline const export_page *export_test_find(pid_t pid, size_t *bytes)
{
    int descriptor;
    for (int n = 0; (descriptor = export_test_open(pid, n)) >= 0; n++) {
        struct stat file;
        CHECK_EQ(fstat(descriptor, &file), 0);
        *bytes = (size_t)file.st_size;
        const export_page *page = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, descriptor, 0);
        close(descriptor);
        CHECK(page != MAP_FAILED);
        if (memcmp(page->magic, EXPORT_MAGIC, 8) == 0 && page->process_id == (uint32_t)pid &&
            !__atomic_load_n(&page->closed, __ATOMIC_ACQUIRE))
            return page;
        munmap((void *)(uintptr_t)page, *bytes);
    }
    return NULL;
}

/* Copies a slot while nobody writes to it. */
static inline void export_test_slot(const export_page *page, size_t place, export_slot *out)
{
    const export_slot *slot = &page->slots[place];
    uint32_t before, after;
    do {
        before = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
        out->number = __atomic_load_n(&slot->number, __ATOMIC_RELAXED);
        memcpy(out->name, slot->name, sizeof out->name);
        memcpy(out->kind, slot->kind, sizeof out->kind);
        for (size_t i = 0; i < EXPORT_FIGURE_COUNT; i++)
            out->figures[i] = __atomic_load_n(&slot->figures[i], __ATOMIC_ACQUIRE);
        after = __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED);
    } while (before != after || before & 1);
}

/* How many instances a process shows, 0 without a page; *out is the last with that name, if there is one. */
static inline size_t export_test_count(pid_t pid, const char *name, export_slot *out)
{
    size_t bytes, count = 0;
    const export_page *page = export_test_find(pid, &bytes);
    if (!page)
        return 0;
    CHECK_GE(bytes, sizeof *page + page->slot_count * sizeof(export_slot));
    for (size_t i = 0; i < page->slot_count; i++) {
        export_slot slot;
        export_test_slot(page, i, &slot);
        count += slot.number != 0;
        if (slot.number && name && strcmp(slot.name, name) == 0)
            *out = slot;
    }
    munmap((void *)(uintptr_t)page, bytes);
    return count;
}

/* Waits until so many instances are shown. */
static inline void export_test_await(pid_t pid, size_t count)
{
    for (int i = 0; i < EXPORT_TEST_WAITS && export_test_count(pid, NULL, NULL) != count; i++)
        usleep(EXPORT_TEST_WAIT_US);
    CHECK_EQ(export_test_count(pid, NULL, NULL), count);
}

static inline size_t export_test_descriptors(void)
{
    size_t count = 0;
    DIR *files = opendir("/proc/self/fd");
    CHECK(files != NULL);
    while (readdir(files))
        count++;
    closedir(files);
    return count;
}

static inline size_t export_test_threads(void)
{
    struct stat tasks;
    CHECK_EQ(stat("/proc/self/task", &tasks), 0);
    return (size_t)tasks.st_nlink - 2;
}

#endif
