/* emma-python-frames.c - which code runs in the calling thread, asked inside an allocation
 * with Python's lock held.
 *
 * No call is made there that could allocate or change an object: Python's public functions make
 * frame objects from 3.11 on, which are objects of the collector's, so they could begin a
 * collection inside an allocation; and calls at the next safe point (Py_AddPendingCall) come to the
 * main thread only, some lines later. So frames are read as tracemalloc reads them, at places that
 * are fixed for each minor version and in no other one; and not before it was found at a safe point
 * that this gives what the public functions give. 3.10 has frame objects always, and its public
 * functions only read them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* process_vm_readv */
#endif
#include "emma-python-report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct _object PyObject;

#pragma weak Py_GetVersion
#pragma weak Py_IsInitialized
#pragma weak Py_AddPendingCall
#pragma weak Py_IncRef
#pragma weak Py_DecRef
#pragma weak PyGILState_GetThisThreadState
#pragma weak PyThreadState_GetUnchecked
#pragma weak _PyThreadState_UncheckedGet
#pragma weak PyThreadState_GetFrame
#pragma weak PyFrame_GetBack
#pragma weak PyFrame_GetCode
#pragma weak PyFrame_GetLineNumber
#pragma weak PyCode_Addr2Line
#pragma weak PyCode_Type
extern const char *Py_GetVersion(void);
extern int Py_IsInitialized(void);
extern int Py_AddPendingCall(int (*function)(void *), void *argument);
extern void Py_IncRef(PyObject *object);
extern void Py_DecRef(PyObject *object);
extern char *PyGILState_GetThisThreadState(void);
extern char *PyThreadState_GetUnchecked(void);
extern char *_PyThreadState_UncheckedGet(void);
extern PyObject *PyThreadState_GetFrame(char *thread);
extern PyObject *PyFrame_GetBack(PyObject *frame);
extern PyObject *PyFrame_GetCode(PyObject *frame);
extern int PyFrame_GetLineNumber(PyObject *frame);
extern int PyCode_Addr2Line(PyObject *code, int offset);
extern char PyCode_Type[];

/* With Python's lock. */
static bool tried_frames; /* it was tried whether frames are read right */
static bool reads_frames; /* they are */

/* ---- frames as they lie in memory ---- */

/* Offsets: in a thread state, in what that points to (NONE: it is the frame), in a
 * frame, in a code object. */
#define NONE SIZE_MAX
typedef struct frame_layout {
    size_t thread_current, indirect, code, previous, instruction, owner, code_start;
} frame_layout;

#define FIRST_MINOR 11
static const frame_layout layouts[] = {
    { 56, 8, 32, 48, 56, 69, 184 },
    { 56, 0, 0, 8, 56, 70, 192 },
    { 72, NONE, 0, 8, 56, 70, 200 },
};
static const frame_layout *layout; /* NULL: frames are asked of the public functions */

#define OWNED_BY_C_STACK 3 /* of `owner`: no frame of a function */

typedef struct frame_place {
    PyObject *code;
    int line; /* 0: none */
} frame_place;

static char *pointer_at(const char *object, size_t offset)
{
    return *(char *const *)(const void *)(object + offset);
}

static int line_at(const char *frame, PyObject *code)
{
    const int offset =
        (int)(pointer_at(frame, layout->instruction) - ((const char *)code + layout->code_start));
    const int line = PyCode_Addr2Line(code, offset);
    return line > 0 ? line : PyCode_Addr2Line(code, -1); /* it is about to begin */
}

/* Lines take a search in a table: those of places that came before are remembered. */
#define LINES_KEPT 1024
typedef struct known_frame {
    const char *code, *instruction;
    uint32_t frame;
} known_frame;
static known_frame known_frames[LINES_KEPT];

