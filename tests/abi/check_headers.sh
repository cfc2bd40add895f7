#!/bin/sh
# Each public header compiles alone, and twice, as C11 and as C++17 without a warning, includes nothing but standard C and
# its neighbours, and the programs header_c.c and header_cpp.cpp use all of them.
#
#   sh tests/abi/check_headers.sh     CC and CXX are the compilers
#
# SPDX-License-Identifier: MIT
set -eu
strict='-Wall -Wextra -pedantic -Werror -fsyntax-only'
failed=0
for path in include/mm_*.h; do
    h=$(basename "$path")
    printf '#include "%s"\n#include "%s"\n' "$h" "$h" |
        ${CC:-cc} -std=c11 $strict -Wundef -Wstrict-prototypes -Iinclude -x c - || { echo "  $h does not compile alone as C11"; failed=1; }
    printf '#include "%s"\n#include "%s"\n' "$h" "$h" |
        ${CXX:-c++} -std=c++17 $strict -Wundef -Iinclude -x c++ - || { echo "  $h does not compile alone as C++17"; failed=1; }
    if grep -n '^ *# *include' "$path" | grep -v '"mm_[a-z_]*\.h"\|<std[a-z]*\.h>'; then
        echo "  $h includes something else than standard C and include/"
        failed=1
    fi
    grep -q "\"$h\"" tests/abi/header_c.c || { echo "  tests/abi/header_c.c does not include $h"; failed=1; }
done
[ "$(ls include)" = "$(cd include && ls mm_*.h)" ] || { echo "  include/ holds something else than mm_*.h"; failed=1; }
${CC:-cc} -std=c11 $strict -Wstrict-prototypes -Wmissing-prototypes -Iinclude tests/abi/header_c.c || failed=1
${CXX:-c++} -std=c++17 $strict -Iinclude tests/abi/header_cpp.cpp || failed=1
[ $failed = 0 ] || { echo "check_headers: failed"; exit 1; }
echo "check_headers: $(ls include | wc -l | tr -d ' ') headers compile alone as C11 and C++17"
