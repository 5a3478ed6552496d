#!/bin/bash
# The shape that a plan promises is the one that a Linux in the guest counts: sockets, dies, cores, threads, L3s and nodes, for the
# shape of every golden plan of up to 16 vCPUs, under AMD's CPU (the lab's own) and under Intel's.
# The lab's KVM is AMD's (nothing emulates Intel's), so Intel's half is this: vmrun is shown a /proc/cpuinfo of GenuineIntel, and plans
# as on such a host; "host" on its command line then is QEMU's Skylake-Server with that vendor, so that QEMU tells the guest the shape
# by Intel's leaves (4, 0xb, 0x1f). All else of the command line, KVM and the guest are as they are.
# files: mkdir -p build/lab && grep -rhoE -- '-smp [0-9]+,[^ ]*' tests/golden/*/expected.txt | sort -uV >build/lab/shapes && echo "$PWD/build/lab/shapes"
# lab: --all --timeout 1800 --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel 6.12 --qemu 10.0 --cmdline lab.few
# lab: --all --timeout 1800 --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel all --qemu all --cmdline lab.few
# lab: --all --timeout 1800 --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel all --qemu all --cmdline lab.rest
# lab: --all --timeout 1800 --smp 16,sockets=2,dies=2,cores=2,threads=2 --nodes 4 --kernel 6.12 --qemu 11.1 --cmdline lab.few
# lab: --all --timeout 1800 --smp 16,sockets=2,dies=2,cores=2,threads=2 --nodes 4 --kernel 6.12 --qemu 11.1 --cmdline lab.rest
# lab: --all --timeout 900 --smp 16,sockets=1,dies=2,cores=2,threads=4 --kernel all --qemu 10.0 --cmdline lab.smt4
# fault: flat an AMD guest is not told (topoext is removed)
# fault: one-cell both nodes' vCPUs are given to one guest node behind vmrun's back
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin

# --- what Intel's half needs ------------------------------------------------------------------------------------------------------
cat >/usr/local/bin/qemu-of-intel <<WRAPPER
#!/bin/bash
# vmrun's QEMU, whose "host" is Intel's
for word; do
    case \$word in host | host,*) word=Skylake-Server,vendor=GenuineIntel\${word#host} ;; esac
    words+=("\${word/migratable=off,/}")
done
exec $QEMU "\${words[@]}"
WRAPPER
# The other fault: -numa's lines as they are not planned
cat >/usr/local/bin/qemu-one-cell <<WRAPPER
#!/bin/bash
for word; do
    case \$word in node,nodeid=*) [ -z "\${first:-}" ] && first=\${word%%,cpus=*} cpus= ; cpus=\$cpus\$(grep -o ',cpus=[0-9]*' <<<"\$word" | tr -d '\n') ;; esac
done
for word; do
    case \$word in node,nodeid=0,*) word=\$first\$cpus ;; node,nodeid=*) word=\${word%%,cpus=*} ;; esac
    words+=("\$word")
done
exec $QEMU "\${words[@]}"
WRAPPER
chmod 755 /usr/local/bin/qemu-*
mkdir -p /etc/vmrun
at_end+=('umount /proc/cpuinfo 2>/dev/null; rm -f /etc/vmrun/host.toml /usr/local/bin/qemu-*')
# as VENDOR: from here on, vmrun sees a host of that vendor's
as() {
    vendor=$1
    export VMRUN_CACHE_DIR=/run/cache-of-$vendor # in which the host's vendor is
    umount /proc/cpuinfo 2>/dev/null
    rm -f /etc/vmrun/host.toml
    ! fault one-cell || echo 'qemu = "/usr/local/bin/qemu-one-cell"' >/etc/vmrun/host.toml
    if [ "$vendor" = GenuineIntel ]; then
        sed 's/AuthenticAMD/GenuineIntel/; s/^\(cpu family.*: \).*/\16/; s/^\(model\t.*: \).*/\185/' /proc/cpuinfo >/run/cpuinfo
        mount --bind /run/cpuinfo /proc/cpuinfo
        echo 'qemu = "/usr/local/bin/qemu-of-intel"' >/etc/vmrun/host.toml
    fi
    equal "vmrun takes this host's CPUs for those of" "$vendor" "$(vmrun host --json | jq -r .host.cpu.vendor)"
    machine=$(machine_state)
}

