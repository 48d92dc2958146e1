#!/bin/bash
# usage: native-server.sh INSTALL [SETTING=VALUE...]
# Native PostgreSQL as close to a cell as it gets: the settings of guest/image/postgresql.conf, initdb's options of
# guest/image/initdb.sh, the data directory in memory. Prints "native: ready on SOCKET" and runs until SIGINT or SIGTERM; nothing
# stays behind. Further settings come after the cell's.
set -euo pipefail
install=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)
conf=$here/../guest/image/postgresql.conf

stage=$(mktemp -d /dev/shm/pgcell-native.XXXXXX)
server=
finish()
{
    if [ -n "$server" ]; then
        # SIGINT is PostgreSQL's "fast shutdown"
        kill -INT "$server" 2>/dev/null || :
        timeout 30 tail --pid="$server" -f /dev/null || kill -QUIT "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$stage"
}
trap finish EXIT
trap 'exit 0' INT TERM

# PostgreSQL does not run as root, and who it runs as may not be able to look into this folder: it gets a copy
chmod 755 "$stage"
mkdir "$stage/bin" "$stage/lib" "$stage/share" "$stage/socket"
cp -r "$install/lib/postgresql" "$stage/lib/"
cp "$install/bin/postgres" "$install/bin/initdb" "$stage/bin/"
cp -r "$install/share/postgresql" "$stage/share/"

settings=()
while IFS= read -r setting; do
    settings+=(-c "$setting")
done < <(sed -n "s/^\([a-z_]*\) = '\{0,1\}\([^']*\)'\{0,1\}\$/\1=\2/p" "$conf")
[ ${#settings[@]} -gt 0 ] || { echo "native-server.sh: no setting found in ${conf##*/}" >&2; exit 1; }
# it listens on nothing but its own socket
for extra in "$@"; do settings+=(-c "$extra"); done

run=()
if [ "$(id -u)" = 0 ]; then
    chown -R nobody "$stage"
    run=(setpriv --reuid=nobody --clear-groups --)
fi
initdb=$(sed -n '/\/bin\/initdb" -D/,/\$settings/p' "$here/../guest/image/initdb.sh" | tr -d '\\\n' |
    sed -n 's/.*\(-U postgres .*\) \$settings.*/\1/p')
[ -n "$initdb" ] || { echo "native-server.sh: initdb's options are not where they were in guest/image/initdb.sh" >&2; exit 1; }
# shellcheck disable=SC2086
"${run[@]}" "$stage/bin/initdb" -D "$stage/data" $initdb "${settings[@]}" >"$stage/initdb.log" 2>&1 ||
    { cat "$stage/initdb.log" >&2; exit 1; }

setsid "${run[@]}" env --default-signal=INT "$stage/bin/postgres" -D "$stage/data" -k "$stage/socket" >"$stage/postgres.log" 2>&1 </dev/null &
server=$!
for _ in $(seq 300); do
    if [ -S "$stage/socket/.s.PGSQL.5432" ] && grep -q 'ready to accept connections' "$stage/postgres.log"; then
        echo "native: ready on $stage/socket/.s.PGSQL.5432"
        wait "$server"
        cat "$stage/postgres.log" >&2
        server=
        exit 1
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
done
cat "$stage/postgres.log" >&2
echo 'native-server.sh: PostgreSQL did not start' >&2
exit 1
