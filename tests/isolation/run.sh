#!/bin/bash
# Runs PostgreSQL's own isolation tests against one cell of "pgcell serve"; docs/isolation.md tells what to make of it.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: run.sh [OPTION]... [TEST...]
Without TEST, all of PostgreSQL's isolation_schedule.

  --native          run them on native PostgreSQL with a cell's settings: what fails there is not the cell's doing
  --build DIR       build folder (default: build)
  --test-timeout S  seconds one test may take (default 120)
  --timeout S       seconds all of it may take (default 600)
Exit status: 0 when the tests that failed are those of expected-failures.txt, with the differences in expected/, and nothing crashed.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build
mode=cell test_timeout=120 timeout=600
tests=()
while [ $# -gt 0 ]; do
    case $1 in
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
source=$build/src/postgresql/src/test/isolation
native=$build/native
output=$build/tests/isolation

for f in "$native/src/test/isolation/pg_isolation_regress" "$native/install/bin/psql"; do
    [ -x "$f" ] || { echo "run.sh: ${f#"$root/"} is missing: run 'make peer' first" >&2; exit 2; }
done
for t in "${tests[@]}"; do
    [ -r "$source/specs/$t.spec" ] || { echo "run.sh: PostgreSQL has no isolation test named $t" >&2; exit 2; }
done

rm -rf "$output"
mkdir -p "$output"
. "$here/../regress/server.sh"
if [ $mode = native ]; then
    start server "$root/bench/native-server.sh" "$native/install"
else
    [ -x "$build/pgcell" ] || { echo "run.sh: ${build#"$root/"}/pgcell is missing: run 'make' first" >&2; exit 2; }
    start server "$build/pgcell" serve --image "$build/pgcell.img" --listen none --socket-dir "$run_dir/server"
fi

what=(--schedule="$source/isolation_schedule")
[ ${#tests[@]} -gt 0 ] && what=("${tests[@]}")
status=0
# PGHOST and the like of the caller must not lead the tests elsewhere
env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C timeout --foreground -k 10 "$timeout" \
    "$native/src/test/isolation/pg_isolation_regress" --inputdir="$source" --outputdir="$output" \
    --bindir="$native/install/bin" --launcher="timeout -k 5 $test_timeout" \
    --host="${socket%/*}" --port="${socket##*.}" --user=postgres --dbname=isolation_regression \
    "${what[@]}" >"$output/pg_regress.log" 2>&1 || status=$?
"$here/../regress/judge.py" "$output" "$here/expected-failures.txt" --mode "$mode" --status "$status" \
    --strict --differences "$here/expected" --source "$source/expected" ${tests:+--partial}
