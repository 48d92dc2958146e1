#!/bin/sh
# usage: build.sh BUILD OUTPUT
# The native host's image of the cluster that initdb.sh made.
# PGCELL_IMAGE_EXTRA: further trees for the image (TARGET=SOURCE, space between), for tests that need files in the cell.
set -eu
build=$(cd "$1" && pwd)
output=$2
cluster=$build/guest/cluster
log=$build/guest/image.log

# shellcheck disable=SC2086
"$build/pgcell" image build "$output" "/data=$cluster/data" "/pgcell/share=$cluster/share" "/pgcell/lib=$cluster/lib" \
    "/pgcell/lib/postgresql=$cluster/full/lib" "/pgcell/lib/postgresql=$cluster/native" "/pgcell/share/postgresql=$cluster/full/share" \
    "/pgcell/bin=$cluster/bin/postgres" ${PGCELL_IMAGE_EXTRA:-} >"$log" 2>&1 || { tail -20 "$log"; echo "pgcell: making the image failed; see $log"; exit 1; }
"$build/pgcell" image info "$output"
