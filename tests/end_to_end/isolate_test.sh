#!/bin/bash
# [host] on this machine, as far as it goes: what it cannot give is refused where the spec asks and told where it says "auto";
# what it can is there while the VM lives and gone afterwards, also after a SIGKILL. (Partitions: tests/lab/isolate.sh.)
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
last=$(($(nproc --all) - 1))
[ "$last" -gt 0 ] && taskset -c "$last" true 2>/dev/null || skip "needs a CPU beside CPU 0"
{
    rom_accel
    printf '[cpu]\ncount = 1\nmodel = "qemu64"\npin = [%s]\nemulator = "0"\n[memory]\nsize = "64M"\npage = "4K"\n' "$last"
    printf '[host]\nmax_latency_us = 0\ninterrupts = "move"\nworkqueues = "move"\n'
    rom_boot
} | spec a
latency=/sys/devices/system/cpu/cpu$last/power/pm_qos_resume_latency_us
workqueues=/sys/devices/virtual/workqueue/cpumask
[ -w "$latency" ] && [ -w "$workqueues" ] || skip "this kernel has no latency limit or no workqueue mask"

settings() {
    grep -sH . /proc/irq/*/smp_affinity_list /proc/irq/default_smp_affinity /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us || true
    grep -sH . $workqueues /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor || true
    find /sys/fs/cgroup -name 'vmrun*' 2>/dev/null || true
}
as_they_were() { [ "$(settings)" = "$before" ]; }
back() { if as_they_were; then passed "$1"; else failed "$1" "$(diff <(echo "$before") <(settings) || true)"; fi; }
before=$(settings)
remember

# on_cpu FILE...: those masks that have the VM's CPU in them
on_cpu() { local file; for file in "$@"; do if vm_cpu_in "$(cat "$file")"; then echo "$file"; fi; done; }
vm_cpu_in() {
    local part
    for part in ${1//,/ }; do if [ "${part%-*}" -le "$last" ] && [ "$last" -le "${part#*-}" ]; then return 0; fi; done
    return 1
}
used_interrupts() { local irq; for irq in /proc/irq/[0-9]*; do if compgen -G "$irq/*/" >/dev/null; then echo "$irq/smp_affinity_list"; fi; done; }
mapfile -t interrupts < <(used_interrupts)

check "an interrupt goes to that CPU before" test -n "$(on_cpu "${interrupts[@]}")"
run_code "$vmrun" start "$work/a.toml"
is "start" "$code" 0
is "the CPU does not sleep" "$(cat "$latency")" n/a
is "the kernel's unbound work is elsewhere" "$((0x$(tr -d , <$workqueues) >> last & 1))" 0
is "interrupts to come, too" "$((0x$(tr -d , </proc/irq/default_smp_affinity) >> last & 1))" 0
for file in $(on_cpu "${interrupts[@]}"); do has "$file was left, and that is told" "$err" "left as it was: $file"; done
check "some interrupt was moved" test "$(on_cpu "${interrupts[@]}" | wc -l)" -lt "$(grep -c 'take CPUs .*/proc/irq/[0-9]' <("$vmrun" show a --json | jq -r '.plan.steps[].text'))"
"$vmrun" kill a 2>/dev/null
back "all settings are back"
as_before "and the rest"

"$vmrun" start "$work/a.toml" 2>/dev/null
pid=$(jq .pid "$VMRUN_RUN_DIR/a/owner")
kill -KILL "$pid"
within 5 ended "$pid"
check "a SIGKILL leaves them changed" test "$(cat "$latency")" = n/a
run_code "$vmrun" recover
is "recover" "$code" 0
back "all settings are back"
as_before "and the rest"

# what somebody else set meanwhile is theirs
"$vmrun" start "$work/a.toml" 2>/dev/null
echo 77 >"$latency"
"$vmrun" kill a 2>/dev/null
is "a limit that somebody else has set since stays" "$(cat "$latency")" 77
echo 0 >"$latency"
back "all settings are back"

# no partition without the cpuset controller in cgroup version 2, and no governor without cpufreq
root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
if [ -z "$root" ] || ! grep -qw cpuset "$root/cgroup.controllers"; then
    run_code "$vmrun" run "$work/a.toml" --set host.isolate=true
    is "isolate = true is refused" "$code" 2
    has "with the reason" "$err" 'error: host.isolate: (the cpuset controller is not in|this host has no cgroups)'
    run_code "$vmrun" plan "$work/a.toml" --set host.isolate=auto
    is "\"auto\" does without" "$code" 0
    has "and tells" "$out" 'host.isolate: not done: '
fi
if ! [ -e "/sys/devices/system/cpu/cpu$last/cpufreq/scaling_governor" ]; then
    run_code "$vmrun" run "$work/a.toml" --set host.governor=performance
    is "governor = \"performance\" is refused" "$code" 2
    has "with the reason" "$err" "error: host.governor: CPUs $last have no cpufreq/scaling_governor"
    run_code "$vmrun" plan "$work/a.toml" --set host.governor=auto
    is "\"auto\" does without" "$code" 0
fi
chmod 644 "$work/a.toml"
run_code setpriv --reuid 65534 --regid 65534 --clear-groups env VMRUN_RUN_DIR="$work/none" VMRUN_CACHE_DIR="$work/none" "$vmrun" plan "$work/a.toml"
has "without root it is refused" "$err" 'error: host.max_latency_us: that needs root'
back "all settings are as before"
finish
