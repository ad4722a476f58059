# The control modules, which SWIG makes from bindings/emma.i:
#   EMMA_HAVE_LUA_MODULE     ON if the one for Lua 5.4 is built: emma.lua and emma/core.so
#   EMMA_HAVE_PYTHON_MODULE  ON if the one for CPython is: _control.py and _emma.abi3.so, in the package
# Each has a copy of emma and of the sandbox kit of its own in it, hidden. Another SWIG than the one on
# PATH is chosen by EMMA_SWIG.

find_program(EMMA_SWIG NAMES swig swig4.0 DOC "SWIG, 4.2 or later")
mark_as_advanced(EMMA_SWIG)

# emma_modules_lack(<what>): an error where the modules must be built, else a word about it.
macro(emma_modules_lack what)
    if(EMMA_BUILD_MODULES STREQUAL "ON")
        message(FATAL_ERROR "EMMA_BUILD_MODULES is ON, and ${what}")
    endif()
    message(STATUS "The control modules are not built: ${what}")
    return()
endmacro()

if(NOT EMMA_SWIG)
    emma_modules_lack("SWIG was not found (pip install swig)")
endif()
execute_process(COMMAND "${EMMA_SWIG}" -version OUTPUT_VARIABLE swig_says ERROR_QUIET)
string(REGEX MATCH "SWIG Version ([0-9.]+)" swig_says "${swig_says}")
if(NOT CMAKE_MATCH_1 OR CMAKE_MATCH_1 VERSION_LESS 4.2)
    emma_modules_lack("${EMMA_SWIG} is version ${CMAKE_MATCH_1}, and 4.2 is needed (pip install swig)")
endif()
if(NOT EMMA_HAVE_LUA)
    emma_modules_lack("Lua 5.4 was not found (Debian: liblua5.4-dev)")
endif()

# What both have in them.
emma_add_library(emma_control OBJECT HIDDEN DLOPEN LUA SANDBOX EXCLUDE_FROM_ALL
    ${core_switches})
target_sources(emma_control PRIVATE bindings/emma_control.c)
target_include_directories(emma_control SYSTEM PUBLIC "${LUA_INCLUDE_DIR}")
target_include_directories(emma_control PUBLIC bindings)
target_link_libraries(emma_control PUBLIC Threads::Threads)
emma_warnings(emma_control)

