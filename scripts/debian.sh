# shellcheck shell=bash
# Private view of the Debian archive, to be sourced: takes packages and sources of newer suites without touching the
# machine's own apt.  The mirror is the one that this machine's apt already uses; every index is verified against the
# archive keyring, and every file against its index, by apt itself.
#
#   debian_open              prepares the view (once; network only when something is missing)
#   debian_download DIR PKG[/SUITE]...   binary packages into DIR
#   debian_source DIR SOURCE             upstream tarball and .dsc of a source package into DIR
#
# Release files of testing and unstable expire after a week, and mirrors that are snapshots are older than that: the
# expiry date is not checked, the signature always is.

debian_root=${PGCELL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pgcell}/debian

debian_say() { printf 'pgcell: %s\n' "$*" >&2; }
debian_fail() { debian_say "$*"; exit 1; }

debian_mirror()
{
    # the site of the machine's own main archive (not of its security archive, nor of third-party sources)
    apt-get indextargets --format '$(SITE) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 == "Debian" && $3 !~ /security/ && $1 !~ /security/ { print $1; exit }'
}

debian_apt() { local tool=$1; shift; APT_CONFIG=$debian_root/apt.conf "$tool" "$@"; }

debian_open()
{
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    [ -r $keyring ] || debian_fail "the Debian archive keyring is missing: install debian-archive-keyring"
    mirror=${PGCELL_DEBIAN_MIRROR:-$(debian_mirror)}
    [ -n "$mirror" ] || debian_fail "no Debian mirror is configured on this machine (run 'apt-get update' once, or set PGCELL_DEBIAN_MIRROR)"
    mkdir -p "$debian_root"/{etc/sources.list.d,state/lists/partial,cache/archives/partial}
    : >"$debian_root/state/status"
    cat >"$debian_root/apt.conf" <<CONF
Dir::Etc "$debian_root/etc";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$debian_root/etc/sources.list.d";
Dir::Etc::preferencesparts "$debian_root/etc/none";
Dir::State "$debian_root/state";
Dir::State::status "$debian_root/state/status";
Dir::Cache "$debian_root/cache";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "root";
CONF
    printf 'Types: deb deb-src\nURIs: %s\nSuites: trixie forky\nComponents: main\nSigned-By: %s\n' \
        "$mirror" $keyring >"$debian_root/etc/sources.list.d/newer.sources"
    if [ ! -e "$debian_root/updated" ]; then
        debian_say "reading the indexes of Debian's newer suites"
        debian_apt apt-get -q update >"$debian_root/update.log" 2>&1 ||
            debian_fail "could not read the Debian archive; see $debian_root/update.log"
        touch "$debian_root/updated"
    fi
}

debian_download()
{
    local dir=$1; shift
    mkdir -p "$dir"
    (cd "$dir" && debian_apt apt-get -q download "$@" >"$debian_root/download.log" 2>&1) ||
        debian_fail "could not download $*; see $debian_root/download.log"
}

debian_source()
{
    local dir=$1 name=$2
    mkdir -p "$dir"
    (cd "$dir" && debian_apt apt-get -q source --download-only "$name" >"$debian_root/source.log" 2>&1) ||
        debian_fail "could not download the source of $name; see $debian_root/source.log"
}
