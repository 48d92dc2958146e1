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
# The system views' rules are 2.5 MB of text that PostgreSQL compresses badly and then nobody can compress well: plain, they make a
# module that is a quarter of a megabyte smaller to download, and views that are quicker to open.
storage()
{
    printf "\n\nUPDATE pg_attribute SET attstorage = '%s' WHERE attrelid = 'pg_rewrite'::regclass AND attname = 'ev_action';\n\n" "$1"
}
storage e >>"$stage/share/postgresql/system_constraints.sql"
storage x >>"$stage/share/postgresql/information_schema.sql"
# PostgreSQL looks whether a module's file exists before it asks for the module
# (those of the slim modules; "full" and "native" have what comes with the others)
sed -n 's/^slim \([^ ]*\) .*/\1/p' "$build/guest/postgresql/modules.txt" | while read -r m; do : >"$stage/lib/postgresql/$m.so"; done
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

# WAL from before the last checkpoint is of no use: whole segments, which wait to be used again under names that are yet to come, and
# the pages between the first of a segment, which has its header, and the checkpoint's (checkPointCopy.redo in pg_control)
ls "$stage/data/pg_wal" | grep -x '[0-9A-F]\{24\}' | sort | tail -n +2 | while read -r f; do rm "$stage/data/pg_wal/$f"; done
redo=$(od -An -tu8 -j40 -N8 "$stage/data/global/pg_control" | tr -d ' ')
segment=$(printf '%s/00000001%08X%08X' "$stage/data/pg_wal" $((redo >> 32)) $(((redo & 0xffffffff) >> 20)))
pages=$(((redo & 0xfffff) / 8192 - 1))
if [ $pages -gt 0 ]; then dd if=/dev/zero of="$segment" bs=8192 seek=1 count=$pages conv=notrunc status=none; fi
# only initdb reads these
rm -f "$stage"/share/postgresql/*.bki "$stage"/share/postgresql/*.sample "$stage"/share/postgresql/*.sql \
    "$stage"/share/postgresql/sql_features.txt "$stage"/share/postgresql/errcodes.txt
rm "$stage/bin/initdb"
# extensions beyond those of the slim modules
full=$stage/full
mkdir -p "$full/lib" "$full/share/extension" "$full/share/tsearch_data"
sed -n 's/^full \([^ ]*\) .*/\1/p' "$build/guest/postgresql/modules.txt" | while read -r m; do : >"$full/lib/$m.so"; done
mkdir "$stage/native"
sed -n 's/^native \([^ ]*\) .*/\1/p' "$build/guest/postgresql/modules.txt" | while read -r m; do : >"$stage/native/$m.so"; done
sed 's/ .*//' "$build/guest/postgresql/extensions-list.txt" | grep -v '^src/' | while read -r folder; do
    cp -r "$build/guest/postgresql/$folder/pgcell-share/." "$full/share/"
done
rm -rf "$output"
mkdir -p "$output"
cp -r "$stage/data" "$stage/share" "$stage/lib" "$stage/bin" "$full" "$stage/native" "$output/"
