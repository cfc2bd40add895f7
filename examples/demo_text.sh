#!/bin/sh
# What libmm does with text: a language model answers, sentences are ranked by meaning, and the rates of both.
# Run by `make demo-text`, which builds and fetches what this needs. SPDX-License-Identifier: MIT
set -eu
mm=${MM:-build/mm}
cache=${MM_CACHE:-$HOME/.cache/libmm}
chat=$cache/smollm2-135m-instruct-q4_1.gguf
encoder=$cache/minilm
for need in "$mm" "$chat" "$encoder"; do
    [ -e "$need" ] || { echo "demo_text: $need is missing: run make demo-text" >&2; exit 1; }
done

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

question="Why is the sky blue?"
say "SmolLM2-135M-Instruct (4-bit): $question"
"$mm" generate "$chat" --prompt "$question" --max-tokens 120 --greedy

question="How do I keep my plants alive in a hot summer?"
say "all-MiniLM-L6-v2, sentences by meaning: $question"
"$mm" embed "$encoder" --rank --text "$question" \
    --text "Water the garden early in the morning, before the heat." \
    --text "The power plant was shut down for repairs." \
    --text "Mulch keeps the moisture in the soil." \
    --text "She planted a kiss on his forehead." \
    --text "Ferns like a place in the shade."

say "Rates of $(basename "$chat")"
"$mm" bench "$chat"
say "Rates of $(basename "$encoder")"
"$mm" bench "$encoder"
