#!/bin/sh
# A chat about a picture with a model made of two that others trained, DINOv2-small and SmolLM2-135M-Instruct, and of what libmm trained to join them,
# which this repository holds. Run by `make demo-vlm`, which builds and fetches what this needs. SPDX-License-Identifier: MIT
set -eu
mm=${MM:-build/mm}
cache=${MM_CACHE:-$HOME/.cache/libmm}
trained=examples/models/mm-smolvlm
model=$cache/mm-smolvlm/model
picture=${1:-examples/images/circle-teal.png}
for need in "$mm" "$cache/dinov2-small" "$cache/smollm2-135m-instruct-q4_1.gguf" "$picture"; do
    [ -e "$need" ] || { echo "demo_vlm: $need is missing: run make demo-vlm" >&2; exit 1; }
done
mkdir -p "$model"
cp "$trained"/* "$model" # beside what its config.json names: paths of parts count from there

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "A chat about $picture ($trained):"
set -- "What do you see?" "what color is the shape?" "is there a triangle in the image?" "what shape is in the image?"
for question; do printf '> %s\n' "$question"; done >"$model/asked"
{
    echo "/image $picture"
    for question; do echo "$question"; done
} | "$mm" chat "$model" --adapter "$model" --greedy --max-tokens 24 | sed '/^$/d' | paste -d '\n' "$model/asked" -
rm -f "$model/asked"
say "And without a picture:"
echo "> Why is the sky blue?"
"$mm" generate "$model" --adapter "$model" --prompt "Why is the sky blue?" --greedy --max-tokens 60
