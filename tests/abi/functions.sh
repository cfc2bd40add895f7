# Print the functions that include/mm_*.h declare with MM_API, one a line, sorted. Sourced by the other scripts here.
# SPDX-License-Identifier: MIT
declared_functions() {
    cat include/mm_*.h | grep -v '^#' | tr '\n' ' ' | sed 's,/\*,\n&,g' | sed 's,^/\*.*\*/,,' | tr '\n' ' ' |
        sed 's/MM_API /\n&/g' | sed -n 's/^MM_API [^(]*[ *]\(mm_[a-z0-9_]*\)(.*/\1/p' | LC_ALL=C sort
}
