#!/bin/sh
# usage: guest/extensions/native.sh TREE SOURCES JOBS
# The extensions of extensions.txt for the native peer, in TREE/install.  pgcrypto and uuid-ossp are not among them: they want libraries of the machine's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$1" && pwd)
sources=$(cd "$2" && pwd)
jobs=$3
log=$tree/compile-extensions.log
fail() { tail -30 "$log"; echo "pgcell: compiling $1 failed; see $log"; exit 1; }

: >"$log"
sed -e 's/#.*//' "$here/extensions.txt" | grep -E '^contrib/[^ ]+ +full' | while read -r folder _ rest; do
    case $folder in */pgcrypto | */uuid-ossp) continue ;; esac
    case $rest in
        debian=*)
            rm -rf "$tree/$folder"
            cp -r "$sources/${folder##*/}" "$tree/$folder"
            # as Debian builds it: for any machine of this kind
            make -s -j"$jobs" -C "$tree/$folder" PG_CONFIG="$tree/install/bin/pg_config" OPTFLAGS= install >>"$log" 2>&1 || fail "$folder" ;;
        *) make -s -j"$jobs" -C "$tree/$folder" install >>"$log" 2>&1 || fail "$folder" ;;
    esac
done
