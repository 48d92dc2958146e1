#!/usr/bin/env bash
# usage: guest/extensions/fetch.sh DIR
# Puts the sources of extensions.txt that are not PostgreSQL's into DIR/NAME, of Debian's source packages: the newest, or if the mirror
# does not have it the one of Debian's stable release.  apt verifies the archive's signature and the file's hash.  What was taken is recorded in
# DIR/extensions.version.  A patch for one version is patches/NAME-VERSION.patch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/debian.sh"

dir=${1:?usage: fetch.sh DIR}
sources=$debian_root/sources
mkdir -p "$dir"
: >"$dir/extensions.version.tmp"
debian_open
sed -e 's/#.*//' "$here/extensions.txt" | grep -w 'debian=[a-z0-9.+-]*' | while read -r folder _ rest; do
    name=${folder##*/}
    package=$(printf '%s\n' "$rest" | tr ' ' '\n' | sed -n 's/^debian=//p')
    if ! ls "$sources/${package}"_*.orig.tar.* >/dev/null 2>&1; then
        debian_say "downloading the source of $package"
        (debian_source "$sources" "$package") 2>/dev/null || debian_source "$sources" "$package/trixie"
    fi
    tarball=$(find "$sources" -name "${package}_*.orig.tar.*" ! -name '*.asc' | sort -V | tail -n 1)
    version=${tarball##*_}
    version=${version%%.orig.tar.*}
    rm -rf "${dir:?}/$name" "$dir/$name.tmp"
    mkdir "$dir/$name.tmp"
    tar -xf "$tarball" -C "$dir/$name.tmp" --strip-components=1
    if [ -e "$here/patches/$name-$version.patch" ]; then
        patch -d "$dir/$name.tmp" -p1 -s --no-backup-if-mismatch -F0 <"$here/patches/$name-$version.patch" ||
            debian_fail "patches/$name-$version.patch does not fit"
    fi
    mv "$dir/$name.tmp" "$dir/$name"
    printf '%s %s sha256 %s\n' "$name" "$version" "$(sha256sum "$tarball" | cut -d' ' -f1)" >>"$dir/extensions.version.tmp"
    debian_say "$name $version"
done
mv "$dir/extensions.version.tmp" "$dir/extensions.version"
