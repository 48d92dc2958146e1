#!/bin/sh
# usage: asyncify.sh TOOLS FROM.wasm TO.wasm
# Makes a module whose guest can be suspended in sched_yield(), by binaryen's Asyncify.
#
# Asyncify takes apart what a try encloses, but not what follows a catch: from there it can neither leave nor come back. Handlers of
# ours, which are setjmp's, do not wait: they ask whether the longjmp is for them, and pass it on or go to the setjmp. That they call
# nothing else is checked here, because Asyncify is silent about it.
set -eu
tools=$1
from=$2
to=$3

"$tools/bin/wasm-objdump" -d "$from" | awk -F'|' '
/^[0-9a-f]+ func\[/ {
	match($0, /\[[0-9]+\]/)
	f = substr($0, RSTART + 1, RLENGTH - 2)
	defined[f] = 1
	depth = handlers = 0
	next
}
NF > 1 {
	split($2, w, " ")
	op = w[1]
	if (op ~ /^(block|loop|if|try)$/)
		kind[++depth] = op
	else if (op ~ /^(catch|catch_all)$/) {
		if (kind[depth] != "catch")
			handlers++
		kind[depth] = "catch"
		found++
	}
	else if (op == "end" || op == "delegate") {
		if (depth > 0 && kind[depth--] == "catch")
			handlers--
	}
	else if (op ~ /^(try_table|return_call.*|call_ref)$/)
		bad = bad "\n  function " f ": " op
	else if (op == "call" || op == "call_indirect") {
		calls[f] = 1
		if (handlers > 0 && op == "call")
			called[w[2]] = f
		else if (handlers > 0)
			bad = bad "\n  function " f ": an indirect call in a handler"
	}
}
END {
	for (g in called)
		if (!(g in defined) || (g in calls))
			bad = bad "\n  function " called[g] ": a handler calls " g ", which calls others"
	if (!found)
		bad = bad "\n  no handlers found: setjmp is not what it was"
	if (bad != "") {
		print "pgcell: Asyncify would break this module:" bad
		exit 1
	}
}' >&2

# the passes run for Asyncify only, before and after; without them the code is twice as large, and slower
"$tools/bin/wasm-opt" "$from" -o "$to.tmp" \
    --enable-mutable-globals --enable-sign-ext --enable-bulk-memory --enable-nontrapping-float-to-int --enable-exception-handling \
    --optimize-level=1 --asyncify --pass-arg=asyncify-imports@wasi_snapshot_preview1.sched_yield
"$tools/bin/wasm-validate" "$to.tmp"
mv "$to.tmp" "$to"
