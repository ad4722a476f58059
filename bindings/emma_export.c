/* emma_export.c - keeps the page in which a process shows the figures of its
 * instances: emma_export_page.h.
 *
 * Nothing is ever read back from a page: what is in it is of no concern to the process.
 *
 * All state is behind one lock, which is held for some of the instances at a time, and with all
 * signals blocked: a handler that forks cannot find its own thread inside. Nothing here allocates
 * by malloc, but for what the C library does for a thread: the instance may be malloc's own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "emma_export_page.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the state ---- */

#define EXPORT_INTERVAL_MOST_MS 2000
/* Of the thread's time, one part at most goes into looking at all, and one
 * into summing up an instance. */
#define EXPORT_SHARE       100
#define EXPORT_SLOTS_FIRST (4096 / sizeof(export_slot) - 1) /* a page of the machine's */
#define EXPORT_SLOTS_MOST  ((size_t)1 << 20)
#define EXPORT_BATCH       ((size_t)64) /* instances that are looked at with the lock held once */
#define EXPORT_STACK_BYTES ((size_t)64 << 10) /* of the thread */

typedef struct export_entry {
    emma *instance; /* NULL: free */
    uint64_t number;
    uint64_t live_bytes, live_blocks;
    uint64_t live_due_ns; /* when they are summed up next */
    uint32_t sequence;
    unsigned flags;
    char name[EXPORT_NAME_BYTES];
    char kind[EXPORT_KIND_BYTES];
} export_entry;

static struct {
    pthread_mutex_t lock;
    sigset_t mask;  /* of who has the lock, as it was before */
    bool exporting; /* any thread, atomic */
    bool ends;      /* the thread is to */
    bool forks;     /* the handlers of forks are set */
    pthread_t thread;
    pid_t process;
    int file;
    struct stat file_stat; /* the descriptor is ours as long as it leads there */
    export_page *page;
    export_entry *entries; /* one for each slot */
    size_t slot_count;
    size_t end;  /* entries from here on are free */
    size_t hint; /* entries below are not */
    uint64_t last_number;
    uint64_t start_ns;
    uint32_t unshown;      /* instances that there was no room for */
    const emma **unlisted; /* they, as far as there was room for that */
    size_t unlisted_count;
    size_t unlisted_room;
} exported = { .lock = PTHREAD_MUTEX_INITIALIZER, .file = -1 };

static void export_lock(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&exported.lock);
    exported.mask = before;
}

