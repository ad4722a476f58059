# The headers' plain comments, as Doxygen reads them.
# The head of a file, whose first line names it.
1s|^/\* \([a-z_]*\.h\) - |/** @file \1\n * |
# Titles of sections are nobody's.
s|^/\* ---- .* ---- \*/$||
# A comment before what it is about.
s|^\( *\)/\* |\1/** |
# A comment behind what it is about.
s|^\(.*[^ ].*[;,a-zA-Z0-9)]  *\)/\* \(.*\)|\1/**< \2|
