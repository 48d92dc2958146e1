#!/bin/sh
# usage: test-c-host.sh C-HOST
# The example host of docs/contract.md does what its text says.
set -u
host=$1
passed=0
failed=0

# expect NAME STATUS OUTPUT ERROR-OUTPUT SQL...
expect()
{
    name=$1 status=$2 output=$3 errors=$4
    shift 4
    got=$(timeout 60 "$host" "$@" 2>"$host.stderr")
    code=$?
    if [ $code = "$status" ] && [ "$got" = "$output" ] && [ "$(cat "$host.stderr")" = "$errors" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s: exit status %s, output:\n%s\nerrors:\n%s\n' "$name" $code "$got" "$(cat "$host.stderr")"
    fi
}

tab=$(printf '\t')
expect 'rows and NULL' 0 "3$tab\\N" '' 'create table t (a int)' 'insert into t values (1), (2)' 'select sum(a), null from t'
expect 'an error ends it' 1 '' 'ERROR 22012: division by zero' 'select 1/0' 'select 2'
expect 'each run has a cell of its own' 1 '' 'ERROR 42P01: relation "t" does not exist' 'select * from t'
expect 'many rows' 0 "$(seq 1 10000)" '' 'select generate_series(1, 10000)'
expect 'plpgsql' 0 'caught' '' "create function f() returns text language plpgsql as \$\$ begin perform 1/0; exception when division_by_zero then return 'caught'; end \$\$" 'select f()'
echo "$passed passed, $failed failed"
[ $failed = 0 ]
