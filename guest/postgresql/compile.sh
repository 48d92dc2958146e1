#!/bin/sh
# usage: compile.sh TREE JOBS
# Compiles the backend in a configured tree.  Writes TREE/objects.txt, for the linker.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$1" && pwd)
jobs=$2
log=$tree/compile.log

fail() { tail -30 "$log"; echo "pgcell: compiling PostgreSQL failed; see $log"; exit 1; }

: >"$log"
total=800
# one dot each 40 files, so that a wait can be seen to pass
( while sleep 10; do
    n=$(find "$tree/src/backend" -name '*.o' | wc -l)
    printf 'pgcell:   %d of about %d files\n' "$n" $total
  done ) & ticker=$!
trap 'kill $ticker 2>/dev/null' EXIT

make -s -C "$tree/src/backend" generated-headers >>"$log" 2>&1 || fail
python3 "$here/split-grammar.py" "$tree/src/backend/parser/gram.c" >>"$log" 2>&1 || fail
# the time zone compiler is linked on the way, and is not used: it may have undefined symbols
make -s -j"$jobs" -C "$tree/src/backend" -f "$here/objects.mk" LDFLAGS_EX=-Wl,--allow-undefined pgcell-objects >>"$log" 2>&1 || fail

sed "s#^#$tree/src/backend/#" "$tree/src/backend/pgcell-objects.txt" >"$tree/objects.txt"
printf '%s\n' "$tree/src/common/libpgcommon_srv.a" "$tree/src/port/libpgport_srv.a" >>"$tree/objects.txt"
