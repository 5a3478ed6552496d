#!/bin/bash
# CPU and clock knobs on real QEMUs without KVM: seen in the guest, over QMP, in the kernel's own words; and what is refused.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    {
        cat <<TOML
name = "knobs"
accel = "tcg"
[cpu]
count = 2
threads = 2
pin = "off"
add = ["rdrand"]
remove = ["aes", "avx2"]
require = ["sse4_2"]
[clock]
hpet = true
base = "localtime"
drift_fix = "slew"
[memory]
size = "256M"
page = "4K"
TOML
        boot "vmrun.cpu vmrun.report vmrun.then=poweroff"
    } | spec knobs
    TZ=XXX-5 run_in_background pid knobs
    says knobs '^guest: ready' "$pid" 120 || failed "$version: the guest gets ready" "$(tail -n 5 "$work/knobs.err")"
    exits "$version: vmrun's status" "$pid" 60 0
    flags=$(console_of knobs | grep '^guest: flags=' || true)
    has "$version: rdrand added" "$flags" ' rdrand '
    has "$version: sse4_2 there" "$flags" ' sse4_2 '
    hasnt "$version: aes and avx2 removed" "$flags" ' (aes|avx2) '
    shape=$(console_of knobs | grep -a '^guest: cpu[0-9]' || true)
    has "$version: the guest sees threads" "$shape" '^guest: cpu1 smt=0-1 core=0 package=0 l3=0-1'
    has "$version: HPET is a clock source" "$(console_of knobs)" '^guest: clocksources=.* hpet '
    hour=$(console_of knobs | sed -n 's/^guest: rtc=\([0-9]*\):.*/\1/p')
    is "$version: the RTC's hours from UTC" "$(((10#${hour:-0} - 10#$(date -u +%H) + 24) % 24))" 5

    run_code "$vmrun" plan "$work/knobs.toml" --set 'cpu.require=["avx512f"]'
    is "$version: avx512f under TCG is refused" "$code" 2
    has "$version: and why" "$err" 'cpu.require\[0\]: "avx512f" cannot be had: QEMU .* emulation'
    run_code "$vmrun" plan "$work/knobs.toml" --set cpu.model=qemu64
    has "$version: what TCG cannot tell an AMD guest is refused" "$err" 'cpu.threads: QEMU.s emulation .* AMD guest \(qemu64\)'
    run_code "$vmrun" plan "$work/knobs.toml" --set cpu.model=qemu65
    has "$version: an unknown model" "$err" 'did you mean "qemu64"'
    run_code "$vmrun" plan "$work/knobs.toml" --set windows=true --set hyperv.time=true
    has "$version: Hyper-V needs KVM" "$err" 'hyperv.time: true, but it is a service of KVM'

    { printf 'accel = "tcg"\n[cpu]\ncount = 257\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec many
    run_code timeout 120 "$vmrun" start "$work/many.toml"
    if [ "$version" = 7.2 ]; then
        is "$version: 257 vCPUs under TCG are refused" "$code" 2
        has "$version: and why" "$err" 'does not emulate an x2APIC'
    else
        is "$version: 257 vCPUs run" "$code" 0
        is "$version: and QEMU has them" "$("$vmrun" qmp many query-cpus-fast | jq '(.return? // .) | length')" 257
        "$vmrun" kill many 2>/dev/null
    fi
done

# What only this machine's kernel can say: met or refused, never passed over.
use_qemu "${qemus[0]}"
{ printf 'accel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec plain
if [ -e /sys/fs/cgroup/cgroup.controllers ] && grep -q cpu /sys/fs/cgroup/cgroup.controllers; then
    echo "      a weight and a quota are shown in the lab"
else
    run_code "$vmrun" plan "$work/plain.toml" --set schedule.weight=50
    is "without the cpu controller of cgroup version 2 a weight is refused" "$code" 2
    has "and why" "$err" "schedule.weight: needs a cgroup of the VM's own, but (this host has no cgroups of version 2|the cpu controller is not in)"
fi
if [ ! -e /sys/fs/resctrl/info/L3 ]; then
    run_code "$vmrun" plan "$work/plain.toml" --set 'schedule.l3="0=f"'
    has "without resctrl a share of the L3s is refused" "$err" 'schedule.l3: this host cannot divide its L3 caches'
fi
run_code "$vmrun" plan "$work/plain.toml" --set schedule.vcpu_fifo=10
has "FIFO vCPUs without CPUs of their own are refused" "$err" 'schedule.vcpu_fifo: the vCPUs share their CPUs'
finish
