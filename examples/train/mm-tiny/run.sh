#!/bin/sh
# Train examples/models/mm-tiny: see.json (the vision tower on shapes and colors), then say.json (all tasks). README.md tells more.
#
#   sh examples/train/mm-tiny/run.sh      the last lines are its figures on held-out pictures
#
# Works in $MM_CACHE/mm-tiny, by default ~/.cache/libmm/mm-tiny; the model is runs/say there. Needs build/mm (or MM=...) and python3 with pip.
# SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

if [ ! -e "$work/data/test_questions.jsonl" ]; then
    fetch easy-vqa==1.0
    "$python" -m zipfile -e "$work"/wheels/easy_vqa-*.whl "$work/unpacked"
    "$python" "$here/../easy_vqa_manifests.py" "$work/unpacked/easy_vqa/data" "$work/data"
fi
cp "$here"/*.json "$work"
train see
train say
"$mm" eval "$work/runs/say" "$work/say.json"
