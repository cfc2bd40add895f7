#!/bin/sh
# libmm as one peer in another benchmark: the samples of task MM_BENCH_TASK (llm, embed, vit, train) as JSON lines, with MM_BENCH_THREADS threads, on the
# models in MM_BENCH_MODELS and the sentences in MM_BENCH_DATA. `make bench` is compare.py.
# usage: bench.sh MM
mm=$1
m=$MM_BENCH_MODELS
threads=${MM_BENCH_THREADS:+--threads $MM_BENCH_THREADS}
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
