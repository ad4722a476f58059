# Finds what the program emma-lua links with:
#   EMMA_HAVE_LUA      ON if Lua 5.4 was found
#   emma_lua54         Lua 5.4, headers and library (INTERFACE)
#   emma_line_editing  readline or libedit, whichever is there; nothing otherwise (INTERFACE)
# Another Lua 5.4 than the system's is chosen by LUA_INCLUDE_DIR and LUA_LIBRARY.

option(EMMA_LUA_STATIC
    "Link emma-lua with Lua's static library where there is one, as lua itself is" ON)
set(EMMA_LINE_EDITING AUTO CACHE STRING "Line editing of emma-lua: AUTO, readline, libedit or OFF")
set_property(CACHE EMMA_LINE_EDITING PROPERTY STRINGS AUTO readline libedit OFF)
mark_as_advanced(EMMA_LUA_STATIC)
if(NOT EMMA_LINE_EDITING MATCHES "^(AUTO|readline|libedit|OFF)$")
    message(FATAL_ERROR "EMMA_LINE_EDITING is ${EMMA_LINE_EDITING}; "
        "it can be AUTO, readline, libedit or OFF")
endif()

find_package(Lua 5.4 EXACT QUIET)
if(NOT LUA_FOUND)
    return()
endif()
set(EMMA_HAVE_LUA ON)

add_library(emma_lua54 INTERFACE)
target_include_directories(emma_lua54 SYSTEM INTERFACE "${LUA_INCLUDE_DIR}")
set(EMMA_LUA54_STATIC_LIBRARY "")
if(EMMA_LUA_STATIC)
    list(GET LUA_LIBRARIES 0 lua_library)
    cmake_path(GET lua_library PARENT_PATH lua_library_dir)
    find_library(EMMA_LUA54_STATIC_LIBRARY_FOUND NAMES liblua5.4.a liblua-5.4.a liblua54.a liblua.a
        HINTS "${lua_library_dir}" NO_DEFAULT_PATH)
    mark_as_advanced(EMMA_LUA54_STATIC_LIBRARY_FOUND)
    if(EMMA_LUA54_STATIC_LIBRARY_FOUND)
        set(EMMA_LUA54_STATIC_LIBRARY "${EMMA_LUA54_STATIC_LIBRARY_FOUND}")
    endif()
endif()
if(EMMA_LUA54_STATIC_LIBRARY)
    # The whole of it: a module written in C may call functions that the program itself does not.
    target_link_libraries(emma_lua54 INTERFACE
        "-Wl,--whole-archive" "${EMMA_LUA54_STATIC_LIBRARY}" "-Wl,--no-whole-archive"
        m ${CMAKE_DL_LIBS})
else()
    target_link_libraries(emma_lua54 INTERFACE ${LUA_LIBRARIES})
endif()

add_library(emma_line_editing INTERFACE)
set(line_editing "none")
if(EMMA_LINE_EDITING MATCHES "^(AUTO|readline)$")
    find_path(READLINE_INCLUDE_DIR readline/readline.h)
    find_library(READLINE_LIBRARY readline)
    mark_as_advanced(READLINE_INCLUDE_DIR READLINE_LIBRARY)
    if(READLINE_INCLUDE_DIR AND READLINE_LIBRARY)
        set(line_editing "readline")
        target_include_directories(emma_line_editing SYSTEM INTERFACE "${READLINE_INCLUDE_DIR}")
        target_link_libraries(emma_line_editing INTERFACE "${READLINE_LIBRARY}")
        target_compile_definitions(emma_line_editing INTERFACE EMMA_LUA_READLINE=1)
    endif()
endif()
if(EMMA_LINE_EDITING MATCHES "^(AUTO|libedit)$" AND line_editing STREQUAL "none")
    find_path(LIBEDIT_INCLUDE_DIR editline/readline.h)
    find_library(LIBEDIT_LIBRARY edit)
    mark_as_advanced(LIBEDIT_INCLUDE_DIR LIBEDIT_LIBRARY)
    if(LIBEDIT_INCLUDE_DIR AND LIBEDIT_LIBRARY)
        set(line_editing "libedit")
        target_include_directories(emma_line_editing SYSTEM INTERFACE "${LIBEDIT_INCLUDE_DIR}")
        target_link_libraries(emma_line_editing INTERFACE "${LIBEDIT_LIBRARY}")
        target_compile_definitions(emma_line_editing INTERFACE EMMA_LUA_LIBEDIT=1)
    endif()
endif()
if(line_editing STREQUAL "none" AND EMMA_LINE_EDITING MATCHES "^(readline|libedit)$")
    message(FATAL_ERROR "EMMA_LINE_EDITING is ${EMMA_LINE_EDITING}, which was not found: install "
        "its development files (Debian: libreadline-dev, libedit-dev)")
endif()
message(STATUS "emma-lua: Lua ${LUA_VERSION_STRING}, line editing: ${line_editing}")
