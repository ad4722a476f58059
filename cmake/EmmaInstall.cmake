# The install rules. share/emma has the layout of the source tree (cmake/, core/, bindings/lua/), with
# the amalgamation for a core, so that emma_add_library works the same from an installed package.

set(EMMA_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/emma")
set(EMMA_INSTALL_DATADIR "${CMAKE_INSTALL_DATADIR}/emma")
set(EMMA_INSTALL_PKGCONFIGDIR "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(TARGETS ${installed_targets} EXPORT emma-targets
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(EMMA_HAVE_PYTHON)
    install(TARGETS emma_python emma_python_all LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
install(FILES core/emma.h bindings/emma_export.h bindings/lua/emma_lua.h bindings/python/emma_python.h
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
if(EMMA_HAVE_LUA)
    install(FILES bindings/lua/emma_sandbox.h bindings/lua/emma_sandbox_pool.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(EMMA_HAVE_LUA_MODULE)
    # Where Lua looks, if the prefix is one of its own: lib/lua/5.4 and share/lua/5.4.
    install(TARGETS emma_lua_module LIBRARY DESTINATION lib/lua/5.4/emma)
    install(FILES bindings/lua/emma.lua DESTINATION share/lua/5.4)
endif()
install(FILES "${EMMA_AMALGAMATION_DIR}/emma.c" "${EMMA_AMALGAMATION_DIR}/emma.h"
    DESTINATION "${EMMA_INSTALL_DATADIR}/core")
file(GLOB sandbox_files CONFIGURE_DEPENDS bindings/lua/emma_sandbox*)
install(FILES bindings/lua/emma_lua.c bindings/lua/emma_lua.h ${sandbox_files}
    DESTINATION "${EMMA_INSTALL_DATADIR}/bindings/lua")
install(FILES bindings/emma_export.c bindings/emma_export.h bindings/emma_export_page.h
    DESTINATION "${EMMA_INSTALL_DATADIR}/bindings")
file(GLOB gdb_files CONFIGURE_DEPENDS bindings/gdb/*.py)
install(FILES ${gdb_files} DESTINATION "${EMMA_INSTALL_DATADIR}/bindings/gdb")
install(FILES cmake/EmmaAddLibrary.cmake DESTINATION "${EMMA_INSTALL_DATADIR}/cmake")
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT
    DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES docs/man/emma.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES docs/man/emma-malloc.7 DESTINATION "${CMAKE_INSTALL_MANDIR}/man7")
if(TARGET emma-lua)
    install(FILES docs/man/emma-lua.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()
# What README.md links to, at the same places beside it.
file(GLOB pool_server_files RELATIVE "${PROJECT_SOURCE_DIR}" CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/pool_server*")
foreach(file IN ITEMS core/emma.h bindings/emma_export.h docs/internals.md examples/embed_lua.c examples/embed_python.c
        examples/embed_python_and_lua.c bindings/lua/emma_sandbox.h bindings/lua/emma_sandbox_pool.h
        bindings/report/vendor/README.md
        examples/sandbox.c examples/sandbox.lua
        examples/python/measure.py examples/python/pool.py examples/python/sandbox.py examples/lua/showcase.lua
        examples/two_emmas.c docs/guides/embed-lua.md docs/guides/embed-python.md docs/guides/sandbox.md
        docs/guides/whole-process.md docs/guides/debugging.md docs/guides/hardening.md
        ${pool_server_files} examples/lua/handler.lua)
    cmake_path(GET file PARENT_PATH folder)
    install(FILES "${file}" DESTINATION "${CMAKE_INSTALL_DOCDIR}/${folder}")
endforeach()

# ---- find_package(emma) ----

install(EXPORT emma-targets NAMESPACE emma:: DESTINATION "${EMMA_INSTALL_CMAKEDIR}")
configure_package_config_file(cmake/emma-config.cmake.in "${PROJECT_BINARY_DIR}/emma-config.cmake"
    INSTALL_DESTINATION "${EMMA_INSTALL_CMAKEDIR}"
    PATH_VARS EMMA_INSTALL_DATADIR)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/emma-config-version.cmake"
    # Before 1.0 a minor version may change the interface.
    COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/emma-config.cmake" "${PROJECT_BINARY_DIR}/emma-config-version.cmake"
    DESTINATION "${EMMA_INSTALL_CMAKEDIR}")

# ---- pkg-config ----

# Paths relative to the .pc file, so that an installed tree can be moved; absolute where the user made
# them so.
if(IS_ABSOLUTE "${EMMA_INSTALL_PKGCONFIGDIR}")
    set(EMMA_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
    file(RELATIVE_PATH up "/${EMMA_INSTALL_PKGCONFIGDIR}" "/")
    string(REGEX REPLACE "/$" "" up "${up}")
    set(EMMA_PC_PREFIX "\${pcfiledir}/${up}")
endif()
foreach(kind IN ITEMS LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
        set(EMMA_PC_${kind} "${CMAKE_INSTALL_${kind}}")
    else()
        set(EMMA_PC_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}}")
    endif()
endforeach()
set(EMMA_PC_DEFINITIONS "")
if(NOT EMMA_PREFIX STREQUAL "")
    set(EMMA_PC_DEFINITIONS " -DEMMA_PREFIX=${EMMA_PREFIX}")
endif()
set(pc_files emma emma-lua)
if(EMMA_HAVE_LUA)
    list(APPEND pc_files emma-sandbox)
endif()
if(EMMA_HAVE_MALLOC)
    list(APPEND pc_files emma-malloc)
endif()
foreach(name IN LISTS pc_files)
    configure_file(cmake/${name}.pc.in "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${EMMA_INSTALL_PKGCONFIGDIR}")
endforeach()
