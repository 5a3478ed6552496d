# shellcheck shell=bash
# What the scripts here share: messages, becoming root, the cache directory, and Debian packages unpacked without being installed.
# Sourced, never run. Nothing is done while sourcing except finding ROOT (the source tree).

shopt -s inherit_errexit # an error within $(...) ends it there, too
# shellcheck disable=SC2034 # for those who source this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Messages go to stderr: the stdout of several scripts is a value that others read.
note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { note "error: $*"; exit 1; }

# as_root COMMAND...: as root, through sudo when we are not. sudo may ask for a password only where someone can answer.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ] && [ -t 2 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# can_be_root: true when as_root will work without asking anybody.
can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# host_release: Debian's code name of this machine (bookworm, trixie).
host_release() {
    local name
    # shellcheck source=/dev/null
    name=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-}") || true
    [ -n "$name" ] || die "this is not a released Debian; the scripts know Debian 12 (bookworm) and 13 (trixie)"
    printf '%s\n' "$name"
}

# use_cache: sets and exports VMRUN_CACHE, a directory we can write and everybody can read (vmrun, started by root, runs QEMU
# as an unprivileged user, who must be able to execute what is in there).
use_cache() {
    local system=/var/cache/vmrun-dev
    umask 022
    if [ -z "${VMRUN_CACHE:-}" ]; then
        if [ ! -e "$system" ] && can_be_root; then
            as_root install -d -m 755 -o "$(id -u)" -g "$(id -g)" "$system"
        fi
        if [ -d "$system" ] && [ -w "$system" ]; then
            VMRUN_CACHE=$system
        else
            VMRUN_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/vmrun-dev
        fi
    fi
    mkdir -p "$VMRUN_CACHE"
    VMRUN_CACHE=$(cd "$VMRUN_CACHE" && pwd)
    export VMRUN_CACHE
}

# lock NAME: from here to the end of this process only one script holds NAME (two may be started at once, and both build).
lock() {
    local fd
    exec {fd}>"$VMRUN_CACHE/.lock-$1"
    flock "$fd"
}

# build_vmrun: build/vmrun of the sources as they are; installs first what that needs. False when it cannot.
build_vmrun() (
    "$ROOT/scripts/deps" build && lock build || exit
    [ -e "$ROOT/build/build.ninja" ] ||
        cmake -S "$ROOT" -B "$ROOT/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF || exit
    cmake --build "$ROOT/build" --target vmrun
)

# mirror_of SUITE: where this machine gets SUITE of Debian from, as its own apt says, whatever format its sources have.
# Other releases are taken from the same place as this one's. VMRUN_DEBIAN_MIRROR and VMRUN_SECURITY_MIRROR override.
mirror_of() {
    local suite=$1 here wanted
    here=$(host_release)
    case $suite in
        *-security) wanted=$here-security; [ -z "${VMRUN_SECURITY_MIRROR:-}" ] || { echo "$VMRUN_SECURITY_MIRROR"; return; } ;;
        *) wanted=$here; [ -z "${VMRUN_DEBIAN_MIRROR:-}" ] || { echo "$VMRUN_DEBIAN_MIRROR"; return; } ;;
    esac
    # stable and friends are other names of the same suite; RELEASE is what the sources say.
    apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" "Created-By: Packages" |
        awk -v s="$wanted" -v p="${wanted#"$here"}" \
            '($1 == s || $1 ~ "^(stable|oldstable)" p "$") { print $2; found = 1; exit } END { exit !found }' ||
        die "apt on this machine has no source for $wanted (set VMRUN_DEBIAN_MIRROR, VMRUN_SECURITY_MIRROR)"
}

# private_apt RELEASE: sets APT_CONFIG for an apt of our own that knows RELEASE and its backports, believes that nothing is
# installed, and leaves the machine's apt alone. No root. Package lists are fetched when older than a day.
private_apt() {
    local release=$1 dir=$VMRUN_CACHE/apt/$1 suite mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$key" ] || die "missing $key (package debian-archive-keyring)"
    mkdir -p "$dir"/{etc/none,state/lists/partial,cache/archives/partial}
    : >"$dir/status"
    for suite in "$release" "$release-updates" "$release-security" "$release-backports"; do
        mirror=$(mirror_of "$suite")
        echo "deb [signed-by=$key] $mirror $suite main"
    done >"$dir/etc/sources.list"
    cat >"$dir/etc/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/etc/sources.list";
Dir::Etc::sourceparts "$dir/etc/none";
Dir::Etc::preferences "$dir/etc/none/none";
Dir::Etc::preferencesparts "$dir/etc/none";
Dir::State "$dir/state";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
    export APT_CONFIG=$dir/etc/apt.conf
    if [ -z "$(find "$dir/fresh" -mtime -1 2>/dev/null)" ]; then
        note "package lists of $release"
        apt-get -qq -o APT::Update::Error-Mode=any update
        touch "$dir/fresh"
    fi
}

# unpack_deb DEB DIR [PATTERN...]: a package's files (or those that match tar PATTERNs) below DIR; symlinks to directories
# that are already there are kept, so that /lib and /usr/lib stay one.
unpack_deb() {
    local deb=$1 dir=$2
    shift 2
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$dir" --keep-directory-symlink --no-same-owner --wildcards -xf - "$@"
}
