# Sourced by the programs that run PostgreSQL's own tests: servers that are gone when the program is.
# shellcheck shell=bash
#
#   output=FOLDER               where the servers' logs go
#   . server.sh                 makes $run_dir, a folder of the caller's own with $run_dir/server for a socket
#   start NAME COMMAND...       starts a server and waits for its line "ready on ..."; sets $socket
#
# Every server is ended, and $run_dir removed, when the caller exits.

run_dir=$(mktemp -d "${TMPDIR:-/tmp}/pgcell-tests.XXXXXX")
pids=()
finish()
{
    local pid
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || :; done
    for pid in "${pids[@]}"; do
        timeout 20 tail --pid="$pid" -f /dev/null 2>/dev/null || kill -KILL "$pid" 2>/dev/null || :
    done
    rm -rf "$run_dir"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir "$run_dir/server"
chmod 700 "$run_dir" "$run_dir/server"

start()
{
    local name=$1 log=$output/$1.log
    shift
    # bash has its children ignore SIGINT; in a process group of its own, which a Ctrl-C at the terminal does not reach before the tests' programs have ended
    setsid env --default-signal=INT "$@" >"$log" 2>&1 </dev/null &
    pids=("$!" "${pids[@]}")
    for _ in $(seq 600); do
        socket=$(grep -m 1 ': ready on ' "$log" | grep -o '/[^ ]*/\.s\.PGSQL\.[0-9]*' || :)
        [ -n "$socket" ] && return
        kill -0 "$!" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log"
    echo "${0##*/}: $name did not start" >&2
    exit 1
}
