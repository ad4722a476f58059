/* emma_module.i - the control module for Lua 5.4, "emma.core": what emma.i leaves to the language.
 * emma.lua is the layer above it. */
%module emma_core

%{
#define EMMA_REFUSE(text)         \
    do {                          \
        lua_pushstring(L, text);  \
        SWIG_fail;                \
    } while (0)
#include "emma_module_values.h"
#include "emma_module_calls.h"
%}

/* ---- Objects ---- */

/* Others' userdata would be read as SWIG's own: the metatable tells them apart. */
%{
static bool emma_is_object(lua_State *L, int index, const swig_type_info *type)
{
    if (!lua_isuserdata(L, index) || !type->clientdata || !lua_getmetatable(L, index))
        return false;
    SWIG_Lua_get_class_metatable(L, ((const swig_lua_class *)type->clientdata)->fqname);
    const bool is_one = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_one;
}
%}
%typemap(in) SWIGTYPE *
%{
    if (!emma_is_object(L, $input, $descriptor) ||
        !SWIG_IsOK(SWIG_ConvertPtr(L, $input, (void **)&$1, $descriptor, $disown))) {
        lua_pushfstring(L, "argument %d: a %s, not %s", $argnum, "$*1_type",
                        luaL_typename(L, $input));
        SWIG_fail;
    }
%}

/* ---- Names and numbers: errors name the parameter; numbers are integers ---- */

%typemap(in) size_t, unsigned, uint64_t
%{
    lua_Integer number$argnum;
    if (!emma_number_from_lua(L, $input, "$1_name", sizeof($1_type) < sizeof(lua_Integer)
                                  ? (lua_Integer)($1_type)-1 : LUA_MAXINTEGER, &number$argnum))
        SWIG_fail;
    $1 = ($1_type)number$argnum;
%}
%typemap(out) size_t, unsigned, uint64_t, int
%{
    lua_pushinteger(L, (lua_Integer)$1);
    SWIG_arg++;
%}
%typemap(in) size_t UNLIMITED
%{
    if (!emma_limit_from_lua(L, $input, "$1_name", &$1))
        SWIG_fail;
%}
%typemap(out) size_t UNLIMITED
%{
    if ($1 == EMMA_UNLIMITED)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)$1);
    SWIG_arg++;
%}
%typemap(in) const char *
%{
    if (!emma_name_from_lua(L, $input, "$1_name", (const char **)&$1))
        SWIG_fail;
%}
%typemap(in) (const char *text, size_t bytes)
%{
    if (!emma_text_from_lua(L, $input, (const char **)&$1, &$2))
        SWIG_fail;
%}
%typemap(out) uint64_t calls[ANY]
%{
    lua_createtable(L, $1_dim0, 0);
    for (int i = 0; i < $1_dim0; i++) {
        lua_pushinteger(L, (lua_Integer)$1[i]);
        lua_rawseti(L, -2, i + 1);
    }
    SWIG_arg++;
%}

/* ---- Values and functions ---- */

/* A table as table.pack makes it. */
%typemap(in) const control_values *arguments (control_values values = { 0 })
%{
    if (!emma_values_from_lua(L, $input, &values, arg1))
        SWIG_fail;
    $1 = &values;
%}
%typemap(in) const control_values *value (control_values values = { 0 })
%{
    if (!emma_values_from_one(L, $input, &values, arg1))
        SWIG_fail;
    $1 = &values;
%}
%typemap(freearg) const control_values *
%{
    control_arena_free(&values$argnum.arena);
%}
%typemap(in) const control_function * (control_function function)
%{
    if (!emma_function_from_lua(L, $input, "$1_name", &function))
        SWIG_fail;
    $1 = &function;
%}
/* nil, for print: to stdout. */
%typemap(in) const control_function *print (control_function function = { 0 })
%{
    if (!lua_isnil(L, $input) && !emma_function_from_lua(L, $input, "$1_name", &function))
        SWIG_fail;
    function.call = emma_print_lua;
    $1 = &function;
%}
%typemap(in) (emma_walk_fn visit, void *arg)
%{
    if (!lua_isfunction(L, $input)) {
        lua_pushfstring(L, "visit: a function, not %s", luaL_typename(L, $input));
        SWIG_fail;
    }
    $1 = emma_visit_lua;
    $2 = (void *)(intptr_t)$input;
%}

/* ---- Calls ---- */

/* How a run or call ended is returned, true or false first; other errors are raised. */
%typemap(out) control_results
%{
    if (!emma_results_to_lua(L, &call, &$1, &SWIG_arg))
        SWIG_fail;
%}
%define EMMA_RUNS(method)
%exception method
%{
    emma_call call;
    emma_call_begin(&call, L);
    $action
    emma_call_end(&call);
%}
%enddef
EMMA_RUNS(control_sandbox::run)
EMMA_RUNS(control_sandbox::call)

%define EMMA_HANDLES_BEGIN
%exception
%{
    emma_call call;
    emma_call_begin(&call, L);
    $action
    emma_call_end(&call);
    if (!emma_call_succeeded(&call))
        SWIG_fail;
%}
%enddef
%define EMMA_HANDLES_END
%exception;
%enddef

%include "emma.i"

/* ---- Metatables ---- */

/* They stay out of sight: what collects an object takes whatever it is given for one. */
%init
%{
    for (size_t i = 0; i < swig_module.size; i++) {
        const swig_lua_class *type = swig_types[i]->clientdata;
        if (!type)
            continue;
        SWIG_Lua_get_class_metatable(L, type->fqname);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
%}