# --- a spec for a shape -----------------------------------------------------------------------------------------------------------
# The guest tells each CPU's place, and what its CPU says it is
ask='vmrun.do='$(base64 -w0 <<'GUEST'
say "vendor $(sed -n 's/^vendor_id[^:]*: //p;T;q' /proc/cpuinfo)"
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
    of $cpu/topology/physical_package_id; package=$text
    of $cpu/topology/die_id; die=$text
    list $cpu/topology/thread_siblings_list; smt=$text
    list $cpu/cache/index3/shared_cpu_list; l3=$text
    for node in $cpu/node*; do node=${node##*node}; done
    say "seat ${cpu##*cpu} $package $die $smt $l3 $node"
done
GUEST
)
# cores_of L3: a line for each core: its CPUs
cores_of() { for cpu in $(cpu_list "$1"); do cpu_list "$(siblings "$cpu")"; done | sort -un; }
# l3s_of PACKAGE: a line for each of its L3s: its CPUs
l3s_of() {
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        [ "$(cat "$cpu/topology/physical_package_id")" != "$1" ] || shares_l3 "${cpu##*cpu}"
    done | sort -un
}
host_threads=$(siblings 0 | { read -r list; cpu_list "$list"; } | wc -w)
host_cores=$(cores_of "$(shares_l3 0)" | wc -l)
# keys S D C T: a spec whose VM has that shape here: on CPUs that lie so where this host has them; else by nodes of its own (a die each),
# or by the spec's words on no CPU in particular
keys() {
    local s=$1 d=$2 c=$3 t=$4 count=$(($1 * $2 * $3 * $4)) package l3 core list='' i
    printf '[memory]\nsize = "%s"\npage = "4K"\n[cpu]\ncount = %s\n' "$((d > 2 ? d * 64 : 192))M" "$count"
    ! fault flat || echo 'remove = ["topoext"]'
    if [ "$s" -le 2 ] && [ "$d" -le 2 ] && [ "$c" -le "$host_cores" ] && [ "$t" -le "$host_threads" ]; then
        for ((package = 0; package < s; package++)); do
            while read -r l3; do
                while read -r core; do list+=" $(echo "$core" | cut -d' ' -f"1-$t")"; done < <(cores_of "$l3" | tail -n "$c")
            done < <(l3s_of "$package" | tail -n "$d")
        done
        echo "pin = [$(xargs <<<"$list" | tr ' ' ,)]"
    elif [ "$s" = 1 ] && [ "$d" -gt 1 ]; then
        echo 'pin = "off"'
        for ((i = 0; i < d; i++)); do printf '[[numa]]\nvcpus = "%s-%s"\n' $((i * c * t)) $(((i + 1) * c * t - 1)); done
    else
        printf 'pin = "off"\nsockets = %s\ncores = %s\nthreads = %s\n' "$s" $((d * c)) "$t"
    fi
}
# boots: VM a, and once more where its guest stays silent. Of forty guests under emulation one may lose an interrupt, which says nothing
# of its shape; twice is a hang of the lab.
hangs=0
boots() {
    local status=0
    run a
    (boot_wait a.log "${keeper[a]}" 150) || status=$?
    [ "$status" = 125 ] || return "$status"
    hangs=$((hangs + 1))
    vmrun kill a >/dev/null 2>&1
    wait "${keeper[a]}" 2>/dev/null
    run a
    boot_wait a.log "${keeper[a]}"
}
distinct() { sort -u | wc -l; }
# seats COLUMN...: of the last guest's CPUs
seats() { tr -d '\r' <a.log | sed -n 's/^guest: seat //p' | sort -n | awk -v want="$*" '{ n = split(want, c, " "); for (i = 1; i <= n; i++) printf "%s ", $c[i]; print "" }'; }

# shape S D C T: a guest of it, as planned
shape() {
    local s=$1 d=$2 c=$3 t=$4 what plan cells
    what="$s x $d x $c x $t, $vendor"
    { echo 'name = "a"'; keys "$@"; } | spec a "$ask" vmrun.then=idle
    plan=$(vmrun plan --json a.toml 2>plan.err) || { not_ok "$what: a plan"; cat plan.err; return; }
    equal "$what: planned" "$s $d $c $t" "$(jq -r '.placement.guest | "\(.sockets) \(.dies) \(.cores) \(.threads)"' <<<"$plan")" || return
    [ "$vendor" = AuthenticAMD ] || equal "$what: no word of AMD's on the command line" "" "$(jq -r '.args[]?' <<<"$plan" | grep -o topoext | head -n 1)"
    boots >boot.words || { cat a.err boot.words; die "$what: the guest does not get ready"; }
    equal "$what: the guest's CPU is of" "$vendor" "$(said a 'vendor \(.*\)')"
    equal "$what: CPUs" $((s * d * c * t)) "$(seats 1 | wc -l)"
    equal "$what: sockets" "$s" "$(seats 2 | distinct)"
    # (AMD's CPUs have L3s where Intel's have dies: no die of an AMD guest's is told beside them, as on AMD's real ones.)
    [ "$vendor" = AuthenticAMD ] || equal "$what: dies" $((s * d)) "$(seats 2 3 | distinct)"
    equal "$what: cores" $((s * d * c)) "$(seats 4 | distinct)"
    equal "$what: threads of each core" "$t" "$(for list in $(seats 4); do cpu_list "$list" | wc -w; done | sort -u | xargs)"
    equal "$what: L3s, each of one die" "$(seq 0 $((c * t)) $((s * d * c * t - 1)) | while read -r first; do echo "$first-$((first + c * t - 1))"; done |
        sed 's/^\(.*\)-\1$/\1/' | xargs)" "$(seats 5 | uniq | xargs)"
    cells=$(jq -r '[.placement.cells[].vcpus | select(length > 0) | map(tostring) | join(" ")] | join(" / ")' <<<"$plan")
    equal "$what: nodes, by their CPUs" "$cells" "$(seats 6 1 | awk '{ cpus[$1] = cpus[$1] (cpus[$1] == "" ? "" : " ") $2 }
        END { for (node = 0; node in cpus; node++) printf "%s%s", node ? " / " : "", cpus[node] }')"
    equal "$what: L3s of two nodes" "" "$(seats 5 6 | sort -u | awk '{ print $1 }' | uniq -d)"
    kill_vm a >/dev/null
}

