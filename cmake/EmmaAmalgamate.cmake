# Writes the amalgamation: the whole core as two files, emma.c and emma.h, that compile alone.
#
#     cmake -DEMMA_CORE=<core folder> -DEMMA_OUT=<folder> -P cmake/EmmaAmalgamate.cmake
#
# Each #include "..." of core/emma.c is replaced by that file, once each and to any depth; the public
# header stays a file of its own.

cmake_minimum_required(VERSION 3.22)

foreach(variable IN ITEMS EMMA_CORE EMMA_OUT)
    if("${${variable}}" STREQUAL "")
        message(FATAL_ERROR "EmmaAmalgamate.cmake: give -D${variable}=<folder>")
    endif()
endforeach()

set(public_header "emma.h")
set(include_line "(^|\n)[ \t]*#[ \t]*include[ \t]*\"([^\"\n]+)\"[^\n]*")
set_property(GLOBAL PROPERTY emma_inlined "")

# Sets `result` to the text of `file` with its includes replaced.
function(inline_file file result)
    if(NOT EXISTS "${file}")
        message(FATAL_ERROR "EmmaAmalgamate.cmake: ${file} is included but does not exist")
    endif()
    cmake_path(GET file PARENT_PATH folder)
    file(READ "${file}" rest)
    set(text "")
    while("${rest}" MATCHES "${include_line}")
        set(line "${CMAKE_MATCH_0}")
        set(line_start "${CMAKE_MATCH_1}")
        set(name "${CMAKE_MATCH_2}")
        string(FIND "${rest}" "${line}" before)
        string(LENGTH "${line}" length)
        math(EXPR after "${before} + ${length}")
        string(SUBSTRING "${rest}" 0 ${before} head)
        string(SUBSTRING "${rest}" ${after} -1 rest)
        inline_name("${folder}" "${name}" inlined)
        string(APPEND text "${head}${line_start}${inlined}")
    endwhile()
    set(${result} "${text}${rest}" PARENT_SCOPE)
endfunction()

# Sets `result` to what stands in place of #include "name".
function(inline_name folder name result)
    cmake_path(ABSOLUTE_PATH name BASE_DIRECTORY "${folder}" NORMALIZE OUTPUT_VARIABLE file)
    get_property(seen GLOBAL PROPERTY emma_inlined)
    if("${file}" IN_LIST seen)
        set(${result} "/* ${name}: above */" PARENT_SCOPE)
        return()
    endif()
    set_property(GLOBAL APPEND PROPERTY emma_inlined "${file}")
    if(name STREQUAL public_header)
        set(${result} "#include \"${public_header}\"" PARENT_SCOPE)
        return()
    endif()
    inline_file("${file}" text)
    string(REGEX REPLACE "\n+$" "" text "${text}")
    set(${result} "/* ---- ${name} ---- */\n\n${text}\n\n/* ---- end of ${name} ---- */" PARENT_SCOPE)
endfunction()

cmake_path(ABSOLUTE_PATH EMMA_CORE NORMALIZE)
file(STRINGS "${EMMA_CORE}/${public_header}" version REGEX "^#define EMMA_VERSION +\"")
string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*$" "\\1" version "${version}")

inline_file("${EMMA_CORE}/emma.c" core)
file(WRITE "${EMMA_OUT}/emma.c"
    "/* emma ${version}: the whole allocator in one file, generated from core/emma.c; do not edit.\n"
    " * Build: cc -O2 -c emma.c      Users include \"emma.h\".\n"
    " * SPDX-License-Identifier: Apache-2.0 OR MIT */\n"
    "${core}")
file(COPY_FILE "${EMMA_CORE}/${public_header}" "${EMMA_OUT}/${public_header}")
file(TOUCH "${EMMA_OUT}/${public_header}")
