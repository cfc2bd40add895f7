#!/bin/sh
# The binary interface is said in four places that must agree: the declarations of include/mm_*.h, the version script
# src/libmm.map, the list docs/abi/symbols.txt (each declaration, and since when it is there) and what the built library
# exports. docs/abi/constants.txt freezes the values of all enumerators, since programs hold them compiled in; header_c.c
# freezes the layout of the public structs.
#
#   sh tests/abi/check_abi.sh [lib/libmm.so.mm0]     CC is the compiler
#
# A function is added by a line in the map's newest node and in symbols.txt, a constant by a line in constants.txt; lines
# are never changed or taken out. That the library is what its headers declare is the compiler's business: each definition
# sees its declaration (-Wmissing-prototypes). SPDX-License-Identifier: MIT
set -eu
LC_ALL=C
export LC_ALL
lib=${1:-lib/libmm.so.mm0}
. tests/abi/functions.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

differ() { # differ NAME-OF-A FILE-A NAME-OF-B FILE-B: report lines of one and not of the other
    comm -23 "$2" "$4" | sed "s|^|  only in $1 (not in $3): |" >"$work/report"
    comm -13 "$2" "$4" | sed "s|^|  only in $3 (not in $1): |" >>"$work/report"
    if [ -s "$work/report" ]; then
        cat "$work/report"
        failed=1
    fi
}

# The declarations, then "name node" from each source.
declarations >"$work/declarations"
grep -v '^#' docs/abi/symbols.txt | sed 's/^[0-9.]* //' | sort >"$work/written"
differ "include/" "$work/declarations" "docs/abi/symbols.txt" "$work/written"
function_names <"$work/declarations" | sort >"$work/headers"
awk '/^MM_[0-9.]+ *\{/ { node = $1 } /^ *mm_[a-z0-9_]+;/ { gsub(/[ ;]/, ""); print $0, node }' src/libmm.map | sort >"$work/map"
grep -v '^#' docs/abi/symbols.txt | grep -v '^[0-9.]* typedef ' | while read -r since declaration; do
    echo "$(echo "$declaration" | function_names) MM_$since"
done | sort >"$work/list"
nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@@?/, " ", $3); print $3 }' | sort >"$work/library"
cut -d' ' -f1 "$work/map" >"$work/map-names"

[ -s "$work/headers" ] || { echo "check_abi: found no declaration in include/"; exit 1; }
uniq -d "$work/headers" | sed 's/^/  declared twice: /' >"$work/twice"
uniq -d "$work/map-names" | sed 's/^/  twice in src\/libmm.map: /' >>"$work/twice"
if [ -s "$work/twice" ]; then
    cat "$work/twice"
    failed=1
fi
differ "include/" "$work/headers" "src/libmm.map" "$work/map-names"
differ "src/libmm.map" "$work/map" "docs/abi/symbols.txt" "$work/list"
differ "src/libmm.map" "$work/map" "$lib" "$work/library"
if grep -n '\*' src/libmm.map | grep -v '^[0-9]*: *\*;$' | grep -v '/\*\|^[0-9]*: \*'; then
    echo "  src/libmm.map: a wildcard among the exported names"
    failed=1
fi

soname=$(objdump -p "$lib" | awk '$1 == "SONAME" { print $2 }')
[ "$soname" = libmm.so.mm0 ] || { echo "  the soname is '$soname', not libmm.so.mm0"; failed=1; }

# Every enumerator of the headers, with its value.
for h in include/mm_*.h; do echo "#include \"$(basename "$h")\""; done >"$work/all.h"
${CC:-cc} -std=c11 -E -P -Iinclude -include "$work/all.h" -x c /dev/null |
    tr '\n' ' ' | sed 's/enum *{/\n&/g' | sed -n 's/^enum *{\([^}]*\)}.*/\1/p' | tr ',' '\n' |
    sed -n 's/^ *\(MM_[A-Z0-9_]*\).*/\1/p' | sort >"$work/constants"
{
    cat "$work/all.h"
    echo '#include <stdio.h>'
    echo 'int main(void) {'
    sed 's/.*/printf("&; %lld\\n", (long long)&);/; s/"\(MM_[A-Z0-9_]*\);/"\1/' "$work/constants"
    echo 'return 0; }'
} >"$work/values.c"
${CC:-cc} -std=c11 -Iinclude -o "$work/values" "$work/values.c"
"$work/values" | sort >"$work/values.txt"
grep -v '^#' docs/abi/constants.txt | grep . | sort >"$work/frozen"
differ "include/" "$work/values.txt" "docs/abi/constants.txt" "$work/frozen"

[ $failed = 0 ] || { echo "check_abi: the interface is not what is written down"; exit 1; }
echo "check_abi: $(wc -l <"$work/headers" | tr -d ' ') functions and $(wc -l <"$work/constants" | tr -d ' ') constants agree"
