#!/bin/sh
# Training that is killed (SIGKILL) at 20 moments and goes on: the weights come out as of a run that nothing interrupted, bit for bit, each step
# is in the log once, and no checkpoint that was there is lost. Ctrl-C loses nothing at all.
# usage: test_killed_training.sh MM
mm=$1
dir=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/mm_killed.XXXXXX")
trap 'rm -rf "$dir"' EXIT
steps=3000
failed=0

fail() {
    echo "$1"
    failed=1
}

config() { # config NAME: of a run in a folder of that name
    cat <<END
{"output": "$1", "seed": 11, "steps": $steps, "batch_size": 4, "save_every": 20, "log_every": 1, "evaluate_every": 500, "keep": 2, "clip_norm": 1,
 "model": {"from": "$PWD/tests/golden/models/llama_words"}, "optimizer": {"lr": 0.003}, "schedule": {"name": "cosine", "warmup_steps": 50},
 "tasks": [{"objective": "causal_lm", "data": {"train": "texts.jsonl", "validation_split": 0.4}}]}
END
}

newest() { # the step of the newest checkpoint, 0: there is none
    ls "$dir/killed" 2>/dev/null | sed -n 's/^checkpoint-0*\([1-9][0-9]*\)\.safetensors$/\1/p' | sort -n | tail -n 1 | grep . || echo 0
}

for text in "the one in the" "an ant on the stone" "there is a rest in the east" "on and on" "the rest is the rest" "an inn" "the hen and the ant" "is it here"; do
    echo "{\"text\": \"$text\"}"
done >"$dir/texts.jsonl"
config whole >"$dir/whole.json"
config killed >"$dir/killed.json"
"$mm" train "$dir/whole.json" --threads 1 >/dev/null 2>"$dir/err" || fail "the whole run failed: $(cat "$dir/err")"

# Ctrl-C leaves a checkpoint of the step that it came behind
"$mm" train "$dir/killed.json" --resume >/dev/null 2>"$dir/err" &
for i in $(seq 1000); do
    [ -s "$dir/killed/log.jsonl" ] && break
    sleep 0.01
done
kill -INT $!
wait $!
[ $? -eq 1 ] || fail "interrupted training did not exit with 1"
grep -q "MM_E_CANCELLED\|cancelled" "$dir/err" && grep -q -e --resume "$dir/err" || fail "interrupted training said: $(cat "$dir/err")"
[ "$(newest)" -gt 0 ] || fail "interrupted training left no checkpoint"

# moments of 0.03 to 0.23 s, by a fixed seed
kills=0
for moment in $(awk 'BEGIN { srand(5); for (i = 0; i < 20; i++) print 0.03 + 0.2 * rand() }'); do
    before=$(newest)
    "$mm" train "$dir/killed.json" --resume --threads 2 >/dev/null 2>"$dir/err" &
    sleep "$moment"
    kill -9 $! 2>/dev/null && kills=$((kills + 1))
    wait $! 2>/dev/null
    [ "$(newest)" -ge "$before" ] || fail "checkpoint $before was lost"
done
[ "$kills" -gt 5 ] || fail "only $kills runs were killed"
"$mm" train "$dir/killed.json" --resume --threads 1 >/dev/null 2>"$dir/err" || fail "the last part failed: $(cat "$dir/err")"
last=$(printf 'checkpoint-%08d.safetensors' "$steps")
cmp "$dir/whole/$last" "$dir/killed/$last" || fail "weights or moments differ"
cmp "$dir/whole/model.safetensors" "$dir/killed/model.safetensors" || fail "models differ"
for run in whole killed; do
    sed 's/"samples_per_second": [^,]*, //' "$dir/$run/log.jsonl" >"$dir/$run.log"
done
cmp "$dir/whole.log" "$dir/killed.log" || fail "logs differ"
[ "$(wc -l <"$dir/killed.log")" -eq $((steps + steps / 500)) ] || fail "the log has $(wc -l <"$dir/killed.log") lines"
[ "$(ls "$dir/killed" | grep -c '^checkpoint-')" -eq 2 ] || fail "there is more than two checkpoints: $(ls "$dir/killed")"
exit $failed