static void export_unlock(void)
{
    const sigset_t before = exported.mask;
    pthread_mutex_unlock(&exported.lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- slots ---- */

/* Writes what an entry has to show; a free one shows that. */
static void export_slot_write(size_t place, const emma_stats *stats)
{
    export_entry *entry = &exported.entries[place];
    export_slot *slot = &exported.page->slots[place];
    /* Nothing of what follows is seen before this. */
    __atomic_exchange_n(&slot->sequence, entry->sequence + 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&slot->number, entry->number, __ATOMIC_RELAXED);
    memcpy(slot->name, entry->name, sizeof slot->name);
    memcpy(slot->kind, entry->kind, sizeof slot->kind);
    export_slot_set_figures(slot, stats, entry->live_bytes, entry->live_blocks);
    entry->sequence += 2;
    __atomic_store_n(&slot->sequence, entry->sequence, __ATOMIC_RELEASE);
}

/* Sums up what is live, unless that was done so lately that it would take more
 * than its share of the time. */
static void export_sum_up(export_entry *entry)
{
    const uint64_t begin_ns = export_now_ns(CLOCK_MONOTONIC);
    if (!(entry->flags & EMMA_EXPORT_LIVE) || begin_ns < entry->live_due_ns)
        return;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(entry->instance, &stats);
    entry->live_bytes = stats.live_bytes;
    entry->live_blocks = stats.live_blocks;
    const uint64_t end_ns = export_now_ns(CLOCK_MONOTONIC);
    entry->live_due_ns = end_ns + (end_ns - begin_ns) * EXPORT_SHARE;
}

static void export_refresh(size_t place)
{
    export_entry *entry = &exported.entries[place];
    emma_stats stats = { .struct_bytes = EMMA_STATS_COUNTERS_BYTES };
    if (entry->instance) {
        export_sum_up(entry);
        emma_get_stats(entry->instance, &stats);
    }
    export_slot_write(place, &stats);
}

/* ---- the page: made, and replaced by another ---- */

static bool export_file_is_ours(void)
{
    struct stat now;
    return exported.file >= 0 && fstat(exported.file, &now) == 0 &&
           now.st_dev == exported.file_stat.st_dev && now.st_ino == exported.file_stat.st_ino;
}

static export_entry *export_entries_create(size_t slot_count)
{
    void *entries = mmap(NULL, slot_count * sizeof(export_entry), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return entries == MAP_FAILED ? NULL : entries;
}

/* Lets go of the page; readers of it learn so, unless it is the parent's. */
static void export_page_drop(bool tell)
{
    if (!exported.page)
        return;
    if (tell)
        __atomic_store_n(&exported.page->closed, 1, __ATOMIC_RELEASE);
    munmap(exported.page, export_page_bytes(exported.slot_count));
    if (export_file_is_ours())
        close(exported.file);
    exported.page = NULL;
    exported.file = -1;
}

static void export_entries_drop(void)
{
    if (exported.entries)
        munmap(exported.entries, exported.slot_count * sizeof(export_entry));
    exported.entries = NULL;
    exported.slot_count = exported.end = exported.hint = 0;
}

static void export_forget(void)
{
    export_entries_drop();
    if (exported.unlisted)
        munmap(exported.unlisted, exported.unlisted_room * sizeof exported.unlisted[0]);
    exported.unlisted = NULL;
    exported.unlisted_count = exported.unlisted_room = 0;
    exported.unshown = 0;
}

/* Replaces the page, if there is one, by one with so many slots, no fewer than before. 0; else
 * errno's number, with nothing changed. */
static int export_page_replace(size_t slot_count)
{
    export_entry *entries = export_entries_create(slot_count);
    int file = -1;
    export_page *page = entries ? export_page_create(slot_count, &file) : NULL;
    if (!page) {
        const int error = errno;
        if (entries)
            munmap(entries, slot_count * sizeof(export_entry));
        return error;
    }
    export_page_drop(true);
    const size_t end = exported.end, hint = exported.hint;
    if (end)
        memcpy(entries, exported.entries, end * sizeof(export_entry));
    export_entries_drop();
    exported.page = page;
    exported.file = file;
    fstat(file, &exported.file_stat);
    exported.entries = entries;
    exported.slot_count = slot_count;
    exported.end = end;
    exported.hint = hint;
    exported.process = getpid();
    for (size_t place = 0; place < end; place++)
        export_refresh(place);
    export_page_publish(page, slot_count, exported.start_ns, exported.unshown);
    return 0;
}

/* ---- the thread ---- */

static void export_refresh_all(void)
{
    for (size_t place = 0; place < exported.end; place++) {
        if (exported.entries[place].instance)
            export_refresh(place);
        if (place % EXPORT_BATCH ==
            EXPORT_BATCH - 1) { /* who adds or removes need not wait for all */
            export_unlock();
            export_lock();
        }
    }
    if (!export_file_is_ours()) /* as where a program closes all that it does not know */
        export_page_replace(exported.slot_count);
    __atomic_store_n(&exported.page->unshown, exported.unshown, __ATOMIC_RELAXED);
    __atomic_store_n(&exported.page->fresh_ns, export_now_ns(CLOCK_MONOTONIC), __ATOMIC_RELEASE);
}

/* How long to wait until the next time: where instances are many, as long as it takes for
 * this one to be a small part. */
static struct timespec export_pause(uint64_t spent_ns)
{
    uint64_t pause_ns = spent_ns * EXPORT_SHARE;
    if (pause_ns < EXPORT_INTERVAL_MS * EXPORT_NS_PER_MS)
        pause_ns = EXPORT_INTERVAL_MS * EXPORT_NS_PER_MS;
    if (pause_ns > EXPORT_INTERVAL_MOST_MS * EXPORT_NS_PER_MS)
        pause_ns = EXPORT_INTERVAL_MOST_MS * EXPORT_NS_PER_MS;
    return (struct timespec){ .tv_sec = (time_t)(pause_ns / EXPORT_NS_PER_S),
                              .tv_nsec = (long)(pause_ns % EXPORT_NS_PER_S) };
}

static void *export_keep_fresh(void *arg)
{
    prctl(PR_SET_NAME, EXPORT_FILE);
    export_lock();
    while (!exported.ends) {
        const uint64_t begin_ns = export_now_ns(CLOCK_THREAD_CPUTIME_ID);
        export_refresh_all();
        export_unlock();
        const struct timespec pause =
            export_pause(export_now_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns);
        nanosleep(&pause, NULL);
        export_lock();
    }
    export_unlock();
    return arg;
}

/* With the lock held, so with all signals blocked, which the thread inherits. Where thread-local
 * variables leave no room on a small stack, it gets a usual one. */
static int export_start_thread(void)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return error;
    error = pthread_attr_setstacksize(&attributes, EXPORT_STACK_BYTES);
    if (error == 0)
        error = pthread_create(&exported.thread, &attributes, export_keep_fresh, NULL);
    pthread_attr_destroy(&attributes);
    return error == EINVAL ? pthread_create(&exported.thread, NULL, export_keep_fresh, NULL)
                           : error;
}

/* Makes a page and a thread, with what entries there are. */
static int export_begin(size_t slot_count)
{
    exported.start_ns = export_now_ns(CLOCK_REALTIME);
    exported.ends = false;
    int error = export_page_replace(slot_count);
    if (error == 0)
        error = export_start_thread();
    if (error != 0) {
        export_page_drop(true);
        export_forget();
    }
    __atomic_store_n(&exported.exporting, error == 0, __ATOMIC_RELEASE);
    return error;
}

/* In a child the parent's page is not to be written to, and its thread is not there. */
static void export_begin_in_child(void)
{
    if (exported.exporting) {
        export_page_drop(false);
        export_begin(exported.slot_count);
    }
    export_unlock();
}

/* ---- what programs call ---- */

int emma_export_start(void)
{
    int error = 0;
    export_lock();
    if (!exported.exporting) {
        if (!exported.forks)
            error = pthread_atfork(export_lock, export_unlock, export_begin_in_child);
        exported.forks = error == 0;
        if (error == 0)
            error = export_begin(EXPORT_SLOTS_FIRST);
    }
    export_unlock();
    return error;
}

void emma_export_stop(void)
{
    export_lock();
    const bool was = exported.exporting;
    exported.ends = true;
    __atomic_store_n(&exported.exporting, false, __ATOMIC_RELEASE);
    export_unlock();
    if (!was)
        return;
    pthread_join(exported.thread, NULL);
    export_lock();
    export_page_drop(true);
    export_forget();
    export_unlock();
}

/* The place of an instance; exported.end: it has none. */
static size_t export_find(const emma *instance)
{
    size_t place = 0;
    while (place < exported.end && exported.entries[place].instance != instance)
        place++;
    return place;
}

/* A free place; false: there is none, and no room for more. */
static bool export_find_free(size_t *place)
{
    *place = exported.hint;
    while (*place < exported.end && exported.entries[*place].instance)
        ++*place;
    exported.hint = *place;
    return *place < exported.slot_count || (exported.slot_count < EXPORT_SLOTS_MOST &&
                                            export_page_replace(2 * exported.slot_count + 1) == 0);
}

static void export_copy_text(char *out, size_t bytes, const char *text)
{
    memset(out, 0, bytes);
    strncpy(out, text ? text : "", bytes - 1);
}

/* ---- instances that there is no room for ---- */

#define EXPORT_UNLISTED_FIRST (4096 / sizeof(emma *)) /* a page of the machine's */

/* The place of one in the list; unlisted_count: it is not there. */
static size_t export_find_unlisted(const emma *instance)
{
    size_t place = 0;
    while (place < exported.unlisted_count && exported.unlisted[place] != instance)
        place++;
    return place;
}

static bool export_grow_unlisted(void)
{
    const size_t room = exported.unlisted_room, each = sizeof exported.unlisted[0];
    const size_t wanted = room ? 2 * room : EXPORT_UNLISTED_FIRST;
    void *list = room ? mremap(exported.unlisted, room * each, wanted * each, MREMAP_MAYMOVE)
                      : mmap(NULL, wanted * each, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (list == MAP_FAILED)
        return false;
    exported.unlisted = list;
    exported.unlisted_room = wanted;
    return true;
}

/* Without memory for the list it is counted for good. */
static void export_count_unshown(const emma *instance)
{
    if (export_find_unlisted(instance) < exported.unlisted_count)
        return;
    exported.unshown++;
    if (exported.unlisted_count < exported.unlisted_room || export_grow_unlisted())
        exported.unlisted[exported.unlisted_count++] = instance;
}

static void export_uncount_unshown(const emma *instance)
{
    const size_t place = export_find_unlisted(instance);
    if (place == exported.unlisted_count)
        return;
    exported.unlisted[place] = exported.unlisted[--exported.unlisted_count];
    exported.unshown--;
}

static void export_put(emma *instance, const char *name, const char *kind, unsigned flags)
{
    size_t place = export_find(instance);
    if (place < exported.end)
        return;
    if (!export_find_free(&place)) {
        export_count_unshown(instance);
        return;
    }
    export_uncount_unshown(instance); /* there was no room the last time */
    export_entry *entry = &exported.entries[place];
    entry->instance = instance;
    entry->number = ++exported.last_number;
    entry->flags = flags;
    entry->live_bytes = entry->live_blocks = EXPORT_UNKNOWN;
    entry->live_due_ns = 0;
    export_copy_text(entry->name, sizeof entry->name, name);
    export_copy_text(entry->kind, sizeof entry->kind, kind);
    if (place == exported.end)
        exported.end++;
    export_refresh(place);
}

/* A process that the C library does not know of, as a clone made it, has the parent's page. */
static bool export_is_on(void)
{
    return exported.exporting && exported.process == getpid();
}

void emma_export_add(emma *instance, const char *name, const char *kind, unsigned flags)
{
    if (!instance || !__atomic_load_n(&exported.exporting, __ATOMIC_ACQUIRE))
        return;
    export_lock();
    if (export_is_on())
        export_put(instance, name, kind, flags);
    export_unlock();
}

void emma_export_remove(const emma *instance)
{
    if (!instance || !__atomic_load_n(&exported.exporting, __ATOMIC_ACQUIRE))
        return;
    export_lock();
    const size_t place = export_is_on() ? export_find(instance) : exported.end;
    if (place < exported.end) {
        export_entry *entry = &exported.entries[place];
        *entry = (export_entry){ .sequence = entry->sequence };
        export_refresh(place);
        exported.hint = place < exported.hint ? place : exported.hint;
    } else if (export_is_on()) {
        export_uncount_unshown(instance);
    }
    export_unlock();
}
