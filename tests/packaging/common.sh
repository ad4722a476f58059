# Sourced by the packaging tests. They are run by ctest with these in the environment:
#   EMMA_SOURCE        the project's top folder
#   EMMA_BUILD         the build under test
#   EMMA_AMALGAMATION  the folder of the generated emma.c and emma.h
#   CMAKE, CC          the cmake and the C compiler of that build
set -eu
export LC_ALL=C

fail()
{
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Whether the build under test has what needs Lua 5.4.
has_lua()
{
    [ -x "$EMMA_BUILD/emma-lua" ]
}

# Makes `scratch`, a folder that is removed at the end.
make_scratch()
{
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
}

# expect WHAT EXPECTED ACTUAL
expect()
{
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

# expect_text WHAT TEXT FILE: the file has the text somewhere.
expect_text()
{
    grep -qF -- "$2" "$3" || {
        cat "$3" >&2
        fail "$1: '$2' is missing"
    }
}

# quietly COMMAND...: its output is shown only if it fails.
quietly()
{
    "$@" >"$scratch/output" 2>&1 </dev/null || {
        cat "$scratch/output" >&2
        fail "failed: $*"
    }
}

# must_fail COMMAND...: leaves what it printed in $scratch/output.
must_fail()
{
    if "$@" >"$scratch/output" 2>&1 </dev/null; then
        cat "$scratch/output" >&2
        fail "did not fail: $*"
    fi
}

install_into()
{
    quietly "$CMAKE" --install "$EMMA_BUILD" --prefix "$1"
}

header_version()
{
    sed -n 's/^#define EMMA_VERSION *"\(.*\)"$/\1/p' "$EMMA_SOURCE/core/emma.h"
}
