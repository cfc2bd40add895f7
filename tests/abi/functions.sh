# What include/mm_*.h declare, read as text. Sourced by the other scripts here. SPDX-License-Identifier: MIT

header_text() { # without comments and preprocessor lines, spaces squeezed, on one line
    cat include/mm_*.h | grep -v '^#' | tr '\n' ' ' | sed 's,/\*,\n&,g' | sed 's,^/\*.*\*/,,' | tr '\n' ' ' | tr -s ' '
}

# Functions and callback types, one declaration a line.
declarations() {
    header_text | tr ';' '\n' | sed -n 's/^.*MM_API //p; s/^.*\(typedef [^{}]*(\*mm_[a-z0-9_]*_fn)(.*\)$/\1/p' | sed 's/ *$//' | LC_ALL=C sort
}

# The name in a declaration of a function.
function_names() { grep -v '^typedef' | sed -n 's/^[^(]*[ *]\(mm_[a-z0-9_]*\)(.*/\1/p'; }

declared_functions() { declarations | function_names | LC_ALL=C sort; }
