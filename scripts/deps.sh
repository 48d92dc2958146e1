#!/usr/bin/env bash
# Installs what a fresh Debian 12 machine lacks for building and testing pgcell.  Non-interactive; as root or through sudo.
# Everything comes from Debian's own archive.  Does nothing when all packages are there.
#
# usage: deps.sh [build]    build: only what making the programs takes, without their tests
set -euo pipefail

packages=(
    # compilers: the guest (wasm32), its translation to C, the host
    clang-19 lld-19 llvm-19 libclang-rt-19-dev libclang-rt-19-dev-wasm32 libc6-dev make ccache
    # PostgreSQL's build
    bison flex perl gcc bzip2 xz-utils dpkg-dev ca-certificates debian-archive-keyring
    # the host's libraries
    libuv1-dev libseccomp-dev libssl-dev libmicrohttpd-dev pkg-config
    # WebAssembly's SIMD for the translated guest
    libsimde-dev
    # what the build runs
    python3
)
tests=(
    libcmocka-dev python3-prometheus-client mandoc systemd procps openssl postgresql-client chromium
    # client libraries that people use
    python3-psycopg2 libpostgresql-jdbc-java openjdk-17-jdk-headless golang-go golang-github-lib-pq-dev
    elixir erlang-base erlang-dev erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-inets erlang-parsetools
    erlang-syntax-tools erlang-tools erlang-eunit erlang-p1-pgsql
)

if [ "${1:-}" != build ]; then
    packages+=("${tests[@]}")
    # npm brings the JavaScript engines that tests run in; it needs any of them to run itself
    command -v npm >/dev/null && command -v node >/dev/null || packages+=(nodejs npm)
fi

say() { printf 'pgcell: %s\n' "$*" >&2; }

missing=()
for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
    say "all ${#packages[@]} packages are installed"
    exit 0
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "not root and no sudo: install these yourself: ${missing[*]}"; exit 1; }
    sudo=(sudo)
fi
say "installing ${#missing[@]} Debian packages: ${missing[*]}"
"${sudo[@]}" apt-get -q update >/dev/null
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}" >/dev/null
say "installed"
