#!/bin/sh
# `make bench`: every model in the cache on this machine. A peer's benchmark can call it as a peer: with MM_BENCH_TASK (llm, embed, vit, train),
# MM_BENCH_THREADS and MM_BENCH_MODELS set it prints that task's samples as JSON lines.
# usage: bench.sh MM
mm=$1
cache=${MM_CACHE:-$HOME/.cache/libmm}
threads=${MM_BENCH_THREADS:+--threads $MM_BENCH_THREADS}
if [ -n "${MM_BENCH_TASK:-}" ]; then
    m=$MM_BENCH_MODELS
    printf '{"version": "%s"}\n' "$("$mm" --version | cut -d' ' -f2)"
    case $MM_BENCH_TASK in
    llm) exec "$mm" bench "$m/smollm2-135m-q4_1.gguf" --json $threads ;;
    embed) exec "$mm" bench "$m/minilm" --json --text-file "$MM_BENCH_DATA/sentences.txt" $threads ;;
    vit) exec "$mm" bench "$m/dinov2-small-focus" --json $threads ;;
    train)
        for workload in vit gpt clip llava; do
            "${mm%/*}/tests/bench/train_bench" "${MM_BENCH_THREADS:-2}" $workload || exit 1
        done
        ;;
    esac
    exit 0
fi
grep -m 1 'model name' /proc/cpuinfo 2>/dev/null
for model in "$cache"/*.gguf "$cache"/*/config.json; do
    [ -e "$model" ] || continue
    model=${model%/config.json}
    echo "== ${model##*/}"
    "$mm" bench "$model" $threads || exit 1
done
