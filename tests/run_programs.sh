#!/bin/sh
# Run cmocka programs, as many at once as there are processors; the last line counts their tests.
# usage: run_programs.sh PROGRAM...     RUN, if set, is the command that runs one
one='
    program=$1
    name=${program##*/}
    log=$2/$name
    ${RUN:-} "$program" >"$log" 2>&1
    status=$?
    p=$(grep -c "^\[       OK \]" "$log")
    f=$(grep -c "^\[  FAILED  \] [^0-9]" "$log")
    s=$(grep -c "^\[  SKIPPED \] [^0-9]" "$log")
    n=$(grep -c "^\[ RUN      \]" "$log")
    if [ "$status" -ne 0 ] || [ "$p" -eq 0 ]; then
        [ "$((p + s))" -lt "$n" ] && f=$((n - p - s)) || f=1 # a crash leaves no FAILED line
        echo "FAILED  $name (exit status $status)" >>"$log"
        cat "$log"
    else
        f=0
        echo "ok      $name ($p tests)"
    fi
    echo "$p $f $s" >"$log.count"
'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
printf '%s\n' "$@" | xargs -P "$jobs" -I @ sh -c "$one" sh @ "$folder"
passed=0
failed=0
skipped=0
for program in "$@"; do
    p=0 f=1 s=0 # of one that was not run
    [ -e "$folder/${program##*/}.count" ] && read -r p f s <"$folder/${program##*/}.count"
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
