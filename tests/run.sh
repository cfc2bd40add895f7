#!/bin/sh
# All of `make check`: the C programs, the checks of headers, symbols and arrows, the command, and the Python package.
# usage: run.sh BUILD LIB PROGRAM...
build=$1
lib=$2
shift 2
counts=$(mktemp)
log=$(mktemp)
trap 'rm -f "$counts" "$log"' EXIT
failed=0
passed=0
skipped=0

step() { # step NAME COMMAND...: one check that counts as one test
    name=$1
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        cat "$log"
        echo "FAILED  $name"
    fi
}

COUNTS=$counts sh "$(dirname "$0")/run_programs.sh" "$@"
read -r p f s <"$counts"
passed=$((passed + p))
failed=$((failed + f))
skipped=$((skipped + s))

python=${PYTHON:-python3}
step check-arrows "$python" tests/abi/check_arrows.py
step models-page "$python" tests/abi/check_models_page.py
step headers-check sh tests/abi/check_headers.sh
step check-symbols sh tests/abi/check_symbols.sh "$lib/libmm.a"
step abi-check sh tests/abi/check_abi.sh "$lib/$(readlink "$lib/libmm.so")"
for t in tests/cli/*.sh; do
    [ -e "$t" ] && step "$(basename "$t" .sh)" sh "$t" "$build/mm"
done
for t in tests/python/test_*.py; do
    [ -e "$t" ] && step "$(basename "$t" .py)" env PYTHONPATH=lib/python LIBMM_PATH="$PWD/$lib/libmm.so" "$python" -m unittest "$t"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
