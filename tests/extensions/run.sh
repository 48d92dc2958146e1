#!/bin/bash
# Runs the regression and isolation tests that ship with the extensions of guest/extensions/extensions.txt, each through "pgcell serve";
# docs/regress.md tells what to make of it.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: run.sh [OPTION]... [EXTENSION...]
Without EXTENSION (a folder's name: hstore, uuid-ossp, vector), those of all.

  --native          run them on native PostgreSQL with a cell's settings ("make peer-extensions" makes what it needs)
  --build DIR       build folder (default: build)
  --test-timeout S  seconds one test may take (default 120)
Exit status: 0 when every test that did not pass is in expected-failures.txt and no session crashed.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build
mode=cell test_timeout=120
wanted=()
while [ $# -gt 0 ]; do
    case $1 in
        --native) mode=native ;;
        --build) build=$(cd "${2:?--build needs a folder}" && pwd); shift ;;
        --test-timeout) test_timeout=${2:?--test-timeout needs seconds}; shift ;;
        --help) usage; exit 0 ;;
        -*) echo "run.sh: option $1 is not known; see --help" >&2; exit 2 ;;
        *) wanted+=("$1") ;;
    esac
    shift
done
tree=$build/guest/postgresql
native=$build/native
output=$build/tests/extensions
[ $mode = cell ] || output=$output-native
for f in "$native/src/test/regress/pg_regress" "$native/src/test/isolation/pg_isolation_regress" "$native/install/bin/psql" "$build/pgcell" \
    "$tree/extensions-list.txt"; do
    [ -e "$f" ] || { echo "run.sh: ${f#"$root/"} is missing: run 'make all peer' first" >&2; exit 2; }
done

rm -rf "$output"
mkdir -p "$output"
chmod 755 "$output"
. "$here/../regress/server.sh"

# PGHOST and the like of the caller must not lead the tests elsewhere
pg_regress()
{
    env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C timeout --foreground -k 10 600 "$@" --bindir="$native/install/bin" \
        --launcher="timeout -k 5 $test_timeout" --host="${socket%/*}" --port="${socket##*.}" --user=postgres
}

# ---- what there is: NAME|SOURCE|REGRESS|ISOLATION|OPTIONS|SETTINGS|OPTIONS OF ISOLATION TESTS ----

