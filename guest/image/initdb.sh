#!/bin/sh
# usage: initdb.sh BUILD OUTPUT
# Runs PostgreSQL's own initdb with the guest as its "postgres".  OUTPUT/data is the cluster; share, lib and bin are the files
# that PostgreSQL wants to find beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
output=$2
native=$build/native/install
log=$build/guest/initdb.log

# initdb does not run as root, and who it runs as may not be able to look into the user's home: it works in a place of its own
stage=$(mktemp -d "${TMPDIR:-/tmp}/pgcell-initdb.XXXXXX")
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
cp "$build/pgcell" "$stage/pgcell"
mkdir -p "$stage/bin" "$stage/lib/postgresql" "$stage/share"
cp "$native/bin/initdb" "$stage/bin/"
cp -r "$native/share/postgresql" "$stage/share/"
# the catalogs' description is made for the machine it is configured on: the guest has 4-byte pointers, and 8-byte values that are
# passed by reference
sed -i -e 's/\bALIGNOF_POINTER\b/i/g; s/\bSIZEOF_POINTER\b/4/g; s/\bFLOAT8PASSBYVAL\b/f/g' "$stage/share/postgresql/postgres.bki"
# PostgreSQL looks whether a module's file exists before it asks for the module
cut -d= -f1 "$build/guest/postgresql/modules.txt" | while read -r m; do : >"$stage/lib/postgresql/$m.so"; done
cat >"$stage/bin/postgres" <<RUN
#!/bin/sh
exec "$stage/pgcell" image postgres "\$0" "\$@"
RUN
chmod +x "$stage/bin/postgres"

settings=$(sed -n "s/^\([a-z_]*\) = '\{0,1\}\([^']*\)'\{0,1\}\$/-c \1=\2/p" "$here/postgresql.conf")
run=
if [ "$(id -u)" = 0 ]; then
    chown -R nobody "$stage"
    run="setpriv --reuid=nobody --clear-groups --"
fi
# shellcheck disable=SC2086
$run "$stage/bin/initdb" -D "$stage/data" -U postgres -A trust -E UTF8 --locale=C --locale-provider=builtin \
    --builtin-locale=C.UTF-8 -T english --wal-segsize=1 --no-sync --no-instructions $settings >"$log" 2>&1 ||
    { tail -20 "$log"; echo "pgcell: initdb failed; see $log"; exit 1; }

# WAL before the last checkpoint is there for reuse only, under names that are yet to come
ls "$stage/data/pg_wal" | grep -x '[0-9A-F]\{24\}' | sort | tail -n +2 | while read -r f; do rm "$stage/data/pg_wal/$f"; done
# only initdb reads these
rm -f "$stage"/share/postgresql/*.bki "$stage"/share/postgresql/*.sample "$stage"/share/postgresql/*.sql \
    "$stage"/share/postgresql/sql_features.txt "$stage"/share/postgresql/errcodes.txt
rm "$stage/bin/initdb"
rm -rf "$output"
mkdir -p "$output"
cp -r "$stage/data" "$stage/share" "$stage/lib" "$stage/bin" "$output/"
