#!/bin/sh
# Preference tuning: a small model learns to answer in several manners, then to prefer one of them. README.md tells more.
#
#   sh examples/train/dpo/run.sh          the last lines are the table
#
# Works in $MM_CACHE/dpo, by default ~/.cache/libmm/dpo. Needs build/mm (or MM=...) and python3. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

"$python" "$here/manners.py" data "$work/data"
cp "$here"/*.json "$work"
train instruct
train dpo

for run in instruct dpo; do
    echo "answering with $run"
    seed=0
    while IFS= read -r question; do
        seed=$((seed + 1))
        "$mm" generate "$work/runs/$run" --prompt "$question" --temperature 1 --seed $seed --max-tokens 60 | tr '\n' ' '
        echo
    done <"$work/data/questions_test.txt" >"$work/$run.answers.txt"
done

echo "held-out questions, and another skill that no preference speaks of:"
for run in instruct dpo; do
    printf '%-9s answers: %s\n' $run "$("$python" "$here/manners.py" judge "$work/data/questions_test.jsonl" "$work/$run.answers.txt")"
    printf '          pairs of which the preferred answer gained more: %s\n' "$(measure "$work/runs/$run" "$work/dpo.json" accuracy)"
    printf '          copying: perplexity %s, exact %s\n' "$(measure "$work/runs/$run" "$work/copying.json" perplexity)" \
        "$(measure "$work/runs/$run" "$work/copying.json" accuracy)"
done
