/* emma-python-sample.c - from which lines of a Python program samples of its
 * blocks come (emma_sample.h).
 *
 * The domains MEM and OBJ are sampled, which are called with the lock held. A sample's stack is
 * read where it is allocated (emma-python-frames.c): code objects, held from then on, and lines.
 * Names are asked for at the end. */
#include "emma-python-report.h"

#include <string.h>

typedef struct _object PyObject;

#pragma weak PyErr_Clear
#pragma weak Py_DecRef
#pragma weak PyObject_GetAttrString
#pragma weak PyUnicode_AsUTF8
extern void PyErr_Clear(void);
extern void Py_DecRef(PyObject *object);
extern PyObject *PyObject_GetAttrString(PyObject *object, const char *name);
extern const char *PyUnicode_AsUTF8(PyObject *text);

static emma_sampler sampler;
static uint32_t start_site, no_frame_site, no_lock_site;

/* ---- samples ---- */

static uint32_t find_site(void)
{
    uint32_t frames[EMMA_SAMPLE_DEPTH];
    const ptrdiff_t count = emmai_python_frames(&sampler, frames);
    return count > 0                       ? emma_sample_stack(&sampler, frames, (size_t)count)
           : count == EMMAI_FRAMES_NOT_YET ? start_site
           : count == EMMAI_FRAMES_NO_LOCK ? no_lock_site
                                           : no_frame_site;
}

static MALLOC_NOINLINE void draw(const void *block, size_t bytes)
{
    const double weight = emma_sample_draw(&sampler, bytes);
    if (weight != 0)
        emma_sample_add(&sampler, block, bytes, weight, find_site());
}

/* The functions below these. */
static PyMemAllocatorEx below[EMMA_PYTHON_DOMAINS];

static MALLOC_NOINLINE void *drawn(void *block, size_t bytes)
{
    if (block)
        draw(block, bytes);
    return block;
}

static MALLOC_NOINLINE void forget_and_free(void *ctx, void *block, int domain)
{
    emma_sample_block gone;
    emma_sample_lift(&sampler, block, &gone);
    below[domain].free(ctx, block);
}

static MALLOC_NOINLINE void *resize_sample(const PyMemAllocatorEx *functions, void *old,
                                           size_t room, size_t bytes)
{
    emma_sample_block sample;
    const bool is_sample = emma_sample_lift(&sampler, old, &sample);
    void *block = functions->realloc(functions->ctx, old, bytes);
    if (is_sample && !block)
        emma_sample_put(&sampler, old, sample.bytes, &sample);
    else if (is_sample && bytes <= room)
        emma_sample_put(&sampler, block, bytes, &sample);
    return bytes > room && emma_sample_is_due(&sampler, bytes) ? drawn(block, bytes) : block;
}

/* How many bytes a block had is not told, only how many it has room for: it
 * grows where it has no more. */
static inline void *resize(const PyMemAllocatorEx *functions, void *old, size_t bytes)
{
    const emma *instance = malloc_instance_if_made();
    const size_t room = old && emma_owns(instance, old) ? emma_usable_size(instance, old) : 0;
    if (room && emma_sample_may_have(&sampler, old))
        return resize_sample(functions, old, room, bytes);
    if (bytes > room && emma_sample_is_due(&sampler, bytes))
        return drawn(functions->realloc(functions->ctx, old, bytes), bytes);
    return functions->realloc(functions->ctx, old, bytes);
}

#define SAMPLED(name, domain)                                                     \
    static void *name##_malloc(void *ctx, size_t bytes)                           \
    {                                                                             \
        if (emma_sample_is_due(&sampler, bytes))                                  \
            return drawn(below[domain].malloc(ctx, bytes), bytes);                \
        return below[domain].malloc(ctx, bytes);                                  \
    }                                                                             \
    static void *name##_calloc(void *ctx, size_t count, size_t bytes)             \
    {                                                                             \
        if (emma_sample_is_due(&sampler, count * bytes))                          \
            return drawn(below[domain].calloc(ctx, count, bytes), count * bytes); \
        return below[domain].calloc(ctx, count, bytes);                           \
    }                                                                             \
    static void *name##_realloc(void *ctx, void *block, size_t bytes)             \
    {                                                                             \
        (void)ctx;                                                                \
        return resize(&below[domain], block, bytes);                              \
    }                                                                             \
    static void name##_free(void *ctx, void *block)                               \
    {                                                                             \
        if (emma_sample_may_have(&sampler, block))                                \
            forget_and_free(ctx, block, domain);                                  \
        else                                                                      \
            below[domain].free(ctx, block);                                       \
    }

enum { RAW, MEM, OBJ };
SAMPLED(mem, MEM)
SAMPLED(obj, OBJ)

const PyMemAllocatorEx *emmai_python_sampled(int domain, const PyMemAllocatorEx *functions)
{
    static const PyMemAllocatorEx sampled[EMMA_PYTHON_DOMAINS] = {
        [MEM] = { NULL, mem_malloc, mem_calloc, mem_realloc, mem_free },
        [OBJ] = { NULL, obj_malloc, obj_calloc, obj_realloc, obj_free },
    };
    if (domain == RAW || !sampler.rate_bytes)
        return functions;
    below[domain] = *functions;
    return &sampled[domain];
}

/* ---- begin and end ---- */

void emmai_python_sample_start(void)
{
    const size_t rate = emmai_malloc_asked.sample_bytes;
    if (!rate || !emmai_malloc_is_to_report() || !emmai_python_has_frames() ||
        !emma_sample_start(&sampler, rate))
        return;
    start_site = emma_sample_fixed_site(&sampler, "(start of Python)");
    no_frame_site = emma_sample_fixed_site(&sampler, "(no Python code)");
    no_lock_site = emma_sample_fixed_site(&sampler, "(another interpreter, or without its lock)");
}

/* An attribute's text; "?" where there is none. Held in *owner. */
static const char *text_of(PyObject *object, const char *name, PyObject **owner)
{
    *owner = PyObject_GetAttrString(object, name);
    const char *text = *owner ? PyUnicode_AsUTF8(*owner) : NULL;
    if (!text)
        PyErr_Clear();
    return text ? text : "?";
}

static size_t name_of(const emmai_python_frame *key, char name[EMMA_SAMPLE_NAME_BYTES])
{
    PyObject *function_owner, *file_owner;
    const char *function = text_of(key->code, "co_qualname", &function_owner); /* from 3.11 on */
    if (!function_owner)
        function = text_of(key->code, "co_name", &function_owner);
    const char *file = text_of(key->code, "co_filename", &file_owner);
    const size_t bytes = emma_sample_name(name, function, file, (int)key->line);
    if (function_owner)
        Py_DecRef(function_owner);
    if (file_owner)
        Py_DecRef(file_owner);
    return bytes;
}

void emmai_python_sample_name_sites(void)
{
    for (uint32_t i = sampler.names.count; i < sampler.frames.count; i++) {
        char name[EMMA_SAMPLE_NAME_BYTES];
        emmai_python_frame key;
        size_t bytes;
        const char *text = emma_sample_frame_key(&sampler, i, &bytes);
        if (!*text) {
            memcpy(&key, text, sizeof key);
            bytes = name_of(&key, name);
            text = name;
        }
        if (!emma_sample_name_next(&sampler, text, bytes))
            return;
    }
}

void emmai_python_sample_end(void)
{
    emma_sample_stop(&sampler);
    emmai_python_sample_name_sites();
}

const emma_sampler *emmai_python_sampler(void)
{
    return sampler.rate_bytes ? &sampler : NULL;
}
