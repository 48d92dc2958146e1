#!/usr/bin/env bash
# usage: scripts/tools.sh DIR
# Unpacks into DIR the tools that Debian 12 has too old: wasi-libc (a libc for WebAssembly, from Debian 13), and wabt (wasm2c) and
# binaryen (wasm-opt, for the module made with Asyncify) from testing, with the libraries they were linked against, run through
# their own loader.
# Why these versions: docs/architecture.md, "Toolchain".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

dir=${1:?usage: tools.sh DIR}
wabt_least=1.0.42
binaryen_least=131
wasi_libc=0.0~git20241209.574b88d-2
debs=$debian_root/debs

debian_open
mkdir -p "$debs" "$dir"
dir=$(cd "$dir" && pwd)
if ! ls "$debs"/wabt_*.deb "$debs"/wasi-libc_*.deb "$debs"/binaryen_*.deb >/dev/null 2>&1; then
    debian_say "downloading wasi-libc, wabt and binaryen"
    rm -f "$debs"/*.deb
    debian_download "$debs" wasi-libc=$wasi_libc wabt/forky binaryen/forky libc6/forky libstdc++6/forky libgcc-s1/forky libssl3t64/forky
fi
have=$(dpkg-deb -f "$debs"/wabt_*.deb Version)
dpkg --compare-versions "$have" ge $wabt_least ||
    debian_fail "wabt $have is too old: $wabt_least or newer is needed (older ones lose locals that live across a try)"
have_binaryen=$(dpkg-deb -f "$debs"/binaryen_*.deb Version)
dpkg --compare-versions "$have_binaryen" ge $binaryen_least ||
    debian_fail "binaryen $have_binaryen is too old: $binaryen_least or newer is needed (Asyncify of older ones can not cope with a try)"

rm -rf "$dir/wasi" "$dir/wabt"
dpkg-deb -x "$debs"/wasi-libc_*.deb "$dir/wasi"
for p in libc6 libstdc++6 libgcc-s1 libssl3t64 wabt binaryen; do dpkg-deb -x "$debs/${p}"_*.deb "$dir/wabt"; done

mkdir -p "$dir/bin"
for tool in wasm2c wat2wasm wasm-objdump wasm-validate wasm-interp wasm-opt; do
    cat >"$dir/bin/$tool" <<WRAP
#!/bin/sh
exec "$dir/wabt/usr/lib64/ld-linux-x86-64.so.2" --library-path "$dir/wabt/usr/lib/x86_64-linux-gnu" "$dir/wabt/usr/bin/$tool" "\$@"
WRAP
    chmod +x "$dir/bin/$tool"
done
"$dir/bin/wasm2c" --version >/dev/null || debian_fail "wasm2c does not run on this machine"
"$dir/bin/wasm-opt" --version >/dev/null || debian_fail "wasm-opt does not run on this machine"
printf 'wabt %s\nbinaryen %s\nwasi-libc %s\n' "$have" "$have_binaryen" "$(dpkg-deb -f "$debs"/wasi-libc_*.deb Version)" >"$dir/versions"
debian_say "tools: $(paste -sd, "$dir/versions")"
