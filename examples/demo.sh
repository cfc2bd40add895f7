#!/bin/sh
# A picture and questions about it, answered by the small model that libmm trained itself and that this repository holds; nothing is downloaded.
# Run by `make demo`, which builds what this needs. SPDX-License-Identifier: MIT
set -eu
mm=${MM:-build/mm}
model=examples/models/mm-tiny
picture=${1:-examples/images/triangle-red.png}
looked=${2:-build/looked.png}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "$model, trained by examples/train/mm-tiny:"
"$mm" info "$model" | head -4
say "Asked about $picture:"
for question in "what shape is in the image?" "what color is the shape?" "is there a blue shape?" "describe the image"; do
    printf '%-32s' "$question"
    "$mm" generate "$model" --image "$picture" --prompt "$question" --greedy --max-tokens 8
done
say "Where it looked for its answer: $looked"
"$mm" explain "$model" --image "$picture" --prompt "what shape is in the image?" --output "$looked"
