#!/bin/sh
# How modalities meet and how tasks share, on easy-vqa: twenty small models of three tasks and of one. README.md tells more.
#
#   sh examples/train/ablation/run.sh [--steps N] [RUN ..]     the last lines are the table
#
# Works in $MM_CACHE/ablation, by default ~/.cache/libmm/ablation; a second call goes on where the first stopped. Needs build/mm (or MM=...) and python3 with pip.
# SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../recipe.sh"

if [ ! -e "$work/data" ]; then
    fetch easy-vqa==1.0
    "$python" -m zipfile -e "$work"/wheels/easy_vqa-*.whl "$work/unpacked"
    mv "$work/unpacked/easy_vqa/data" "$work/data"
fi
exec "$python" "$here/ablation.py" "$mm" "$work/data" "$work/runs" "$@"
