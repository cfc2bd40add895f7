#!/bin/sh
# Install what is missing to build and test libmm, through apt-get, dnf, apk or brew; nothing when all is there.
#
#   sh examples/deps.sh            as root, or with sudo
#   sh examples/deps.sh --list     only say what is missing: exit status 1 when something is
#
# BLAS is openblas or blis, PYTHON the interpreter that runs the scripts. SPDX-License-Identifier: MIT
set -eu
blas=${BLAS:-openblas}
python=${PYTHON:-python3}

# What is needed, how it is recognized, and its package for apt-get, dnf, apk and brew ("-": comes with the system's tools).
needs() {
    cat <<END
compiler    apt:gcc,libc6-dev       dnf:gcc                apk:build-base        brew:-
compiler++  apt:g++                 dnf:gcc-c++            apk:build-base        brew:-
make        apt:make                dnf:make               apk:make              brew:-
pkg-config  apt:pkg-config          dnf:pkgconf-pkg-config apk:pkgconf           brew:pkg-config
$blas       apt:lib$blas-dev        dnf:$blas-devel        apk:$blas-dev         brew:$blas
libpng      apt:libpng-dev          dnf:libpng-devel       apk:libpng-dev        brew:libpng
libjpeg     apt:libjpeg-dev         dnf:libjpeg-turbo-devel apk:libjpeg-turbo-dev brew:jpeg-turbo
libcjson    apt:libcjson-dev        dnf:cjson-devel        apk:cjson-dev         brew:cjson
libutf8proc apt:libutf8proc-dev     dnf:utf8proc-devel     apk:utf8proc-dev      brew:utf8proc
libpcre2-8  apt:libpcre2-dev        dnf:pcre2-devel        apk:pcre2-dev         brew:pcre2
sndfile     apt:libsndfile1-dev    dnf:libsndfile-devel   apk:libsndfile-dev    brew:libsndfile
cairo       apt:libcairo2-dev      dnf:cairo-devel        apk:cairo-dev         brew:cairo
cmocka      apt:libcmocka-dev       dnf:libcmocka-devel    apk:cmocka-dev        brew:cmocka
python      apt:python3             dnf:python3            apk:python3           brew:python
pip         apt:python3-pip         dnf:python3-pip        apk:py3-pip           brew:-
numpy       apt:python3-numpy       dnf:python3-numpy      apk:py3-numpy         brew:numpy
END
}

there() { # there NEED
    case $1 in
    compiler) command -v "${CC:-cc}" ;;
    compiler++) command -v "${CXX:-c++}" ;;
    make | pkg-config) command -v "$1" ;;
    python) command -v "$python" ;;
    pip) "$python" -m pip --version ;;
    numpy) "$python" -c 'import numpy' ;;
    "$blas") pkg-config --exists "$blas" || echo 'int main(void) { return 0; }' | ${CC:-cc} -x c - -o /dev/null "-l$blas" ;;
    *) pkg-config --exists "$1" ;;
    esac >/dev/null 2>&1
}

missing() { needs | while read -r need packages; do there "$need" || echo "$need $packages"; done; }

lacking=$(missing)
if [ -z "$lacking" ]; then
    exit 0
fi
echo "deps: missing: $(echo "$lacking" | cut -d' ' -f1 | tr '\n' ' ')"
[ "${1:-}" != --list ] || exit 1

if command -v apt-get >/dev/null 2>&1; then
    tool=apt
elif command -v dnf >/dev/null 2>&1; then
    tool=dnf
elif command -v apk >/dev/null 2>&1; then
    tool=apk
elif command -v brew >/dev/null 2>&1; then
    tool=brew
else
    echo "deps: there is no apt-get, dnf, apk or brew here: install these yourself" >&2
    exit 1
fi
packages=$(echo "$lacking" | tr -s ' ' '\n' | sed -n "s/^$tool:\([^-].*\)/\1/p" | tr ',' '\n' | sort -u | tr '\n' ' ')
if [ -z "$packages" ]; then
    echo "deps: on this system the compiler and make come with: xcode-select --install" >&2
    exit 1
fi

as_root=
if [ "$tool" != brew ] && [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps: not root and no sudo: ask someone who is to install: $packages" >&2; exit 1; }
    as_root=sudo
fi
echo "deps: installing by $tool: $packages"
# $packages is a list of words.
case $tool in
apt)
    $as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $packages >/dev/null
    ;;
dnf) $as_root dnf -q -y install $packages ;;
apk) $as_root apk add -q $packages ;;
brew)
    brew install -q $packages
    echo "deps: brew keeps some libraries aside: export PKG_CONFIG_PATH=\$(brew --prefix)/opt/$blas/lib/pkgconfig"
    ;;
esac

lacking=$(missing)
[ -n "$lacking" ] || exit 0
for need in $(echo "$lacking" | cut -d' ' -f1); do
    case $need in
    pip | numpy) echo "deps: $(command -v "$python") is not the system's Python and has no $need: try make PYTHON=/usr/bin/python3" >&2 ;;
    sndfile) echo "deps: libsndfile is missing: FLAC and Ogg will not be read" >&2 ;;
    cairo) echo "deps: cairo is missing: mm will not draw plots" >&2 ;;
    *)
        echo "deps: $need is still missing" >&2
        failed=1
        ;;
    esac
done
exit ${failed:-0}
