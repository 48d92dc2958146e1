#!/bin/sh
# usage: modules.sh NAME=OBJECT[,OBJECT...] ... >modules-table.c
# Makes the table of modules.c: the functions that a module's objects offer to SQL (those with a pg_finfo_ record) and its
# initialiser, under the names PostgreSQL asks for.  The prototypes are exact as WebAssembly sees them: Datum and pointers are
# i32; the linker would replace others by stubs that trap.
set -eu
echo '/* made by guest/port/modules.sh */'
echo '#include "modules.h"'
list=
for arg in "$@"; do
    name=${arg%%=*}
    id=$(printf %s "$name" | tr -c 'A-Za-z0-9_\n' _)
    case $arg in */conversion_procs/*) conversion=1 ;; *) conversion=0 ;; esac
    list="$list $name:$id:$conversion"
    symbols=$(llvm-nm-19 --defined-only --extern-only $(printf %s "${arg#*=}" | tr ',' ' ') 2>/dev/null |
        awk '$2 == "T" { print $3 }' | sort -u)
    rows=
    for s in $symbols; do
        case $s in
            pg_finfo_*)
                f=${s#pg_finfo_}
                echo "extern int $s(void); extern int $f(int);"
                rows="$rows$s $s\n$f $f\n" ;;
            "${id}_Pg_magic_func") echo "extern int $s(void);"; rows="${rows}Pg_magic_func $s\n" ;;
            "${id}__PG_init") echo "extern void $s(void);"; rows="${rows}_PG_init $s\n" ;;
        esac
    done
    echo "static const struct pgcell_symbol symbols_$id[] = {"
    printf "$rows" | while read -r public symbol; do echo "	{\"$public\", (void *) $symbol},"; done
    echo '	{0, 0}'
    echo '};'
done
echo 'const struct pgcell_module pgcell_modules[] = {'
echo "$list" | tr ' ' '\n' | sed -n 's/\(.*\):\(.*\):\(.*\)/	{"\1", symbols_\2, \3},/p'
echo '	{0, 0, 0}'
echo '};'
