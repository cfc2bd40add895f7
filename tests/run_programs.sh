#!/bin/sh
# Run cmocka programs one after another; the last line counts their tests.
# usage: run_programs.sh PROGRAM...
passed=0
failed=0
skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    name=${program##*/}
    "$program" >"$log" 2>&1
    status=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
    s=$(grep -c '^\[  SKIPPED \] [^0-9]' "$log")
    n=$(grep -c '^\[ RUN      \]' "$log")
    if [ "$status" -ne 0 ] || [ "$p" -eq 0 ]; then
        cat "$log"
        [ "$((p + s))" -lt "$n" ] && f=$((n - p - s)) || f=1 # a crash leaves no FAILED line
        echo "FAILED  $name (exit status $status)"
    else
        f=0
        echo "ok      $name ($p tests)"
    fi
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))
done
if [ -n "${COUNTS:-}" ]; then
    echo "$passed $failed $skipped" >"$COUNTS"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" -eq 0 ]
