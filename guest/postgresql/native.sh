#!/bin/sh
# usage: native.sh TREE JOBS part|all
# In a tree configured for this machine: "part" makes and installs what building an image needs (initdb, share/), "all" the whole
# of PostgreSQL with its test programs.
set -eu
tree=$(cd "$1" && pwd)
jobs=$2
log=$tree/compile.log
fail() { tail -30 "$log"; echo "pgcell: compiling native PostgreSQL failed; see $log"; exit 1; }
run() { make -s -j"$jobs" -C "$tree/$1" $2 >>"$log" 2>&1 || fail; }

case $3 in
    part)
        : >"$log"
        run src/backend generated-headers
        run src/common all
        run src/port all
        run src/interfaces/libpq all
        run src/fe_utils all
        run src/bin/initdb install
        run src/timezone install
        for d in catalog tsearch utils; do run src/backend/$d install-data; done
        mkdir -p "$tree/install/share/postgresql"
        run src/backend/snowball install-script
        share=$tree/install/share/postgresql
        for f in libpq/pg_hba.conf.sample libpq/pg_ident.conf.sample utils/misc/postgresql.conf.sample; do
            cp "$tree/../src/postgresql/src/backend/$f" "$share/"
        done
        cp "$tree/src/include/catalog/postgres.bki" "$tree/src/include/catalog/system_constraints.sql" "$share/"
        mkdir -p "$share/tsearch_data"
        cp "$tree"/../src/postgresql/src/backend/snowball/stopwords/*.stop "$share/tsearch_data/"
        run src/pl/plpgsql/src install-data
        ;;
    all)
        run . all
        run . install
        run src/test/regress all
        run src/test/isolation all
        ;;
esac
