#!/bin/bash
# Runs PostgreSQL's own regression tests through "pgcell serve", in one cell; docs/regress.md tells what to make of it.
#
# A cell's files are its own, and the tests make the server read and write files by name: the tests' data and an empty folder for
# their results are put into an image of their own, at the very paths that the tests' programs use outside.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: run.sh [OPTION]... [TEST...]
Without TEST, all tests of the schedule; with TEST, test_setup and those.

  --schedule WHICH  "parallel" (PostgreSQL's own, up to 20 tests at a time; the default), "serial" (the same, one at a time) or a
                    schedule file (one at a time)
  --native          run them on native PostgreSQL with a cell's settings: what fails there is not the cell's doing
  --build DIR       build folder (default: build)
  --test-timeout S  seconds one test may take (default 300)
  --timeout S       seconds all of it may take (default 2400)
Exit status: 0 when every test that did not pass is in expected-failures.txt and no session crashed.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
expected=$here/expected-failures.txt

build=$root/build
schedule=parallel mode=cell test_timeout=300 timeout=2400
tests=()
while [ $# -gt 0 ]; do
    case $1 in
        --schedule) schedule=${2:?--schedule needs a word or a file}; shift ;;
        --native) mode=native ;;
        --build) build=$(cd "${2:?--build needs a folder}" && pwd); shift ;;
        --test-timeout) test_timeout=${2:?--test-timeout needs seconds}; shift ;;
        --timeout) timeout=${2:?--timeout needs seconds}; shift ;;
        --help) usage; exit 0 ;;
        -*) echo "run.sh: option $1 is not known; see --help" >&2; exit 2 ;;
        *) tests+=("$1") ;;
    esac
    shift
done
source=$build/src/postgresql/src/test/regress
native=$build/native
output=$build/tests/regress
connections=1
case $schedule in
    parallel) schedule=$source/parallel_schedule connections=20 ;;
    serial) schedule=$source/parallel_schedule output=$output-serial ;;
esac

for f in "$native/src/test/regress/pg_regress" "$native/install/bin/psql"; do
    [ -x "$f" ] || { echo "run.sh: ${f#"$root/"} is missing: run 'make peer' first" >&2; exit 2; }
done
[ -r "$schedule" ] || { echo "run.sh: there is no schedule $schedule" >&2; exit 2; }
for t in "${tests[@]}"; do
    [ -r "$source/sql/$t.sql" ] || { echo "run.sh: PostgreSQL has no test named $t" >&2; exit 2; }
done

rm -rf "$output/results" "$output"/*.log "$output"/regression.*
mkdir -p "$output/results"
. "$here/server.sh"
mkdir "$run_dir/empty"

if [ $mode = native ]; then
    chmod 777 "$output/results"
    chmod 755 "$run_dir"
    # the server runs as somebody else, and both write the same files
    umask 000
    start server "$root/bench/native-server.sh" "$native/install"
    library=$native/src/test/regress
else
    for f in "$build/pgcell" "$build/guest/postgresql/modules.txt"; do
        [ -e "$f" ] || { echo "run.sh: ${f#"$root/"} is missing: run 'make' first" >&2; exit 2; }
    done
    echo "run.sh: making an image with the tests' data"
    PGCELL_IMAGE_EXTRA="$source/data=$source/data $output/results=$run_dir/empty" \
        "$root/guest/image/build.sh" "$build" "$output/regress.img" >"$output/image.log" || { cat "$output/image.log"; exit 1; }
    start server "$build/pgcell" serve --image "$output/regress.img" --listen 127.0.0.1:0 --socket-dir "$run_dir/server"
    library=/pgcell/lib/postgresql
fi

# ---- the tests ----

what=(--schedule="$schedule")
if [ ${#tests[@]} -gt 0 ]; then
    what=()
    [[ " ${tests[*]} " = *" test_setup "* ]] || what=(test_setup)
    what+=("${tests[@]}")
fi
status=0
# PGHOST and the like of the caller must not lead the tests elsewhere
env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C timeout --foreground -k 10 "$timeout" \
    "$native/src/test/regress/pg_regress" --inputdir="$source" --expecteddir="$source" --outputdir="$output" \
    --bindir="$native/install/bin" --dlpath="$library" --launcher="timeout -k 5 $test_timeout" \
    --host="${socket%/*}" --port="${socket##*.}" --user=postgres --dbname=regression --max-connections="$connections" \
    "${what[@]}" 2>&1 | tee "$output/pg_regress.log" || status=$?

if ! grep -q 'ok 1 ' "$output/pg_regress.log"; then
    echo "run.sh: pg_regress did not get to its first test (status $status); the server's words:" >&2
    tail -20 "$output/server.log" >&2
    exit 1
fi
"$here/judge.py" "$output" "$expected" --mode "$mode" --status "$status" ${tests:+--partial}
