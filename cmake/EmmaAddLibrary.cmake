# emma_add_library(<target> [STATIC | SHARED | OBJECT] [HIDDEN] [DLOPEN] [LUA] [SANDBOX] [EXPORT]
#                  [EXCLUDE_FROM_ALL] [PREFIX <identifier>] [CHECKS <bool>] [HARDENED <bool>]
#                  [CANARIES <bool>] [ENCODED_LINKS <bool>] [ZERO_ON_FREE <bool>]
#                  [RANDOM_ORDER <bool>] [GUARD_PAGES <bool>] [VALGRIND <bool>] [ASAN <bool>]
#                  [AUDIT <bool>] [CHUNK_SHIFT <n>])
#
# Makes a library target that is a private copy of emma, with its own prefix and build options:
#
#     emma_add_library(acme_emma PREFIX acme_ CHECKS ON)
#     target_link_libraries(acme PRIVATE acme_emma)
#
# Sources that link with the target include "emma.h" and say emma_create; the linker sees
# acme_emma_create. Any number of copies can stand side by side in one program.
#
#   STATIC, SHARED, OBJECT  the kind of library; STATIC when none is given
#   HIDDEN                  the copy is not exported from the shared library that it is linked into;
#                           not with SHARED: nothing could link with the target
#   DLOPEN                  for a library that is opened at run time: shared instances then reach their
#                           thread-local word by a descriptor, which needs none of the room that the
#                           loader has for such libraries (gcc; clang before 18 has the general way)
#   LUA                     adds the Lua adapter (emma_lua.h)
#   SANDBOX                 adds the sandbox kit (emma_sandbox.h) and the adapter; the target needs the
#                           headers of Lua 5.4 (target_include_directories) and POSIX threads
#   EXPORT                  adds what shows instances to `emma top` (emma_export.h), which the sandbox kit has anyway;
#                           the target needs POSIX threads
#   EXCLUDE_FROM_ALL        builds the target only when something needs it
#   PREFIX                  goes before every public symbol; a C identifier, or "" for none
#   CHECKS                  finds double frees, interior and misaligned pointers and wrong sizes;
#                           OFF when not given
#   HARDENED                CHECKS and all of the following, but for those that are given as OFF; OFF when
#                           not given
#   CANARIES                finds writes past the end of blocks when they are freed; needs CHECKS
#   ENCODED_LINKS           encodes and verifies what links free blocks; needs CHECKS
#   ZERO_ON_FREE            zeroes what is freed, and finds writes to it when it is handed out again;
#                           needs CHECKS
#   RANDOM_ORDER            hands out the blocks of a fresh page in random order
#   DELAYED_REUSE           keeps blocks that were freed for a while; needs CHECKS
#   GUARD_PAGES             has memory that is not in use fault (Linux 6.13)
#   VALGRIND                tells Valgrind of every block; with CHECKS and DELAYED_REUSE. Needs the
#                           header valgrind/memcheck.h
#   ASAN                    tells AddressSanitizer of every block; with CHECKS and DELAYED_REUSE. What links
#                           with the target is linked with -fsanitize=address
#   AUDIT                   verifies the allocator's own state as it runs, slowly; OFF when not given
#   CHUNK_SHIFT             binary logarithm of the chunk's size in bytes, 13 to 16; for emma's own
#                           tests
#
# This file and the sources lie side by side in the same way in the source tree and in an installed
# package (share/emma): cmake/EmmaAddLibrary.cmake, core/emma.c, bindings/lua/emma_lua.c.
include_guard(GLOBAL)

# For callers everywhere: a project that has emma in a folder of its own calls from above it.
set(EMMA_SWITCHES CHECKS HARDENED CANARIES ENCODED_LINKS ZERO_ON_FREE RANDOM_ORDER DELAYED_REUSE
    GUARD_PAGES VALGRIND ASAN AUDIT CACHE INTERNAL "The core's switches")

