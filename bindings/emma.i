/* emma.i - the control module for Lua and Python, as SWIG reads it. A file per language includes
 * it: lua/emma_module.i, python/emma_module.i. Before that, it defines how values and functions of
 * the language become emma's (typemaps), by EMMA_HANDLES_BEGIN and _END what is around each call,
 * and in C EMMA_REFUSE(text), which raises an error of a wrong type.
 *
 * Of emma's own headers it takes the constants and the structs; functions are those of handles
 * (emma_control.h), as methods. */

%{
#include "emma_control.h"
%}

/* Names that the languages use otherwise: members of what is ignored, and methods. */
#pragma SWIG nowarn=314,321

#define EMMA_API
%rename("$ignore", %$isfunction, regexmatch$name="^emma_") "";

/* ---- Options and figures ---- */

/* What a language gives in other ways, or what is only C's. */
%ignore struct_bytes;
%ignore emma_options::name;
%ignore emma_options::misuse_handler;
%ignore emma_options::misuse_arg;
%ignore emma_options::limit_handler;
%ignore emma_options::limit_arg;
%ignore emma_sandbox_options::name;
%ignore emma_sandbox_options::print;
%ignore emma_sandbox_options::print_arg;
%ignore emma_sandbox_options::soft_handler;
%ignore emma_sandbox_options::soft_arg;
%ignore emma_sandbox_pool_options::prepare;
%ignore emma_sandbox_pool_options::prepare_arg;
%ignore emma_sandbox_pool_options::prelude;
%ignore emma_sandbox_pool_options::prelude_bytes;
%ignore emma_sandbox_pool_options::prelude_name;
%ignore emma_sandbox_value;
%ignore emma_sandbox_value_as;
%ignore emma_sandbox_value_as_text;
%ignore emma_sandbox_value_as_pairs;
%ignore emma_sandbox_pair;
%ignore emma_sandbox_answer;



%rename(Options) emma_options;
%rename(Stats) emma_stats;
%rename(ClassStats) emma_class_stats;
%rename(SandboxOptions) emma_sandbox_options;
%rename(SandboxStats) emma_sandbox_stats;
%rename(SandboxTypes) emma_sandbox_type_bytes;
%rename(PoolOptions) emma_sandbox_pool_options;
%rename(PoolStats) emma_sandbox_pool_stats;

%apply size_t UNLIMITED { size_t limit_bytes, size_t soft_limit_bytes };

%nodefaultctor emma_options;
%nodefaultctor emma_sandbox_options;
%nodefaultctor emma_sandbox_pool_options;
%include "emma.h"
%include "emma_sandbox.h"
%include "emma_sandbox_pool.h"

/* Made with the defaults. */
%extend emma_options {
    emma_options()
    {
        emma_options *options = malloc(sizeof *options);
        if (options)
            *options = (emma_options)EMMA_OPTIONS_INIT;
        return options;
    }
    ~emma_options()
    {
        free($self);
    }
}
%extend emma_sandbox_options {
    emma_sandbox_options()
    {
        emma_sandbox_options *options = malloc(sizeof *options);
        if (options)
            *options = (emma_sandbox_options)EMMA_SANDBOX_OPTIONS_INIT;
        return options;
    }
    ~emma_sandbox_options()
    {
        free($self);
    }
}
%extend emma_sandbox_pool_options {
    emma_sandbox_pool_options()
    {
        emma_sandbox_pool_options *options = malloc(sizeof *options);
        if (options)
            *options = (emma_sandbox_pool_options)EMMA_SANDBOX_POOL_OPTIONS_INIT;
        return options;
    }
    ~emma_sandbox_pool_options()
    {
        free($self);
    }
}

/* ---- Handles ---- */

/* Nothing is not one. */
%typemap(check) struct control_instance *, struct control_sandbox *, struct control_pool *,
    const emma_options *, const emma_sandbox_options *, const emma_sandbox_pool_options *
{
    if (!$1)
        EMMA_REFUSE("argument $argnum is nothing, and should be of type '$1_type'");
}

%rename(Instance) control_instance;
%rename(Sandbox) control_sandbox;
%rename(Pool) control_pool;

EMMA_HANDLES_BEGIN

%rename(show) control_export;
void control_export(void);

%nodefaultctor control_instance;
typedef struct control_instance {
    %extend {
        control_instance(const emma_options *options, const char *name)
        {
            return control_instance_new(options, name);
        }
        ~control_instance()
        {
            control_instance_free($self);
        }
        void close();
        size_t malloc(size_t bytes);
        void release(size_t address);
        size_t usable_size(size_t address);
        bool owns(size_t address);
        size_t trim();
        void reset();
        void check();
        void set_limit(size_t limit_bytes);
        void set_soft_limit(size_t soft_limit_bytes);
        void use_spare(bool use);
        emma_stats stats();
        emma_class_stats class_stats(unsigned index);
        bool walk(emma_walk_fn visit, void *arg);
        unsigned checkpoint();
        void rollback(unsigned level);
        void drop(unsigned level);
    }
} control_instance;

%nodefaultctor control_sandbox;
typedef struct control_sandbox {
    %extend {
        control_sandbox(const emma_sandbox_options *options, const char *name,
                        const control_function *print)
        {
            return control_sandbox_new(options, name, print);
        }
        ~control_sandbox()
        {
            control_sandbox_free($self);
        }
        void close();
        bool is_closed();
        control_results run(const char *text, size_t bytes, const char *name);
        control_results call(const char *function, const control_values *arguments);
        void set(const char *name, const control_values *value);
        void provide(const char *name, const control_function *function);
        void kill();
        unsigned checkpoint();
        void rollback(unsigned level);
        void drop(unsigned level);
        void set_limit(size_t limit_bytes);
        void set_budget(uint64_t instructions, uint64_t deadline_us);
        emma_sandbox_stats stats();
        emma_sandbox_type_bytes types();
        emma_stats memory();
        emma_class_stats class_stats(unsigned index);
        bool walk(emma_walk_fn visit, void *arg);
        void check();
        size_t trim();
    }
} control_sandbox;

%nodefaultctor control_pool;
%newobject control_pool::acquire;
typedef struct control_pool {
    %extend {
        control_pool(const control_function *print)
        {
            return control_pool_new(print);
        }
        ~control_pool()
        {
            control_pool_free($self);
        }
        void provide(const char *name, const control_function *function);
        void open(const emma_sandbox_pool_options *options, const char *name, const char *text,
                  size_t bytes, const char *text_name);
        void close();
        bool is_closed();
        control_sandbox *acquire(uint64_t most_us);
        void prepare(size_t count);
        emma_sandbox_pool_stats stats();
    }
} control_pool;

EMMA_HANDLES_END

/* ---- The library ---- */

%rename(version) emma_version;
const char *emma_version(void);
%rename(status_text) emma_sandbox_status_text;
const char *emma_sandbox_status_text(enum emma_sandbox_status status);