static uint32_t number_of(emma_sampler *sampler, frame_place place)
{
    const emmai_python_frame key = { 0, place.code, place.line };
    const uint32_t before = sampler->frames.count;
    const uint32_t frame = emma_sample_frame(sampler, &key, sizeof key);
    if (frame != EMMA_SAMPLE_NONE && frame >= before)
        Py_IncRef(place.code);
    return frame;
}

/* Of a frame that Python made itself. */
#define NO_LINE (EMMA_SAMPLE_NONE - 1)

static uint32_t number_of_known(emma_sampler *sampler, const char *frame, PyObject *code)
{
    const char *instruction = pointer_at(frame, layout->instruction);
    known_frame *known = &known_frames[((uintptr_t)instruction >> 1) % LINES_KEPT];
    if (known->code == (const char *)code && known->instruction == instruction)
        return known->frame;
    const int line = line_at(frame, code);
    const uint32_t number = line > 0 ? number_of(sampler, (frame_place){ code, line }) : NO_LINE;
    if (number != EMMA_SAMPLE_NONE)
        *known = (known_frame){ (const char *)code, instruction, number };
    return number;
}

static const char *first_frame(const char *thread)
{
    const char *current = pointer_at(thread, layout->thread_current);
    if (current && layout->indirect != NONE)
        current = pointer_at(current, layout->indirect);
    return current;
}

/* NULL: it is no frame of a function. */
static PyObject *code_of(const char *frame)
{
    char *code = pointer_at(frame, layout->code);
    const bool is_code = code && frame[layout->owner] != OWNED_BY_C_STACK &&
                         pointer_at(code, sizeof(void *)) == PyCode_Type;
    return is_code ? (PyObject *)(void *)code : NULL;
}

static size_t read_frames(emma_sampler *sampler, const char *thread,
                          uint32_t frames[EMMA_SAMPLE_DEPTH])
{
    size_t count = 0;
    for (const char *frame = first_frame(thread); frame && count < EMMA_SAMPLE_DEPTH;
         frame = pointer_at(frame, layout->previous)) {
        PyObject *code = code_of(frame);
        const uint32_t number = code ? number_of_known(sampler, frame, code) : NO_LINE;
        if (number != NO_LINE)
            frames[count++] = number;
    }
    return count;
}

/* 3.10: nothing is made, nobody lets go of the last reference. */
static size_t ask_for_frames(emma_sampler *sampler, char *thread,
                             uint32_t frames[EMMA_SAMPLE_DEPTH])
{
    size_t count = 0;
    PyObject *frame = PyThreadState_GetFrame(thread);
    while (frame && count < EMMA_SAMPLE_DEPTH) {
        PyObject *code = PyFrame_GetCode(frame), *back = PyFrame_GetBack(frame);
        frames[count++] = number_of(sampler, (frame_place){ code, PyFrame_GetLineNumber(frame) });
        Py_DecRef(code);
        Py_DecRef(frame);
        frame = back;
    }
    if (frame)
        Py_DecRef(frame);
    return count;
}

/* ---- whether that is right ---- */

static char *current_thread(void)
{
    return PyThreadState_GetUnchecked ? PyThreadState_GetUnchecked()
                                      : _PyThreadState_UncheckedGet();
}

/* Reads a word wherever it may be. */
static bool try_word(const char *at, char **out)
{
    struct iovec to = { out, sizeof *out }, from = { (void *)(uintptr_t)at, sizeof *out };
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)sizeof *out;
}

/* Whether all that code_of and line_at read of a frame can be read. */
static bool can_read(const char *frame)
{
    char *code, *word;
    return try_word(frame + layout->code, &code) && try_word(frame + layout->instruction, &word) &&
           try_word(frame + layout->owner, &word) && try_word(frame + layout->previous, &word) &&
           (!code ||
            (try_word(code + sizeof(void *), &word) && try_word(code + layout->code_start, &word)));
}