# emma_definitions(<result> <usage> <switch> <bool> ...): the macros of the core's switches that are given.
function(emma_definitions result usage)
    set(definitions)
    while(ARGN)
        list(POP_FRONT ARGN switch value)
        string(TOUPPER "${value}" value)
        if(value MATCHES "^(ON|YES|TRUE|1)$")
            list(APPEND definitions EMMA_${switch}=1)
        elseif(value MATCHES "^(OFF|NO|FALSE|0)$")
            list(APPEND definitions EMMA_${switch}=0)
        else()
            message(FATAL_ERROR "${usage}: ${switch} is neither ON nor OFF: ${value}")
        endif()
    endwhile()
    if(EMMA_HARDENED=1 IN_LIST definitions)
        foreach(switch IN ITEMS CHECKS CANARIES ENCODED_LINKS ZERO_ON_FREE RANDOM_ORDER DELAYED_REUSE GUARD_PAGES)
            if(NOT definitions MATCHES "EMMA_${switch}=")
                list(APPEND definitions EMMA_${switch}=1)
            endif()
        endforeach()
    endif()
    if(EMMA_VALGRIND=1 IN_LIST definitions AND EMMA_ASAN=1 IN_LIST definitions)
        message(FATAL_ERROR "${usage}: VALGRIND and ASAN exclude each other")
    endif()
    foreach(switch IN ITEMS VALGRIND ASAN)
        if(EMMA_${switch}=1 IN_LIST definitions)
            if(EMMA_CHECKS=0 IN_LIST definitions)
                message(FATAL_ERROR "${usage}: ${switch} needs CHECKS ON")
            endif()
            list(APPEND definitions EMMA_CHECKS=1)
            if(NOT definitions MATCHES "EMMA_DELAYED_REUSE=")
                list(APPEND definitions EMMA_DELAYED_REUSE=1)
            endif()
        endif()
    endforeach()
    list(REMOVE_DUPLICATES definitions)
    foreach(switch IN ITEMS HARDENED CANARIES ENCODED_LINKS ZERO_ON_FREE DELAYED_REUSE)
        if(EMMA_${switch}=1 IN_LIST definitions AND NOT EMMA_CHECKS=1 IN_LIST definitions)
            message(FATAL_ERROR "${usage}: ${switch} needs CHECKS ON")
        endif()
    endforeach()
    set(${result} ${definitions} PARENT_SCOPE)
endfunction()