# Two halves, for a lab of forty guests outlives its time on a busy machine: the few, and the rest, which are like one of these
smt4='' half=''
grep -q 'lab.smt4' /proc/cmdline && smt4=1
grep -q 'lab.few' /proc/cmdline && half=few
grep -q 'lab.rest' /proc/cmdline && half=rest
mapfile -t shapes < <(sed -n 's/^-smp [0-9]*,sockets=\([0-9]*\),dies=\([0-9]*\),cores=\([0-9]*\),threads=\([0-9]*\),.*/\1 \2 \3 \4/p' shapes)
check "the golden plans have shapes" test "${#shapes[@]}" -gt 20
tried=0 larger=0
for vendor in GenuineIntel AuthenticAMD; do
    [ -z "${LAB_FAULT:-}" ] || [ "$vendor" = AuthenticAMD ] || continue
    as "$vendor"
    for one in "${shapes[@]}"; do
        read -r s d c t <<<"$one"
        if [ $((s * d * c * t)) -gt 16 ]; then larger=$((larger + 1)); continue; fi
        # A core of four threads is another lab's, which does nothing else.
        if [ "$t" -gt 2 ]; then [ -n "$smt4" ] || continue; else [ -z "$smt4" ] || continue; fi
        case $one in
            "1 1 1 1" | "1 1 2 1" | "1 1 6 1" | "1 1 8 1" | "1 1 2 2" | "1 1 6 2" | "1 1 8 2" | "1 1 4 2" | "1 2 2 1" | "1 5 2 1") [ "$half" != few ] || continue ;;
            *) [ "$half" != rest ] || continue ;;
        esac
        shape "$s" "$d" "$c" "$t"
        tried=$((tried + 1))
    done
done
umount /proc/cpuinfo 2>/dev/null
machine=$(machine_state)
fact "shapes shown" "$tried guests; $larger more have over 16 vCPUs; booted twice: $hangs"
check "shapes were shown" test "$tried" -ge "${smt4:-8}"
end
