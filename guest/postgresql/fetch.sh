#!/usr/bin/env bash
# usage: guest/postgresql/fetch.sh DIR
# Puts PostgreSQL's source, with our patches applied, into DIR/postgresql: the newest 18.x of Debian's source archive.  apt
# verifies the archive's signature and the file's hash; what was taken is recorded in DIR/postgresql.version.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/debian.sh"

dir=${1:?usage: fetch.sh DIR}
major=18
sources=$debian_root/sources

debian_open
if ! ls "$sources"/postgresql-${major}_*.orig.tar.* >/dev/null 2>&1; then
    debian_say "downloading the source of PostgreSQL $major"
    debian_source "$sources" postgresql-$major
fi
tarball=$(ls "$sources"/postgresql-${major}_*.orig.tar.* | sort -V | tail -n 1)
version=${tarball##*/postgresql-${major}_}
version=${version%%.orig.tar.*}
case $version in $major.*) ;; *) debian_fail "unexpected version of PostgreSQL: $version" ;; esac

mkdir -p "$dir"
rm -rf "$dir/postgresql" "$dir/postgresql.tmp"
mkdir "$dir/postgresql.tmp"
tar -xf "$tarball" -C "$dir/postgresql.tmp" --strip-components=1
for patch in "$here"/patches/*.patch; do
    patch -d "$dir/postgresql.tmp" -p1 -s --no-backup-if-mismatch -F0 <"$patch" ||
        debian_fail "patch ${patch##*/} does not fit PostgreSQL $version: adapt guest/postgresql/patches"
done
mv "$dir/postgresql.tmp" "$dir/postgresql"
printf 'postgresql %s sha256 %s\n' "$version" "$(sha256sum "$tarball" | cut -d' ' -f1)" >"$dir/postgresql.version"
debian_say "PostgreSQL $version, $(ls "$here"/patches/*.patch | wc -l) patches"
