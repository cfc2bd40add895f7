#!/bin/sh
# Run each fuzzer for some seconds from the seeds in tests/golden; a crash is left beside the program.
# usage: run.sh SECONDS PROGRAM...
seconds=$1
shift
status=0
for program in "$@"; do
    name=${program##*/fuzz_}
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    case $name in
    manifest) seeds=tests/golden/training/manifest.jsonl ;;
    gguf) seeds=$(ls tests/golden/formats/*.gguf 2>/dev/null) ;;
    safetensors) seeds=$(ls tests/golden/formats/*.safetensors 2>/dev/null) ;;
    json) seeds=$(ls tests/golden/formats/*/*.json 2>/dev/null) ;;
    json_schema) seeds=$(ls tests/golden/grammars/schemas.json 2>/dev/null) ;;
    png) seeds=$(ls tests/golden/images/*.png 2>/dev/null) ;;
    wav) seeds=$(ls tests/golden/audio/*.wav 2>/dev/null) ;;
    y4m) seeds=$(ls tests/golden/videos/*.y4m 2>/dev/null) ;;
    processor) seeds=tests/golden/images/processor_configs.txt ;;
    jpeg) seeds=$(ls tests/golden/images/*.jpg 2>/dev/null) ;;
    *) seeds= ;;
    esac
    for s in $seeds; do cp -n "$s" "$corpus/$(echo "$s" | tr / _)"; done
    echo "fuzz $name: $seconds seconds"
    "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build/fuzz/$name-" "$corpus" >"build/fuzz/$name.log" 2>&1 || { tail -n 30 "build/fuzz/$name.log"; status=1; }
done
exit $status
