#!/bin/sh
# What the objects of the static library may call and define: nothing that ends, prints to or reconfigures the host program,
# no allocation past the context's heap, no writable globals, no name outside mm_* and mmi_*.
#
#   sh tests/abi/check_symbols.sh [lib/libmm.a]
#
# SPDX-License-Identifier: MIT
set -eu
lib=${1:-lib/libmm.a}
nm -A "$lib" | sed 's/^[^:]*:\([^:]*\):/\1 /' |
    awk '{ o = $1; sub(/\.o$/, "", o); if ($2 == "U" || $2 == "w" || $2 == "v") print o, "U", $3; else print o, $3, $4 }' |
    awk '
    function only(list, object,   n, i, names) {
        n = split(list, names, " ")
        for (i = 1; i <= n; i++) if (names[i] == object) return 1
        return 0
    }
    function bad(text) { print "  " $1 ".o " text; failed = 1 }
    BEGIN {
        # Checked variants of -D_FORTIFY_SOURCE (__printf_chk) are folded into the plain names first.
        n = split("abort exit _exit _Exit quick_exit atexit at_quick_exit on_exit __assert_fail __assert raise kill " \
                  "printf vprintf dprintf vdprintf puts putchar putc fputc_unlocked putchar_unlocked perror psignal stdout stderr stdin " \
                  "err errx warn warnx verr verrx vwarn vwarnx error syslog gets scanf " \
                  "sprintf vsprintf strcpy strcat stpcpy strtok setlocale setenv putenv unsetenv srand rand random srandom " \
                  "signal sigaction sigprocmask fork vfork execve execvp system popen dlopen dlsym dlclose mktemp tmpnam " \
                  "localtime gmtime ctime asctime strerror openblas_set_num_threads goto_set_num_threads bli_thread_set_num_threads", list, " ")
        for (i = 1; i <= n; i++) forbidden[list[i]] = 1
        n = split("malloc calloc realloc reallocarray aligned_alloc posix_memalign memalign valloc free strdup strndup asprintf " \
                  "vasprintf getline getdelim open_memstream", list, " ")
        for (i = 1; i <= n; i++) memory[list[i]] = 1
        n = split("setjmp _setjmp __sigsetjmp sigsetjmp longjmp siglongjmp _longjmp", list, " ")
        for (i = 1; i <= n; i++) jumps[list[i]] = 1
    }
    {
        objects[$1] = 1
        name = $3
        if ($2 == "U") {
            sub(/@.*/, "", name)
            if (name ~ /^__.*_chk$/) { sub(/^__/, "", name); sub(/_chk$/, "", name) }
            if (name == "openblas_set_num_threads" && $1 == "blas") next # which puts back what it found
            if (name in forbidden) bad("calls " name)
            if (name in memory && !only("heap", $1)) bad("calls " name ": memory comes from mmi_alloc (src/base/heap.h)")
            if (name in jumps && !only("png_reader png_writer jpeg_reader", $1)) bad("calls " name ": only the readers of png and jpeg and the writer may")
        } else if ($2 ~ /^[A-Z]$/) {
            if (name !~ /^mmi?_[a-z0-9]/) bad("defines the global name " name)
        }
    }
    END {
        for (o in objects) count++
        if (!count) { print "  no objects"; failed = 1 }
        exit failed
    }' || { echo "check_symbols: $lib breaks a rule"; exit 1; }

# Constants that hold pointers are in .data.rel.ro and become read-only once relocated; anything in .data, .bss or the
# thread-local sections is state. blas.c alone has some, to guard the state of the BLAS library.
state=$(objdump -t "$lib" | awk '/file format/ { o = $1 } / \.(data|bss|tdata|tbss)(\.[A-Za-z0-9_.$]+)?\t/ && !/ \.data\.rel\.ro/ && $NF !~ /^\./ && o !~ /^blas\.o/ { print "  " o " has the variable " $NF }')
if [ -n "$state" ]; then
    echo "$state"
    echo "check_symbols: $lib keeps mutable globals"
    exit 1
fi
echo "check_symbols: $(ar t "$lib" | wc -l | tr -d ' ') objects call nothing forbidden and keep no globals"