function(emma_add_library target)
    set(usage "emma_add_library(${target})")
    cmake_path(GET CMAKE_CURRENT_FUNCTION_LIST_DIR PARENT_PATH root)
    cmake_parse_arguments(PARSE_ARGV 1 arg
        "STATIC;SHARED;OBJECT;HIDDEN;DLOPEN;LUA;SANDBOX;EXPORT;EXCLUDE_FROM_ALL"
        "PREFIX;CHUNK_SHIFT;${EMMA_SWITCHES}" "")

    if(DEFINED arg_UNPARSED_ARGUMENTS)
        list(JOIN arg_UNPARSED_ARGUMENTS " " unknown)
        list(JOIN EMMA_SWITCHES ", " names)
        message(FATAL_ERROR "${usage}: unknown argument: ${unknown}\n"
            "Known are STATIC, SHARED, OBJECT, HIDDEN, DLOPEN, LUA, SANDBOX, EXPORT, EXCLUDE_FROM_ALL, "
            "PREFIX <identifier>, CHUNK_SHIFT <n>, and with <bool> ${names}.")
    endif()
    foreach(keyword IN LISTS arg_KEYWORDS_MISSING_VALUES)
        message(FATAL_ERROR "${usage}: ${keyword} needs a value")
    endforeach()
    if(NOT "${arg_PREFIX}" MATCHES "^([A-Za-z_][A-Za-z0-9_]*)?$")
        message(FATAL_ERROR "${usage}: PREFIX is not a C identifier: ${arg_PREFIX}")
    endif()
    if(DEFINED arg_CHUNK_SHIFT AND NOT arg_CHUNK_SHIFT MATCHES "^[0-9]+$")
        message(FATAL_ERROR "${usage}: CHUNK_SHIFT is not a number: ${arg_CHUNK_SHIFT}")
    endif()
    if(DEFINED arg_CHUNK_SHIFT AND (arg_CHUNK_SHIFT LESS 13 OR arg_CHUNK_SHIFT GREATER 16))
        message(FATAL_ERROR "${usage}: CHUNK_SHIFT is not from 13 to 16: ${arg_CHUNK_SHIFT}")
    endif()
    set(given)
    foreach(switch IN LISTS EMMA_SWITCHES)
        if(DEFINED arg_${switch})
            list(APPEND given ${switch} "${arg_${switch}}")
        endif()
    endforeach()
    emma_definitions(definitions "${usage}" ${given})

    set(kind)
    foreach(candidate IN ITEMS STATIC SHARED OBJECT)
        if(arg_${candidate})
            list(APPEND kind ${candidate})
        endif()
    endforeach()
    list(LENGTH kind kinds)
    if(kinds GREATER 1)
        list(JOIN kind " and " kind)
        message(FATAL_ERROR "${usage}: ${kind} exclude each other")
    elseif(kinds EQUAL 0)
        set(kind STATIC)
    endif()
    if(arg_SHARED AND arg_HIDDEN)
        message(FATAL_ERROR "${usage}: SHARED and HIDDEN exclude each other: a shared library that "
            "exports nothing is of no use")
    endif()
    get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    if(NOT "C" IN_LIST languages)
        message(FATAL_ERROR "${usage}: the language C is not enabled; write "
            "project(... LANGUAGES C ...) or enable_language(C) before it")
    endif()

    set(exclude)
    if(arg_EXCLUDE_FROM_ALL)
        set(exclude EXCLUDE_FROM_ALL)
    endif()
    add_library(${target} ${kind} ${exclude} "${root}/core/emma.c")
    target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${root}/core>")
    if(arg_SANDBOX)
        target_sources(${target} PRIVATE "${root}/bindings/lua/emma_sandbox.c")
    elseif(arg_EXPORT)
        target_sources(${target} PRIVATE "${root}/bindings/emma_export.c")
    endif()
    if(arg_SANDBOX OR arg_EXPORT)
        target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${root}/bindings>")
    endif()
    if(arg_LUA OR arg_SANDBOX)
        target_sources(${target} PRIVATE "${root}/bindings/lua/emma_lua.c")
        target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${root}/bindings/lua>")
    endif()

    target_compile_definitions(${target} PRIVATE ${definitions})
    if(EMMA_ASAN=1 IN_LIST definitions)
        # What is watched is the program: emma uses what is no block of its.
        target_compile_options(${target} PRIVATE -fno-sanitize=address)
        target_link_options(${target} PUBLIC -fsanitize=address)
    endif()
    if(NOT "${arg_PREFIX}" STREQUAL "")
        target_compile_definitions(${target} PUBLIC "EMMA_PREFIX=${arg_PREFIX}")
    endif()
    if(DEFINED arg_CHUNK_SHIFT)
        target_compile_definitions(${target} PRIVATE EMMA_CHUNK_SHIFT=${arg_CHUNK_SHIFT})
    endif()
    if(arg_HIDDEN)
        target_compile_definitions(${target} PUBLIC "EMMA_API=")
    endif()
    if(arg_DLOPEN)
        include(CheckCCompilerFlag)
        check_c_compiler_flag(-mtls-dialect=gnu2 EMMA_HAS_TLS_DESCRIPTORS)
        target_compile_definitions(${target} PRIVATE "EMMA_TLS_MODEL=")
        if(EMMA_HAS_TLS_DESCRIPTORS)
            target_compile_options(${target} PRIVATE -mtls-dialect=gnu2)
        endif()
    endif()
    set_target_properties(${target} PROPERTIES
        C_STANDARD 11
        C_STANDARD_REQUIRED ON
        C_VISIBILITY_PRESET hidden
        POSITION_INDEPENDENT_CODE ON)
endfunction()