plan=$run_dir/plan
while read -r folder _; do
    name=${folder##*/}
    case $folder in contrib/*) ;; *) continue ;; esac
    [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " = *" $name "* ]] || continue
    source=$build/src/postgresql/$folder
    [ -d "$source" ] || source=$build/src/$name
    IFS='|' read -r regress isolation options encoding conf isolation_options < <(make -s --no-print-directory -C "$tree/$folder" \
        -f "$root/guest/extensions/module.mk" PG_CONFIG="$root/guest/extensions/pg_config" pgcell-tests)
    options="$options ${encoding:+--encoding=$encoding}"
    # PostgreSQL has it in a file that module.mk does not see
    [ "$name" != pg_logicalinspect ] || conf=$source/logicalinspect.conf
    # the table's names of folders are relative to the source
    case $options in *--inputdir=*) options=$(printf %s "$options" | sed "s#--inputdir=#--inputdir=$source/#") ;; *) options="$options --inputdir=$source" ;; esac
    # these wait for the background writer to log running transactions, which here only checkpoints do: minutes
    isolation=$(printf '%s\n' "$isolation" | sed -E 's/\b(delayed_startup|ondisk_startup|skip_snapshot_restore|slot_creation_error|twophase_snapshot)\b//g')
    printf '%s|%s|%s|%s|%s|%s|%s\n' "$name" "$source" "$regress" "$isolation" "$options" "${conf:+$(readlink -f "$conf")}" "$isolation_options" >>"$plan"
done <"$tree/extensions-list.txt"
[ -s "$plan" ] || { echo "run.sh: no such extension: ${wanted[*]}" >&2; exit 2; }

# ---- a server for each of the settings that tests want ----

trees=
while IFS='|' read -r name source _; do
    if [ -d "$source/data" ]; then trees="$trees $source/data=$source/data"; fi
done <"$plan"
number=0
: >"$output/results.txt"
cut -d'|' -f6 "$plan" | sort -u >"$run_dir/settings"
while IFS= read -r conf <&3; do
    number=$((number + 1))
    if [ $mode = native ]; then
        settings=(max_prepared_transactions=2)
        [ -z "$conf" ] || mapfile -t -O 1 settings < <(grep -v '^#' "$conf" | grep .)
        umask 000
        chmod 755 "$run_dir"
        start "server-$number" "$root/bench/native-server.sh" "$native/install" "${settings[@]}"
    else
        conf_file=$run_dir/postgresql.conf
        # the second is what pg_regress gives a server of its own
        { cat "$build/guest/cluster/data/postgresql.conf" && echo max_prepared_transactions=2 && cat ${conf:+"$conf"}; } </dev/null >"$conf_file"
        chmod 600 "$conf_file"
        mkdir -p "$run_dir/empty"
        PGCELL_IMAGE_EXTRA="$trees /data/postgresql.conf=$conf_file" "$root/guest/image/build.sh" "$build" "$run_dir/image-$number" \
            >"$output/image-$number.log" || { cat "$output/image-$number.log"; exit 1; }
        mkdir -m 700 "$run_dir/server/$number"
        start "server-$number" "$build/pgcell" serve --image "$run_dir/image-$number" --listen none --socket-dir "$run_dir/server/$number"
    fi
    while IFS='|' read -r name source regress isolation options its_conf isolation_options <&4; do
        [ "$its_conf" = "$conf" ] || continue
        for kind in regress isolation; do
            program=$native/src/test/regress/pg_regress tests=$regress
            [ $kind = regress ] || program=$native/src/test/isolation/pg_isolation_regress tests=$isolation options="--inputdir=$source $isolation_options"
            [ -n "$tests" ] || continue
            out=$output/$name
            [ $kind = regress ] || out=$out-isolation
            mkdir -p "$out/results"
            [ $mode = cell ] || chmod -R 777 "$out"
            status=0
            # psql reads the tests' data, and writes beside the results, by relative names
            [ ! -d "$source/data" ] || ln -sfn "$source/data" "$out/data"
            # shellcheck disable=SC2086
            (cd "$out" && pg_regress "$program" --outputdir="$out" --dlpath="$native/src/test/regress" $options $tests) >"$out/pg_regress.log" 2>&1 || status=$?
            sed -nE "s#^ok [0-9]+ +[-+] ([^ ]+) .*#passed $name/\1#p; s#^not ok [0-9]+ +[-+] ([^ ]+) .*#failed $name/\1#p" "$out/pg_regress.log" \
                >"$run_dir/found"
            [ $status -le 1 ] && [ -s "$run_dir/found" ] || echo "broken $name: pg_regress ended with status $status; see $out/pg_regress.log" >>"$run_dir/found"
            printf '%-20s %s\n' "$name" "$(cut -d' ' -f1 "$run_dir/found" | sort | uniq -c | awk '{ printf "%s%d %s", (NR > 1 ? ", " : ""), $1, $2 }')"
            cat "$run_dir/found" >>"$output/results.txt"
        done
    done 4<"$plan"
done 3<"$run_dir/settings"

# ---- the verdict ----

judgement=0
expected=$here/expected-failures.txt
[ $mode = cell ] || expected=/dev/null
while read -r test reason; do
    case $test in '' | '#'*) continue ;; esac
    [ -n "$reason" ] || { echo "expected-failures.txt: $test has no reason"; judgement=1; }
    if grep -qx "passed $test" "$output/results.txt"; then echo "passes now, take it off the list: $test"; fi
done <"$expected"
while read -r verdict test; do
    case $verdict in
        broken) echo "$test"; judgement=1 ;;
        failed)
            if grep -q "^$test " "$expected"; then
                echo "failed (expected): $(grep "^$test " "$expected" | head -n 1)"
            else
                echo "failed: $test"
                judgement=1
            fi ;;
    esac
done <"$output/results.txt"
while IFS=/ read -r name test; do
    if grep -qE 'server closed the connection unexpectedly|connection to server was lost|could not connect to server' "$output/$name"*/results/"$test.out"; then
        echo "crashed: $name/$test: the connection was lost"
        judgement=1
    fi
done < <(sed -n 's/^failed //p' "$output/results.txt")
if grep -hE '^pgcell: .*\berror\b.*\b(session|cell)=' "$output"/server-*.log; then judgement=1; fi
echo "$(grep -c ^passed "$output/results.txt" || :) passed, $(grep -cv ^passed "$output/results.txt" || :) failed"
exit $judgement
