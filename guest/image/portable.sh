#!/bin/sh
# usage: portable.sh BUILD slim|full IN.wasm=OUT.wasm...
# Portable modules, with the cluster that initdb.sh made and PostgreSQL started on it; full: with the files of all extensions.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
kind=$2
shift 2
cluster=$build/guest/cluster
log=$build/guest/portable-$kind.log
bake=$build/guest/bake
extensions=
if [ "$kind" = full ]; then
    bake=$build/guest/bake-full
    extensions="/pgcell/lib/postgresql=$cluster/full/lib /pgcell/share/postgresql=$cluster/full/share"
fi

conf=$build/guest/portable-postgresql.conf
cat "$cluster/data/postgresql.conf" "$here/portable.conf" >"$conf"
chmod 600 "$conf"
# shellcheck disable=SC2086
"$bake/bake" "$@" -- "/data=$cluster/data" "/data/postgresql.conf=$conf" "/pgcell/share=$cluster/share" "/pgcell/lib=$cluster/lib" \
    $extensions "/pgcell/bin=$cluster/bin/postgres" >"$log" 2>&1 ||
    { tail -20 "$log"; echo "pgcell: making the portable modules failed; see $log"; exit 1; }
tail -1 "$log"