# emma_add_module(<target> <language> <interface> <outputs' folder> <swig's options>...)
function(emma_add_module target language interface folder)
    set(wrapper "${PROJECT_BINARY_DIR}/modules/${target}.c")
    file(GLOB described CONFIGURE_DEPENDS bindings/*.i bindings/*.h bindings/${language}/*.i
        bindings/${language}/emma_*.h)
    add_custom_command(
        OUTPUT "${wrapper}"
        COMMAND "${CMAKE_COMMAND}" -E make_directory "${PROJECT_BINARY_DIR}/modules" "${folder}"
        COMMAND "${EMMA_SWIG}" -${language} -Werror -outdir "${folder}" -o "${wrapper}" ${ARGN}
            "-I${PROJECT_SOURCE_DIR}/core" "-I${PROJECT_SOURCE_DIR}/bindings/lua"
            "-I${PROJECT_SOURCE_DIR}/bindings" "${PROJECT_SOURCE_DIR}/${interface}"
        DEPENDS ${described} core/emma.h bindings/lua/emma_sandbox.h bindings/lua/emma_sandbox_pool.h
        COMMENT "Writing the control module for ${language}"
        VERBATIM)
    add_library(${target} MODULE "${wrapper}" $<TARGET_OBJECTS:emma_control>)
    target_link_libraries(${target} PRIVATE emma_control)
    # A signal handler, ends of threads and the export's thread stay when the interpreter goes.
    target_link_options(${target} PRIVATE "LINKER:-z,nodelete")
    target_include_directories(${target} PRIVATE bindings/${language})
    # The wrapper is generated: it is not held to the developers' warnings.
    target_compile_options(${target} PRIVATE -fno-strict-aliasing
        -Wno-deprecated-declarations -Werror=implicit-function-declaration)
    set_target_properties(${target} PROPERTIES PREFIX "" C_STANDARD 11 C_VISIBILITY_PRESET hidden)
endfunction()

# ---- Python ----

if(EMMA_HAVE_PYTHON)
    # Of whichever CPython: the module keeps to what all from 3.10 on have.
    find_package(Python 3.10 COMPONENTS Interpreter Development.Module)
endif()
if(EMMA_HAVE_PYTHON AND Python_FOUND)
    set(EMMA_HAVE_PYTHON_MODULE ON)
    emma_add_module(emma_python_module python bindings/python/emma_module.i
        "${PROJECT_BINARY_DIR}/modules/python" -interface _emma)
    target_sources(emma_python_module PRIVATE bindings/python/emma_module.c)
    set_source_files_properties("${PROJECT_BINARY_DIR}/modules/emma_python_module.c" PROPERTIES
        COMPILE_DEFINITIONS PyInit__emma=emma_module_init)
    target_include_directories(emma_python_module SYSTEM PRIVATE ${Python_INCLUDE_DIRS})
    target_compile_definitions(emma_python_module PRIVATE Py_LIMITED_API=0x030A0000)
    target_link_libraries(emma_python_module PRIVATE ${LUA_LIBRARIES} ${CMAKE_DL_LIBS})
    set_target_properties(emma_python_module PROPERTIES OUTPUT_NAME _emma SUFFIX .abi3.so
        BUILD_RPATH "$ORIGIN" INSTALL_RPATH "$ORIGIN")
    set(control_py "${PROJECT_BINARY_DIR}/modules/python/_control.py")
    add_custom_target(emma_python_control ALL
        COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${control_py}"
            $<TARGET_FILE:emma_python_module> "${EMMA_PYTHON_PACKAGE_DIR}/emma"
        DEPENDS emma_python_module emma_python_package
        VERBATIM)
    # A wheel has Lua in it, too: the library is found beside the module.
    install(TARGETS emma_python_module LIBRARY DESTINATION emma COMPONENT python EXCLUDE_FROM_ALL)
    install(FILES "${control_py}" DESTINATION emma COMPONENT python EXCLUDE_FROM_ALL)
    list(GET LUA_LIBRARIES 0 lua_library)
    file(REAL_PATH "${lua_library}" lua_library)
    if(lua_library MATCHES "\\.so")
        execute_process(COMMAND "${CMAKE_OBJDUMP}" -p "${lua_library}" OUTPUT_VARIABLE lua_library_says)
        string(REGEX MATCH "SONAME +([^ \n]+)" lua_soname "${lua_library_says}")
        install(FILES "${lua_library}" RENAME "${CMAKE_MATCH_1}" DESTINATION emma COMPONENT python
            EXCLUDE_FROM_ALL)
    endif()
endif()

# ---- Lua ----

# It uses the Lua that opens it, whichever that is: lua's own, or a library.
if(NOT EMMA_INSTRUMENTED)
    set(EMMA_HAVE_LUA_MODULE ON)
    set(EMMA_LUA_MODULE_DIR "${PROJECT_BINARY_DIR}/lua")
    emma_add_module(emma_lua_module lua bindings/lua/emma_module.i "${PROJECT_BINARY_DIR}/modules/lua")
    set_target_properties(emma_lua_module PROPERTIES OUTPUT_NAME core
        LIBRARY_OUTPUT_DIRECTORY "${EMMA_LUA_MODULE_DIR}/emma")
    add_custom_target(emma_lua_layer ALL
        COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${PROJECT_SOURCE_DIR}/bindings/lua/emma.lua"
            "${EMMA_LUA_MODULE_DIR}"
        DEPENDS emma_lua_module bindings/lua/emma.lua
        VERBATIM)
endif()
