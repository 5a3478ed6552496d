#!/bin/bash
# `vmrun host tune` and `revert` on this machine: together they change nothing (tests/snapshot.sh says what is compared); also after
# a SIGKILL of tune at random instants. ROUNDS (100): how many are to hit.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
rounds=${ROUNDS:-100}
export VMRUN_ETC_DIR=$work/etc

snapshots=$work
# shellcheck source=tests/snapshot.sh
. "$(dirname "$0")/../snapshot.sh"
# of other kernels than the lab's; and of interfaces, which others make and remove, and no profile touches
counters+='|/stats$|^/sys/devices/virtual/zram-control|^/sys/kernel/mm/ksm/advisor_max_cpu|^/sys/fs/cgroup/(.*/)?[^/]*usage[^/]*$|^/sys/fs/cgroup/(.*/)?[a-z]+\.pressure$'
counters+='|^/sys/module/page_reporting/|^/proc/sys/net/ipv[46]/(conf|neigh)/'
identical() { if nothing_differs; then passed "$1"; else failed "$1" "$(shown)"; fi; }

# --- settings that a profile has something to say to; as they were at the end ---

: >"$work/found"
spoil() { # PATH VALUE
    local now
    [ -n "$(find "$1" -perm -u=w 2>/dev/null)" ] || return 0
    now=$(sed 's/.*\[\(.*\)\].*/\1/' "$1")
    printf '%s\t%s\n' "$1" "$now" >>"$work/found"
    echo "$2" >"$1" || true
}
put_right() {
    local path value
    "$vmrun" host revert >/dev/null 2>&1 || true
    tac "$work/found" | while IFS=$'\t' read -r path value; do echo "$value" >"$path" || true; done
    : >"$work/found"
}
at_end+=(put_right)
spoil /sys/kernel/mm/transparent_hugepage/enabled never
spoil /sys/kernel/mm/ksm/run 1
spoil /proc/sys/vm/zone_reclaim_mode 1
spoil /sys/module/kvm/parameters/halt_poll_ns 0
spoil /sys/module/kvm/parameters/halt_poll_ns_grow 0
sleep 1
learn
whole >"$work/base"
echo "note: $(cut -f1 "$work/base" | uniq | wc -l) files are compared; $(wc -l <"$work/volatile") change by themselves"

# --- told, and not done ---

run_code "$vmrun" host tune latency --dry-run
is "dry run" "$code" 0
has "it shows what would be changed" "$out" '^change +ksm: /sys/kernel/mm/ksm/run$'
has "from" "$out" '^ +from +1$'
has "to" "$out" '^ +to +0$'
has "and says so" "$err" 'would be changed; nothing was'
identical "a dry run changes nothing"
run_code setpriv --reuid 65534 --regid 65534 --clear-groups env VMRUN_RUN_DIR=/nonexistent/run "$vmrun" host tune latency --dry-run --json
is "a dry run needs no root" "$code $(jq -r .dry_run <<<"$out")" "0 true"
run_code setpriv --reuid 65534 --regid 65534 --clear-groups "$vmrun" host tune latency
is "tune does" "$code" 2
run_code "$vmrun" host tune fast
is "no such profile" "$code" 2
has "it lists them" "$err" "there are latency, throughput, database, density, windows, lab"
run_code "$vmrun" host revert
is "nothing to put back" "$code $err" "0 vmrun: nothing to put back"

# --- done, and put back ---

for profile in latency throughput database density windows lab; do
    run_code "$vmrun" host tune $profile --json
    is "tune $profile" "$code" 0
    wrong=$(jq -r '.changes[] | [.path, .to] | @tsv' <<<"$out" | while IFS=$'\t' read -r path to; do
        found=$(sed 's/.*\[\(.*\)\].*/\1/; s/\t/ /g' "$path")
        [ "$found" = "$to" ] || echo "$path reads $found"
    done)
    is "$(jq '.changes | length' <<<"$out") files read as wanted" "$wrong" ""
    is "no VM is listed" "$("$vmrun" list --json | jq length)" 0
    "$vmrun" recover 2>/dev/null
    check "recover leaves it" test -d "$VMRUN_RUN_DIR/.host"
    run_code "$vmrun" host revert
    is "revert" "$code" 0
    identical "as before"