static bool can_read_first(const char *thread, char **frame)
{
    return try_word(thread + layout->thread_current, frame) && *frame &&
           (layout->indirect == NONE || (try_word(*frame + layout->indirect, frame) && *frame));
}

/* The next frame that Python tells. */
static PyObject *next_told(PyObject *told)
{
    PyObject *back = PyFrame_GetBack(told);
    Py_DecRef(told);
    return back;
}

static bool is_told(const char *frame, PyObject *code, PyObject *told)
{
    PyObject *told_code = PyFrame_GetCode(told);
    Py_DecRef(told_code);
    return code == told_code && line_at(frame, code) == PyFrame_GetLineNumber(told);
}

/* Whether the frames that Python tells of this thread are there by the layout, all and in their
 * order. It leaves out those that are about to begin, and some that it made itself. */
static bool is_layout_right(char *thread)
{
    char *frame;
    PyObject *told = PyThreadState_GetFrame(thread);
    bool right = told && can_read_first(thread, &frame);
    while (right && told && frame && (right = can_read(frame))) {
        PyObject *code = code_of(frame);
        if (code && is_told(frame, code, told))
            told = next_told(told);
        frame = pointer_at(frame, layout->previous);
    }
    right = right && !told;
    if (told)
        Py_DecRef(told);
    return right;
}

void emmai_python_try_frames(void)
{
    const char *version = Py_GetVersion();
    const unsigned long minor = strncmp(version, "3.", 2) == 0 ? strtoul(version + 2, NULL, 10) : 0;
    char *thread = current_thread();
    tried_frames = true;
    if (reads_frames)
        return;
    if (minor == FIRST_MINOR - 1) {
        reads_frames = true;
    } else if (minor >= FIRST_MINOR && minor - FIRST_MINOR < sizeof layouts / sizeof layouts[0]) {
        layout = &layouts[minor - FIRST_MINOR];
        reads_frames = thread && is_layout_right(thread);
    }
}

#define TRIES_MOST 64
static unsigned tries; /* written with Python's lock; atomic */
static bool asked;     /* and not tried since; atomic */

static int try_frames(void *nothing)
{
    (void)nothing;
    __atomic_store_n(&tries, tries + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&asked, false, __ATOMIC_RELAXED);
    emmai_python_try_frames();
    return 0;
}

/* Asks for it once more, should it not have been right at that point: at most once for each safe point, as many can
 * ask before there is one. */
static void ask_to_try(void)
{
    if (!tried_frames || __atomic_load_n(&tries, __ATOMIC_RELAXED) >= TRIES_MOST ||
        __atomic_exchange_n(&asked, true, __ATOMIC_RELAXED))
        return;
    if (Py_AddPendingCall(try_frames, NULL) != 0)
        __atomic_store_n(&asked, false, __ATOMIC_RELAXED);
}

/* ---- for those who ask ---- */

bool emmai_python_has_frames(void)
{
    return Py_GetVersion && Py_IsInitialized && Py_AddPendingCall && Py_IncRef && Py_DecRef &&
           PyGILState_GetThisThreadState &&
           (PyThreadState_GetUnchecked || _PyThreadState_UncheckedGet) && PyThreadState_GetFrame &&
           PyFrame_GetBack && PyFrame_GetCode && PyFrame_GetLineNumber && PyCode_Addr2Line;
}

/* Who comes without the lock is not the one whose frames Python would tell. */
ptrdiff_t emmai_python_frames(emma_sampler *sampler, uint32_t frames[EMMA_SAMPLE_DEPTH])
{
    if (!reads_frames) {
        ask_to_try();
        return EMMAI_FRAMES_NOT_YET;
    }
    char *thread = current_thread();
    if (!thread || thread != PyGILState_GetThisThreadState())
        return EMMAI_FRAMES_NO_LOCK;
    return (ptrdiff_t)(layout ? read_frames(sampler, thread, frames)
                              : ask_for_frames(sampler, thread, frames));
}
