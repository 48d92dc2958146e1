#!/bin/sh
# usage: check-contract.sh [DOCUMENT [BUILD]]
# Compares the tables of docs/contract.md with the modules in BUILD: which module imports and exports what, and with which types.
#
# Read are tables whose first column is headed "import" or "export". It has one or more `name(argument, argument: i64) -> i32` (an
# argument without a type is an i32) or `name` (memory, table); the second column names the modules. Imports belong to the WebAssembly
# module of the last line before them with "Imports from `...`".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
document=${1:-$root/docs/contract.md}
build=${2:-$root/build}
objdump=$root/build/tools/bin/wasm-objdump
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What a module has, one a line: SHORT-NAME import|export NAME TYPE
module()
{
    [ -f "$2" ] || { echo "check-contract: there is no $2; run make" >&2; exit 1; } # ends the group below: a mismatch
    for section in Type Import Function Export; do "$objdump" -j $section -x "$2"; done | awk -v module="$1" '
        / - type\[/ { id = $2; gsub(/[^0-9]/, "", id); sub(/^[^(]*/, ""); sub(/ -> nil$/, ""); type[id] = $0 }
        / - func\[[0-9]+\] sig=/ { id = $2; sub(/^func\[/, "", id); sub(/\].*/, "", id); sub(/^sig=/, "", $3); sig[id] = $3 }
        / <- / { print module, "import", $NF, ($2 ~ /^func/ ? type[$3] : $2) }
        / -> "/ {
            id = $2; sub(/^[a-z]*\[/, "", id); sub(/\].*/, "", id); kind = $2; sub(/\[.*/, "", kind)
            gsub(/"/, "", $NF); print module, "export", $NF, (kind == "func" ? type[sig[id]] : kind)
        }'
}

{
    module imports "$build/pgcell.wasm"
    module polling "$build/pgcell-polling.wasm"
    module callbacks "$build/pgcell-callbacks.wasm"
    module trampoline "$build/pgcell-trampoline.wasm"
    module native "$build/guest/native.wasm"
} | sort >"$work/modules"

awk '
    function modules(cell,    words, n, i) {
        delete in_module
        n = split(cell, words, /[ ,]+/)
        for (i = 1; i <= n; i++)
            if (words[i] == "portable" || words[i] == "all") {
                in_module["imports"]; in_module["polling"]; in_module["callbacks"]
                if (words[i] == "all") in_module["native"]
            } else if (words[i] != "")
                in_module[words[i]]
    }
    function type(text,    args, n, i, list, result) {
        if (text !~ /\(/) return text == "memory" ? "memory" : "table"
        result = text ~ / -> / ? text : ""; sub(/.* -> /, "", result)
        sub(/^[^(]*\(/, "", text); sub(/\).*/, "", text)
        n = split(text, args, /, */); list = ""
        for (i = 1; i <= n; i++) {
            if (args[i] !~ /: /) args[i] = args[i] ": i32"
            sub(/.*: /, "", args[i]); list = list (i > 1 ? ", " : "") args[i]
        }
        return "(" list ")" (result == "" ? "" : " -> " result)
    }
    /Imports from `/ { from = $0; sub(/.*Imports from `/, "", from); sub(/`.*/, "", from) }
    !/^\|/ { kind = "" }
    /^\| (import|export) \| in \|/ { kind = $2; next }
    kind != "" && /^\| `/ {
        split($0, cell, / \| /); modules(cell[2]); rest = cell[1]
        while (match(rest, /`[^`]*`/)) {
            text = substr(rest, RSTART + 1, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH)
            name = text; sub(/\(.*/, "", name)
            for (m in in_module) print m, kind, (kind == "import" ? from "." : "") name, type(text)
        }
    }' "$document" | sort >"$work/document"

# the module with all extensions is another link of the first one
module imports "$build/pgcell-full.wasm" | sort >"$work/full"
grep '^imports ' "$work/modules" | cmp -s - "$work/full" || { echo "check-contract: pgcell-full.wasm has other imports and exports than pgcell.wasm" >&2; exit 1; }
if [ ! -s "$work/modules" ] || [ ! -s "$work/document" ]; then
    echo "check-contract: no imports and exports found" >&2; exit 1
fi
comm -23 "$work/modules" "$work/document" | sed 's/^/check-contract: not in the document: /' >"$work/wrong"
comm -13 "$work/modules" "$work/document" | sed 's/^/check-contract: only in the document: /' >>"$work/wrong"
uniq -d "$work/document" | sed 's/^/check-contract: twice in the document: /' >>"$work/wrong"
if [ -s "$work/wrong" ]; then
    cat "$work/wrong" >&2
    exit 1
fi
echo "check-contract: $(cut -d' ' -f2,3 "$work/modules" | sort -u | wc -l) imports and exports, all documented"
