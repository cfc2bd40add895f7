#!/bin/sh
# Train examples/models/mm-tiny: the data by pip, then see.json (the vision tower on shapes and colors) and say.json (all tasks), about a quarter of an hour on 2 cores.
#
#   sh examples/train/mm-tiny/run.sh            results in examples/train/mm-tiny/work
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")"
mm=${MM:-../../../build/mm}
cache=${MM_CACHE:-$HOME/.cache/libmm}
if [ ! -d "$cache/easy-vqa" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" easy-vqa==1.0
    "${PYTHON:-python3}" -m zipfile -e "$work"/easy_vqa-1.0-*.whl "$work/out"
    mv "$work/out/easy_vqa" "$cache/easy-vqa"
fi
[ -d data ] || "${PYTHON:-python3}" ../easy_vqa_manifests.py "$cache/easy-vqa/data" data
for stage in see say; do "$mm" train $stage.json --resume --plot $stage.png; done
"$mm" eval work/mm-tiny say.json
