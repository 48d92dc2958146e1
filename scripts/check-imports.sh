#!/bin/sh
# usage: check-imports.sh MODULE native|imports|polling|callbacks
# Fails when a module imports anything but what the contract (docs/contract.md) allows.
set -eu
objdump=$(dirname "$0")/../build/tools/bin/wasm-objdump
allowed='wasi_snapshot_preview1\.[a-z_0-9]*'
case $2 in native | imports) allowed="$allowed|env\.pglite_js_read|env\.pglite_js_write" ;; esac
[ "$2" = native ] && allowed="$allowed|pgcell\.[a-z_0-9]*"
imports=$("$objdump" -j Import -x "$1" | sed -n 's/.* <- \([^ ]*\)$/\1/p')
[ -n "$imports" ] || { echo "check-imports: no import found in $1: is it a module?" >&2; exit 1; }
bad=$(printf '%s\n' "$imports" | grep -Evx "$allowed" || :)
[ -z "$bad" ] || { echo "check-imports: $1 imports what the contract does not have:" $bad >&2; exit 1; }