done
"$vmrun" host tune latency >/dev/null 2>&1
"$vmrun" host tune density >/dev/null 2>&1
is "a second tune replaces the first: KSM runs" "$(cat /sys/kernel/mm/ksm/run)" 1
is "what only the first wanted is as before" "$(cat /proc/sys/vm/compaction_proactiveness)" "$(awk -F'\t' '$1 == "/proc/sys/vm/compaction_proactiveness" { print $2 }' "$work/base")"
"$vmrun" host revert 2>/dev/null
identical "one revert puts both back"
"$vmrun" host tune latency >/dev/null 2>&1
echo 33 >/proc/sys/vm/compaction_proactiveness
run_code "$vmrun" host revert
has "what somebody else has set since is told" "$err" "compaction_proactiveness reads '33', which is not what tune wrote"
is "and left" "$(cat /proc/sys/vm/compaction_proactiveness)" 33
awk -F'\t' '$1 == "/proc/sys/vm/compaction_proactiveness" { print $2 }' "$work/base" >/proc/sys/vm/compaction_proactiveness
identical "as before"

# --- for one VM: its CPUs only, and interrupts off them ---

{ rom_accel; printf '[cpu]\ncount = 1\nmodel = "qemu64"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec a
run_code "$vmrun" start "$work/a.toml"
cpu=$("$vmrun" show a --json 2>/dev/null | jq -r '[.threads[] | select(.role == "vcpu 0") | .wanted] | first // empty')
if [ "$code" = 0 ] && [[ $cpu =~ ^[0-9]+$ ]]; then
    learn
    whole >"$work/base.vm"
    mv "$work/base" "$work/base.all"
    mv "$work/base.vm" "$work/base"
    run_code "$vmrun" host tune latency --for a --json
    is "tune --for a VM on CPU $cpu" "$code $(jq -r .cpus <<<"$out")" "0 $cpu"
    moved=$(jq '[.changes[] | select(.setting == "stray-irqs")] | length' <<<"$out") kept=$(jq -r '.passed_over[]' <<<"$out" | sed 's/ stays.*//')
    echo "note: $moved interrupts were to leave it, the kernel keeps: $(paste -sd' ' <<<"$kept")"
    check "interrupts were allowed there" test "$moved" -gt 0
    still=$(jq -r '.changes[] | select(.setting == "stray-irqs") | .path' <<<"$out" | while read -r path; do
        grep -qxF "$path" <<<"$kept" || tr , '\n' <"$path" |
            awk -F- -v cpu="$cpu" -v path="$path" '$1 <= cpu && cpu <= ($2 == "" ? $1 : $2) { print path }'
    done)
    is "and are no more" "$still" ""
    sleep 1 # some move when they next fire
    run_code "$vmrun" host revert
    is "revert" "$code" 0
    # where an interrupt is, within its mask, is the kernel's to say; a silent one is brought back only when it fires
    { differing | grep effective_affinity || true; } | forget
    echo "note: on another CPU than before: $(grep -c effective_affinity_list "$work/volatile" || true) interrupts"
    identical "as before, the masks of interrupts too"
    mv "$work/base.all" "$work/base"
else
    echo "note: no VM with a CPU of its own here; --for is not tried ($err)"
fi
"$vmrun" kill a 2>/dev/null || true
run_code "$vmrun" host tune latency --for nobody
is "--for a VM that does not run" "$code" 2

# --- files for the next boots ---

run_code "$vmrun" host tune throughput --persist
is "persist" "$code" 0
check "sysctl.d" grep -qx 'net.core.rmem_max = 16777216' "$work/etc/sysctl.d/90-vmrun.conf"
check "tmpfiles.d" grep -qx 'w /sys/kernel/mm/ksm/run - - - - 0' "$work/etc/tmpfiles.d/vmrun.conf"
! command -v systemd-tmpfiles >/dev/null || check "systemd-tmpfiles can read it" systemd-tmpfiles --create --prefix=/nonexistent "$work/etc/tmpfiles.d/vmrun.conf"
"$vmrun" host tune database --persist >/dev/null 2>&1
check "another profile's replace them" test -z "$(grep -s rmem_max "$work/etc/sysctl.d/90-vmrun.conf")"
echo "# mine" >>"$work/etc/tmpfiles.d/vmrun.conf"
run_code "$vmrun" host unpersist
is "unpersist with an edited file" "$code" 3
has "names it" "$err" 'tmpfiles.d/vmrun.conf has been edited'
is "that alone is left" "$(find "$work/etc" -type f -o -type l)" "$work/etc/tmpfiles.d/vmrun.conf"
rm "$work/etc/tmpfiles.d/vmrun.conf"
run_code "$vmrun" host unpersist
is "again" "$code $err" "0 vmrun: nothing was persisted"
"$vmrun" host revert 2>/dev/null
identical "as before"

# --- killed at any instant ---

# How fast tune is differs from machine to machine and from one moment to the next. So an aim is a part of how long it was seen to live
# last, for each profile: a kill that comes too late shortens that by a twentieth, one that hits stretches it by as much, so that about
# half of them hit, wherever the end lies by then. BUDGET (180): after so many seconds the hits are judged that there were.
micros() { echo "${EPOCHREALTIME/[.,]/}"; }
declare -A reach=()
profiles=(latency throughput density)
for profile in "${profiles[@]}"; do
    start=$(micros)
    "$vmrun" host tune "$profile" >/dev/null 2>&1
    reach[$profile]=$(($(micros) - start))
    "$vmrun" host revert 2>/dev/null
done
echo "note: tune takes $(for profile in "${profiles[@]}"; do echo "${reach[$profile]} us ($profile)"; done | paste -sd,)"
begin=$(micros) least=20 tries=0 killed=0 begun=0 changed=0 bad=0
until [ "$killed" -ge "$rounds" ] || [ $(($(micros) - begin)) -gt $((${BUDGET:-180} * 1000000)) ]; do
    profile=${profiles[tries % 3]}
    wait=$((RANDOM * (reach[$profile] + 1) / 32768))
    tries=$((tries + 1))
    "$vmrun" host tune "$profile" >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '%d.%06d' $((wait / 1000000)) $((wait % 1000000)))"
    kill -KILL "$pid" 2>/dev/null || true
    status=0
    wait "$pid" 2>/dev/null || status=$?
    if [ "$status" = 137 ]; then
        reach[$profile]=$((reach[$profile] + reach[$profile] / 20 + 1))
        killed=$((killed + 1))
        [ ! -d "$VMRUN_RUN_DIR/.host" ] || begun=$((begun + 1))
        [ ! -s "$VMRUN_RUN_DIR/.host/journal" ] || changed=$((changed + 1))
    else
        reach[$profile]=$((reach[$profile] - reach[$profile] / 20))
        [ "$status" = 0 ] || failed "tune that was not hit ends well" "exit code $status"
    fi
    "$vmrun" host revert >/dev/null 2>&1 || bad=$((bad + 1))
    [ ! -d "$VMRUN_RUN_DIR/.host" ] || bad=$((bad + 1))
    nothing_differs || { bad=$((bad + 1)); echo "try $tries ($profile, killed after $wait us): $(shown)"; }
done
echo "note: $killed kills hit (of $tries): $begun after it had begun, $changed after it had written an undo down"
[ "$killed" -ge "$rounds" ] || echo "note: this machine was too slow for $rounds hits within ${BUDGET:-180} s"
check "enough kills hit it to say something ($killed)" test "$killed" -ge "$((least < rounds ? least : rounds))"
is "rounds after which something differed" "$bad" 0
check "some kills hit it while it changed things" test "$changed" -gt 0
finish
