#!/bin/sh
# usage: portable.sh BUILD IMPORTS.wasm POLLING.wasm CALLBACKS.wasm
# The portable modules, with the cluster that initdb.sh made and PostgreSQL started on it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
cluster=$build/guest/cluster
log=$build/guest/portable.log

conf=$build/guest/portable-postgresql.conf
cat "$cluster/data/postgresql.conf" "$here/portable.conf" >"$conf"
chmod 600 "$conf"
"$build/guest/bake/bake" "$build/guest/portable-imports.wasm=$2" "$build/guest/portable-polling.wasm=$3" \
    "$build/guest/portable-callbacks.wasm=$4" -- "/data=$cluster/data" "/data/postgresql.conf=$conf" \
    "/pgcell/share=$cluster/share" "/pgcell/lib=$cluster/lib" "/pgcell/bin=$cluster/bin/postgres" >"$log" 2>&1 ||
    { tail -20 "$log"; echo "pgcell: making the portable modules failed; see $log"; exit 1; }
tail -1 "$log"
