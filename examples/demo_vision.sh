#!/bin/sh
# What libmm does with pictures: DINOv2 looks at four of them and tells which are alike.
# Run by `make demo-vision`, which builds and fetches what this needs. SPDX-License-Identifier: MIT
set -eu
mm=${MM:-build/mm}
model=${MM_CACHE:-$HOME/.cache/libmm}/dinov2-small
pictures=$(dirname "$0")/images
for need in "$mm" "$model"; do
    [ -e "$need" ] || { echo "demo_vision: $need is missing: run make demo-vision" >&2; exit 1; }
done
${MAKE:-make} -s build/examples/vision

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "DINOv2-small: how alike are the pictures in $pictures? (cosine of their embeddings, 1 is the same)"
build/examples/vision "$model" "$pictures"/circles-red.png "$pictures"/circles-green.png "$pictures"/stripes-blue.png "$pictures"/house.png
say "Rates"
"$mm" bench "$model"
