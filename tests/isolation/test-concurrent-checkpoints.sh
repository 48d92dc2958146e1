#!/bin/bash
# usage: test-concurrent-checkpoints.sh [BUILD]
# A cell's sessions do the checkpoints, and nothing but themselves keeps them from doing several at a time.  Files come and go under
# checkpoints of eight sessions; then a session is killed under transactions and checkpoints, and what was committed must be there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../../build}" && pwd)
bin=$build/native/install/bin
output=$build/tests/concurrent-checkpoints
for f in "$build/pgcell" "$bin/pgbench"; do
    [ -x "$f" ] || { echo "${0##*/}: $f is missing: run 'make' and 'make peer' first" >&2; exit 2; }
done
rm -rf "$output"
mkdir -p "$output"
. "$here/../regress/server.sh"
start server "$build/pgcell" serve --image "$build/pgcell.img" --listen none --socket-dir "$run_dir/server"
export PGHOST=${socket%/*} PGPORT=${socket##*.} PGUSER=postgres

fail()
{
    echo "${0##*/}: $*" >&2
    grep -aE 'PANIC|^pgcell: .* error ' "$output/server.log" | head -5 >&2
    exit 1
}
query() { timeout 30 "$bin/psql" -X -A -t -q -d "$1" -c "$2"; }
bench() { timeout 90 "$bin/pgbench" -n "$@"; }

cat >"$output/files.sql" <<'E2'
create table t_:client_id (a int, b text);
insert into t_:client_id select i, 'x' from generate_series(1, 100) i;
create index on t_:client_id (a);
drop table t_:client_id;
checkpoint;
E2
bench -c 8 -t 100 -f "$output/files.sql" postgres@files >"$output/files.log" 2>&1 || fail "files come and go: $(grep -m 1 error "$output/files.log")"
! grep -aq 'ended abnormally' "$output/server.log" || fail 'files come and go: a session crashed'
left=$(query postgres@files "checkpoint; select count(*) from pg_ls_dir('base/5') f where f ~ '^\d+$' and f not in
    (select pg_relation_filenode(oid)::text from pg_class where pg_relation_filenode(oid) is not null)")
echo "files come and go under checkpoints: passed, $left files of dropped tables left"
[ "$left" = 0 ] || fail 'files of dropped tables are left'

# ---- a crash ----

echo checkpoint >"$output/checkpoint.sql"
timeout 60 "$bin/pgbench" -q -i -s 1 postgres@crash >"$output/init.log" 2>&1 || fail 'pgbench -i failed'
bench -c 4 -T 5 postgres@crash >"$output/transactions.log" 2>&1 &
transactions=$!
bench -c 3 -T 5 -f "$output/checkpoint.sql" postgres@crash >"$output/checkpoints.log" 2>&1 &
checkpoints=$!
sleep 3
PGAPPNAME=victim query postgres@crash 'select pg_sleep(30)' >"$output/victim.log" 2>&1 &
sleep 0.5
! grep -aq 'ended abnormally' "$output/server.log" || fail 'transactions under checkpoints: a session crashed'
victim=$(query postgres@crash "select pid from pg_stat_activity where application_name = 'victim'")
kill -KILL "$victim"
wait "$transactions" "$checkpoints" || :
acknowledged=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$output/transactions.log")
IFS='|' read -r accounts tellers branches history count < <(query postgres@crash 'select
    (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), (select sum(bbalance) from pgbench_branches),
    (select sum(delta) from pgbench_history), (select count(*) from pgbench_history)')
[ "$accounts $tellers $branches" = "$history $history $history" ] || fail "sums differ after the crash: $accounts $tellers $branches $history"
# each client may have committed one more whose answer it did not get
if [ "$count" -lt "$acknowledged" ] || [ "$count" -gt $((acknowledged + 4)) ]; then
    fail "$acknowledged transactions were acknowledged, $count are there"
fi
echo "a crash under transactions and checkpoints: passed, $acknowledged transactions"
