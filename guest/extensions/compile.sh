#!/bin/sh
# usage: guest/extensions/compile.sh TREE SOURCES JOBS
# Compiles, in the configured tree of PostgreSQL, the modules of extensions.txt and the encoding conversions, and links the objects of each
# to one (link.py).  Writes
#   TREE/modules.txt            slim|full|native MODULE FOLDER OBJECT, a line for each module, for the link and the image
#   TREE/extensions.txt         slim|full|native EXTENSION FOLDER
#   FOLDER/pgcell-share         the files that the extension wants in PostgreSQL's share folder
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$1" && pwd)
sources=$(cd "$2" && pwd)
jobs=$3
log=$tree/compile-extensions.log
conversions=src/backend/utils/mb/conversion_procs
export PGCELL_PG_VERSION="${PGCELL_PG_VERSION:-18}"

fail() { tail -30 "$log"; echo "pgcell: compiling $1 failed; see $log"; exit 1; }

: >"$log"
: >"$tree/modules.txt.tmp"
: >"$tree/extensions.txt.tmp"

# FOLDER slim|full|native [NAME=VALUE...]
compile()
{
    folder=$1 kind=$2
    shift 2
    dir=$tree/$folder
    # nothing is position-independent
    set -- CFLAGS_SL= OPTFLAGS= "pgcell=$here" "sources=$sources" "PG_CONFIG=$here/pg_config" "$@"
    for option; do
        case $option in
            debian=*)
                mkdir -p "$dir"
                cp -ru "$sources/${folder##*/}/." "$dir/" ;;
        esac
    done
    [ -e "$dir/Makefile" ] || { echo "pgcell: extensions.txt: there is no $folder in PostgreSQL's source" >&2; exit 1; }
    # PostgreSQL's makefiles do not notice other options
    if [ "$(cat "$dir/pgcell-options" 2>/dev/null)" != "$*" ]; then
        find "$dir" -name '*.o' -exec rm {} +
        echo "$*" >"$dir/pgcell-options"
    fi
    make -s -j"$jobs" -C "$dir" -f "$here/module.mk" "$@" pgcell-module >>"$log" 2>&1 || fail "$folder"
    # a folder by kind keeps the conversions apart, which the portable module has between marks
    out=$tree/modules/$(case $folder in $conversions/*) echo conversion_procs ;; *) echo others ;; esac)
    mkdir -p "$out"
    for name in $(cat "$dir/pgcell-names"); do
        # shellcheck disable=SC2046
        wasm-ld-19 -r --no-gc-sections $(cat "$dir/$name.pgcell-objects") -o "$out/$name.whole" >>"$log" 2>&1 || fail "$name"
        "$here/link.py" module "$name" "$out/$name.whole" "$out/$name.o"
        rm "$out/$name.whole"
        echo "$kind $name $folder $out/$name.o" >>"$tree/modules.txt.tmp"
    done
    for name in $(cat "$dir/pgcell-extensions"); do echo "$kind $name $folder" >>"$tree/extensions.txt.tmp"; done
}

sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$here/extensions.txt" | sed -e 's/#.*//' -e '/^[[:space:]]*$/d' | grep -vE '^[^ ]+ +source ' >"$tree/extensions-list.txt"
# -r and quotes: an option may have spaces, and $(…) of make
while read -r folder kind options; do
    case $kind in slim | full | native) ;; *) echo "pgcell: extensions.txt: $folder is to be in \"$kind\", which is none of slim, full, native" >&2; exit 1 ;; esac
    eval "compile \"\$folder\" \"\$kind\" $options" </dev/null
done <"$tree/extensions-list.txt"
for dir in "$tree/$conversions"/*/; do
    if [ -e "$dir/Makefile" ]; then compile "$conversions/$(basename "$dir")" slim; fi
done
mv "$tree/extensions.txt.tmp" "$tree/extensions.txt"
mv "$tree/modules.txt.tmp" "$tree/modules.txt"
