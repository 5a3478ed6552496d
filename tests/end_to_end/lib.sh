# shellcheck shell=bash
# What the end-to-end tests share: a run directory of their own, specs, checks, and what the kernel says of the machine.
# Sourced with the vmrun binary as $1. Expectations are read from /proc and /sys; vmrun's own word is checked against them.
# A test that takes no huge page and no card of this machine may say `aside=1` first: it gets a network, mounts and shared memory of
# its own, so that another test may run beside it.
set -euo pipefail
shopt -s inherit_errexit
if [ -n "${aside:-}" ] && [ "$(id -u)" = 0 ] && [ -z "${VMRUN_TEST_ASIDE:-}" ]; then
    VMRUN_TEST_ASIDE=1 exec unshare --net --mount --propagation private bash "$0" "$@"
fi
if [ -n "${VMRUN_TEST_ASIDE:-}" ]; then
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    ip link set lo up
fi

# shellcheck disable=SC2034 # for those who source this
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
[ $# -ge 1 ] || { echo "usage: $0 VMRUN" >&2; exit 2; }

# skip REASON: the test cannot be done here (ctest takes 77 for that, scripts/test shows the last line)
skip() { echo "$*"; exit 77; }

[ -e /dev/net/tun ] || [ "$(id -u)" != 0 ] || echo "note: no /dev/net/tun here"
# missing WHAT: what scripts/test gets first is not there. Where CI is set that is a failure: a test left out there is done nowhere.
missing() {
    [ -n "${CI:-}" ] || skip "$1 is not there"
    echo "FAIL  $1 is not there, and CI is set"
    exit 1
}
need() { # TOOL...
    local tool
    for tool in "$@"; do [ -n "$(command -v "$tool")" ] || [ -e "$tool" ] || missing "$tool"; done
}
need jq ip setpriv

# root_only: most tests reserve pages and make taps
root_only() { [ "$(id -u)" = 0 ] || skip "needs root"; }

# The directory is open to all on its way: QEMU's user needs nothing in it, but the tests of ordinary users do.
work=$(mktemp -d "${TMPDIR:-/tmp}/vmrun-e2e.XXXXXX")
chmod 711 "$work"
install -m 755 "$1" "$work/vmrun" # a copy: the build may replace it under a running test, and nobody can read the tree
vmrun=$work/vmrun
export VMRUN_RUN_DIR=$work/run VMRUN_STATE_DIR=$work/state VMRUN_CACHE_DIR=$work/cache VMRUN_HOST_TOML=$work/host.toml
unset NOTIFY_SOCKET WATCHDOG_USEC

if [ -n "${VMRUN_TEST_QEMUS:-}" ]; then
    IFS=: read -ra qemus <<<"$VMRUN_TEST_QEMUS"
else
    mapfile -t qemus < <("$root/scripts/qemu" all)
fi
[ "${#qemus[@]}" -gt 0 ] || missing "a QEMU to test with"
guest=${VMRUN_TEST_GUEST:-$("$root/scripts/guest" || true)}
[ -r "$guest/vmlinuz" ] || missing "the test guest"
rom=$work/rom16.bin
"$root/scripts/guest" --rom "$rom"
: >"$VMRUN_HOST_TOML"

# use_qemu BINARY [LINE...]: what host.toml says
use_qemu() {
    printf 'qemu = "%s"\n' "$1" >"$VMRUN_HOST_TOML"
    shift
    [ $# = 0 ] || printf '%s\n' "$@" >>"$VMRUN_HOST_TOML"
}
version_of() { "$1" --version | sed -n '1s/.*version \([0-9]*\.[0-9]*\).*/\1/p'; }
use_qemu "${qemus[0]}"

# group_for HIERARCHY FILE: a new control group of ours in that one (v2, or a controller of version 1) which has FILE; false where there is none
group_for() {
    local mount=/sys/fs/cgroup/$1
    [ "$1" != v2 ] || mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    [ -n "$mount" ] && mkdir "$mount/vmrune2e$$" 2>/dev/null || return 1
    [ -e "$mount/vmrune2e$$/$2" ] || { rmdir "$mount/vmrune2e$$"; return 1; }
    echo "$mount/vmrune2e$$"
}

# --- checks ---

checks=0 failures=0
passed() { checks=$((checks + 1)); echo "ok    $1"; }
failed() { checks=$((checks + 1)) failures=$((failures + 1)); echo "FAIL  $1${2:+: $2}"; }
# check WHAT COMMAND...
check() {
    local what=$1
    shift
    if "$@"; then passed "$what"; else failed "$what" "$*"; fi
}
# is WHAT GOT WANTED
is() { if [ "$2" = "$3" ]; then passed "$1 ($2)"; else failed "$1" "got '$2', wanted '$3'"; fi; }
# has WHAT TEXT PATTERN (extended regular expression, some line of TEXT)
has() { if grep -qE -- "$3" <<<"$2"; then passed "$1"; else failed "$1" "no line like '$3' in:"$'\n'"$2"; fi; }
hasnt() { if grep -qE -- "$3" <<<"$2"; then failed "$1" "a line like '$3' in:"$'\n'"$2"; else passed "$1"; fi; }
# finish: the closing line
finish() {
    echo "$((checks - failures)) of $checks checks passed"
    [ "$failures" = 0 ] || exit 1
    exit 0
}
# run_code COMMAND...: its exit code in $code, its two outputs in $out and $err
# shellcheck disable=SC2034
run_code() {
    code=0
    "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
    out=$(tr -d '\0' <"$work/stdout") err=$(tr -d '\0' <"$work/stderr")
}
# within SECONDS COMMAND...: until it succeeds
within() {
    local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || return 1
        sleep 0.02
    done
}
# exit_of PID SECONDS: $exit_code becomes that of a child of this shell (so never in $(...)), `late` when it does not end
exit_of() {
    exit_code=0
    if within "$2" ended "$1"; then wait "$1" || exit_code=$?; else exit_code=late; fi
}
# exits WHAT PID SECONDS WANTED
exits() {
    exit_of "$2" "$3"
    is "$1" "$exit_code" "$4"
}
ended() { ! kill -0 "$1" 2>/dev/null || [[ $(stat_of "$1") == [ZX] ]]; }
stat_of() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

# --- specs ---

# spec NAME: stdin becomes $work/NAME.toml
spec() { cat >"$work/$1.toml"; }
# boot WORDS: the [boot] table of the Linux guest. Without a look at the timer, which a TCG guest on a busy machine may fail, and with
# a tick that comes by itself: under TCG a one-shot timer was seen to be lost, after which a guest sleeps for good.
boot() {
    printf '[boot]\nkernel = "%s/vmlinuz"\ninitrd = "%s/initrd"\ncmdline = "console=ttyS0 quiet no_timer_check nohz=off %s"\n' "$guest" "$guest" "$1"
}
# rom_boot: that of our ROM, which runs under real KVM wherever there is one
rom_boot() { printf '[boot]\nfirmware = "%s"\n' "$rom"; }
have_kvm() { [ "$(id -u)" = 0 ] && [ -c /dev/kvm ]; }
# rom_accel: top-level line and [cpu] keys for the ROM. A CPU model with few features starts under every kind of KVM.
rom_accel() { if have_kvm; then echo 'accel = "kvm"'; else echo 'accel = "tcg"'; fi; }

# run_in_background PID-VARIABLE NAME OPTION...: `vmrun run` in the background, outputs in $work/NAME.{out,err}
# shellcheck disable=SC2034
run_in_background() {
    local -n pid_=$1
    local name=$2
    shift 2
    : >"$work/$name.out" # what an earlier run said is not to be taken for this one's
    : >"$work/$name.err"
    "$vmrun" run "$@" "$work/$name.toml" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    pid_=$!
}
# said NAME PATTERN: the guest's console has such a line
said() { [ -e "$work/$1.out" ] && tr -d '\r' <"$work/$1.out" | grep -qE -- "$2"; }
# says NAME PATTERN PID SECONDS: waits until the console has such a line; false when `vmrun run` (PID) ended without it
says() {
    within "$4" bash -c "kill -0 $3 2>/dev/null || exit 0; tr -d '\\r' <'$work/$1.out' | grep -qE -- '$2'"
    said "$1" "$2"
}
console_of() { tr -d '\r' <"$work/$1.out"; }
# qemu_of NAME: QEMU's pid, as the process that has the VM's name on its command line
qemu_of() {
    local file words
    for file in /proc/[0-9]*/cmdline; do
        words=$(tr '\0' ' ' 2>/dev/null <"$file") || continue
        [[ $words == *"-name guest=$1,"* && $(environment "${file%/cmdline}") == *"VMRUN_VM=$VMRUN_RUN_DIR/$1"* ]] || continue
        file=${file%/cmdline}
        echo "${file#/proc/}"
        return
    done
    return 1
}
environment() { tr '\0' '\n' 2>/dev/null <"$1/environ" || true; }

# --- the machine, as the kernel tells it ---

pool_file() { echo "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/$1_hugepages"; }
pool() { cat "$(pool_file nr)"; }
pool_free() { cat "$(pool_file free)"; }
# Tests that set the pool first take it over: pages that others use stay out of the picture, free ones come back at the end.
pool_base='' free_at_start=0
take_pool() {
    [ -w "$(pool_file nr)" ] || skip "this kernel has no pool of 2M pages"
    free_at_start=$(pool_free)
    pool_base=$(($(pool) - free_at_start))
    set_pool 0
    [ "$(pool)" = "$pool_base" ] && [ "$(pool_free)" = 0 ] || skip "others change node 0's pool of 2M pages while this runs"
}
# set_pool PAGES: beyond those of others
set_pool() { echo $((pool_base + $1)) >"$(pool_file nr)"; }
our_pool() { echo $(($(pool) - pool_base)); }
# huge_pages_of PID: its 2M pages by numa_maps, all nodes
huge_pages_of() {
    awk '/ huge / { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split($i, p, "="); sum += p[2] } } END { print sum + 0 }' "/proc/$1/numa_maps"
}

# processes_of_ours: vmrun, QEMU and helpers with our run directory in their environment, fork children included
processes_of_ours() {
    local file exe
    for file in $(grep -lzsF -e "VMRUN_RUN_DIR=$VMRUN_RUN_DIR" -e "VMRUN_VM=$VMRUN_RUN_DIR/" /proc/[0-9]*/environ || true); do
        exe=$(readlink "${file%/environ}/exe") || continue
        case ${exe##*/} in vmrun* | qemu* | passt* | swtpm* | virtiofsd*) echo "${file%/environ} $exe" ;; esac
    done
}

none_of_ours() { [ -z "$(processes_of_ours)" ]; }

# snapshot: everything that a VM changes. (Counters are left out; so are the addresses of processes.)
snapshot() {
    [ -n "${VMRUN_TEST_ASIDE:-}" ] || grep -sH . /sys/devices/system/node/node*/hugepages/*/{nr,free,surplus}_hugepages || true
    # an interface's operational state follows its last port by up to a second
    ip -o link show | sed 's/ qlen [0-9]*//; s/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]*//'
    [ -n "${VMRUN_TEST_ASIDE:-}" ] || compgen -G '/sys/class/net/*/brif/*' || true # /sys shows the other network
    processes_of_ours
    find "$VMRUN_RUN_DIR" -mindepth 1 -printf '%P %m %U\n' 2>/dev/null | sort || true
    cat /proc/self/mounts
    ls -A --ignore='vmrun-test-*' /dev/shm 2>/dev/null || true # a unit test's own may come and go beside
}
remember() { snapshot >"$work/before"; }
same_as_before() { snapshot >"$work/after"; cmp -s "$work/before" "$work/after"; }
# as_before WHAT: the machine is as `remember` found it; the kernel gets two seconds to let go of pages and taps
as_before() {
    if within 2 same_as_before; then passed "$1"; else failed "$1" "$(diff "$work/before" "$work/after" || true)"; fi
}

# --- bridges ---

bridges=()
# make_bridge NAME [MTU]: with an address of its own, or it would change with its ports
make_bridge() {
    ip link add "$1" type bridge 2>/dev/null || return 1
    bridges+=("$1")
    ip link set "$1" address 02:76:6d:72:75:01 ${2:+mtu "$2"} up
    within 5 is_down "$1" || true # it takes a moment to find that nobody is on it
}
is_down() { [ "$(cat "/sys/class/net/$1/operstate")" = down ]; }

# --- the end ---

at_end=() # commands of a test, for what else is to be put back
clean_up() {
    local status=$? line pid bridge command
    trap - EXIT
    trap '' INT TERM
    set +e
    while read -r line; do # only ours, by pid
        pid=${line%% *}
        kill -KILL "${pid#/proc/}" 2>/dev/null
    done < <(processes_of_ours)
    within 5 none_of_ours
    "$vmrun" recover >/dev/null 2>&1
    for command in "${at_end[@]}"; do eval "$command"; done # a mount of a test's can go when nobody has it open
    for bridge in "${bridges[@]}"; do ip link del "$bridge" 2>/dev/null; done
    if [ -n "$pool_base" ]; then echo $(($(pool) - $(pool_free) + free_at_start)) >"$(pool_file nr)"; fi
    if [ -n "${VMRUN_E2E_KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$VMRUN_RUN_DIR" "$VMRUN_CACHE_DIR"
"$vmrun" recover 2>/dev/null # makes the lock's file, which stays
