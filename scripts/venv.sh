#!/usr/bin/env bash
# Makes or updates a Python virtual environment from a requirements file, and prints its folder.
# Usage: venv.sh NAME REQUIREMENTS. Does nothing when the environment already matches the file.
set -euo pipefail

name=$1
requirements=$2
folder="${XDG_CACHE_HOME:-$HOME/.cache}/dil/$name"
stamp="$folder/.requirements"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

if [ -x "$folder/bin/python" ] && cmp -s "$requirements" "$stamp"; then
    echo "$folder"
    exit 0
fi

command -v python3 >/dev/null || fail "python3 is missing; install Python 3.10 or later"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or later is needed, found $(python3 --version)"

make_venv() {
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    python3 -m venv "$folder" >&2 && [ -x "$folder/bin/pip" ]
}

# Debian leaves ensurepip out of its python3 package, so `-m venv` may fail there.
if ! make_venv; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qy python3-venv >&2
        make_venv || fail "python3 -m venv still fails after installing python3-venv"
    elif python3 -m pip --version >/dev/null 2>&1; then
        python3 -m pip install --user --quiet virtualenv >&2 || fail "neither python3-venv nor virtualenv can be installed"
        rm -rf "$folder"
        python3 -m virtualenv --quiet "$folder" >&2
    else
        fail "python3 cannot make virtual environments; install the package python3-venv"
    fi
fi

"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2 \
    || fail "pip could not install $requirements; is there a package index it can reach?"
cp "$requirements" "$stamp"
echo "$folder"
