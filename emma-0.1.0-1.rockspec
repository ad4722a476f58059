-- The Lua module, built from the sources around: luarocks --lua-version 5.4 make
rockspec_format = "3.0"
package = "emma"
version = "0.1.0-1"
source = { url = "file://." }
description = {
    summary = "Capped Lua interpreters in a Lua program",
    detailed = "Sandboxes with a memory limit, an exact budget of instructions and a deadline, reset in microseconds, and "
        .. "instances of the allocator underneath.",
    license = "MIT OR Apache-2.0",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
build = {
    type = "command",
    build_command = "cmake -S . -B build/rock -DCMAKE_BUILD_TYPE=Release -DEMMA_BUILD_TESTS=OFF -DEMMA_BUILD_EXAMPLES=OFF"
        .. " -DEMMA_BUILD_MALLOC=OFF -DEMMA_BUILD_PYTHON=OFF -DEMMA_BUILD_SHARED=OFF -DEMMA_WARNINGS=OFF"
        .. " -DEMMA_BUILD_LUA=ON -DEMMA_BUILD_MODULES=ON -DLUA_INCLUDE_DIR=$(LUA_INCDIR)"
        .. " && cmake --build build/rock --target emma_lua_module",
    install_command = "cmake -E make_directory $(LIBDIR)/emma $(LUADIR)"
        .. " && cmake -E copy build/rock/lua/emma/core.so $(LIBDIR)/emma && cmake -E copy bindings/lua/emma.lua $(LUADIR)",
}
