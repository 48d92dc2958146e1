#!/bin/sh
# usage: build.sh MODULE.wasm TOOLS OUTPUT
# Translates the module to C and compiles it with the host. TOOLS is build/tools: wasm2c, and its runtime's source (WABT_SHARE and
# WABT_INCLUDE say where that is otherwise).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
module=$1
tools=$(cd "$2" && pwd)
output=$3
parts=12
include=${WABT_INCLUDE:-$tools/wabt/usr/include}
runtime=${WABT_SHARE:-$tools/wabt/usr/share/wabt/wasm2c}
work=$output.parts

rm -rf "$work"
mkdir -p "$work"
"$tools/bin/wasm2c" "$module" -n cell --disable-tail-call --num-outputs=$parts -o "$work/cell.c"
"$here/data.py" "$work/cell_0.c" "$work/data.S" "$work/data.bin"

# Guard pages instead of a check before each access. -O2 makes faster code in some minutes, -O0 is there in seconds.
flags="-std=gnu11 -w -fno-strict-aliasing -fwrapv -DWASM_RT_MEMCHECK_GUARD_PAGES=1 -DWASM_RT_USE_MMAP=1 -I$work -isystem $include"
seq 0 $((parts - 1)) | xargs -P "$(nproc)" -I{} sh -c "${CC:-clang-19} $flags ${CFLAGS:--O0} -c '$work/cell_{}.c' -o '$work/cell_{}.o'"
# shellcheck disable=SC2086
${CC:-clang-19} $flags -O2 -pthread "$here/main.c" "$here/wasi.c" "$work"/cell_*.o "$work/data.S" \
    "$runtime/wasm-rt-impl.c" "$runtime/wasm-rt-mem-impl.c" "$runtime/wasm-rt-exceptions-impl.c" -lm -o "$output"
rm -rf "$work"
