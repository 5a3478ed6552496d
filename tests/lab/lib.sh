# shellcheck shell=bash
# For the tests that run in the lab (scripts/lab): source it first. A test is a row of checks; its status is 0 when all held.
#     check "what must be so" COMMAND...    equal "what must be so" WANTED FOUND     fact "what the kernel said" VALUE
#     begin [BRIDGE-ADDRESS]: modules, bridge br0, and what the machine is like; `end` says that it is so again
# A test that fails must do so for its subject's sake: each names faults in its head, `# fault: NAME what is done`, does them
# where `fault NAME` is true, and `scripts/lab test --faults` shows that it then fails.
# A test goes on after a failed check, so that one run shows all of them; what makes going on senseless is `check ... || die`.

passed=0 failed=0

# Whatever ends the test, the count is told; an end without any check, or by an error, is a failure.
finish() {
    local status=$?
    trap - EXIT
    tidy
    case $status in 77 | 125) exit "$status" ;; esac
    [ "$status" = 0 ] || [ "$failed" != 0 ] || echo "ended by an error, status $status"
    echo "$passed checks held, $failed did not"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ] || exit 1
    exit "$status"
}
trap finish EXIT
trap '' PIPE # writing to something that has gone is an error of that command, not the end of the test

now() { cut -d' ' -f1 /proc/uptime; }
# since SECONDS: how long ago `now` said that
since() { awk -v a="$(now)" -v b="$1" 'BEGIN { printf "%.1f", a - b }'; }

ok() { passed=$((passed + 1)); printf '[%s] ok      %s\n' "$(now)" "$1"; }
not_ok() {
    failed=$((failed + 1))
    printf '[%s] FAILED  %s\n' "$(now)" "$1"
    [ -z "${LAB_FAULT:-}" ] || exit 1 # that was to be shown
}

# check DESCRIPTION COMMAND...: the command's output is shown only when it fails
check() {
    local description=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    if [ "$status" = 125 ]; then # hang() in there
        printf '%s\n' "$output"
        exit 125
    elif [ "$status" = 0 ]; then
        ok "$description"
    else
        [ -z "${LAB_FAULT:-}" ] || printf '%s\n' "$output" # not_ok ends the test then
        not_ok "$description"
        printf '    %s\n' "command: $*" "${output//$'\n'/$'\n'    }"
        return 1
    fi
}

# equal DESCRIPTION WANTED FOUND
equal() {
    if [ "$2" = "$3" ]; then
        ok "$1: $3"
    else
        not_ok "$1"
        printf '    wanted: %s\n    found:  %s\n' "$2" "$3"
        return 1
    fi
}

# knob NAME ASKED SEEN [WHERE]: a row of the table of knobs; a failure when it was not seen as it was asked for. ASKED may be empty:
# then nothing may be seen, and the table says none of both.
knob() {
    if [ -n "$2" ]; then set -- "$1" "$2" "$3" "${4:-}"; else set -- "$1" none "${3:-none}" "${4:-}"; fi
    printf 'KNOB\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4"
    equal "knob $1${4:+ ($4)}" "$2" "$3" || true
}

# fact WHAT VALUE: kept in /out/facts for the table of results
fact() { printf '%s\t%s\n' "$1" "$2" | tee -a /out/facts | sed 's/\t/: /; s/^/        /'; }

die() { not_ok "$*"; exit 1; }
# hang WHAT: the emulated machine's fault and not the subject's; the whole lab is booted once more, and the hang counted
hang() { echo "lab hang: $*"; exit 125; }
# skip REASON: this lab cannot show it
skip() { echo "skipped: $*"; exit 77; }

# wait_for SECONDS COMMAND...: until it succeeds; false when it did not in that time
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# boot_wait LOG [PID] [SECONDS]: until the test guest that writes LOG is ready; false when PID ends before that, or time is up.
# A guest with four vCPUs is ready in 6 to 12 s here, but two guests beside another lab took more than 120 on two cores.
boot_wait() {
    local log=$1 pid=${2:-} end=$((SECONDS + ${3:-180}))
    until grep -q '^guest: ready' "$log" 2>/dev/null; do
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
            grep -q '^guest: ready' "$log" && return 0
            echo "process $pid ended; last lines of $log:"
        elif [ "$SECONDS" -ge "$end" ]; then
            tail -n 5 "$log"
            hang "a guest whose QEMU lives said nothing for ${3:-180} s"
        else
            sleep 0.1
            continue
        fi
        tail -n 5 "$log"
        return 1
    done
}

# qmp SOCKET COMMAND...: a line of JSON per command, which is a name or JSON; events are passed over. False when no answer comes.
qmp() {
    local socket=$1 command line status=0
    shift
    coproc QMP { exec socat - "UNIX-CONNECT:$socket" 2>/dev/null; }
    # copies, for bash forgets the coprocess's own numbers when it ends
    local from to pid=$QMP_PID
    exec {from}<&"${QMP[0]}" {to}>&"${QMP[1]}" || return 1
    read -r -t 10 line <&"$from" || status=1 # the greeting
    for command in qmp_capabilities "$@"; do
        [ "$status" = 0 ] || break
        [ "${command:0:1}" = "{" ] || command="{\"execute\":\"$command\"}"
        { echo "$command" >&"$to"; } 2>/dev/null || status=1
        while :; do
            read -r -t 20 line <&"$from" || { status=1; break; }
            case $line in *'"event": "'*) ;; *) break ;; esac
        done
        [ "$status" != 0 ] || [ "$command" = '{"execute":"qmp_capabilities"}' ] || echo "$line"
    done
    exec {from}<&- {to}>&-
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return "$status"
}

# cpus_of TID: the CPUs a thread may run on, as the kernel says
cpus_of() { awk '$1 == "Cpus_allowed_list:" { print $2 }' "/proc/$1/status"; }

# threads PID: each of its threads: id, CPUs, name
threads() {
    local task
    for task in "/proc/$1/task"/*; do
        printf '%s %s %s\n' "${task##*/}" "$(cpus_of "${task##*/}")" "$(cat "$task/comm")"
    done
}

# set_pages NODE PAGES [SIZE_KB]: asks for a node's pool of huge pages; prints what the kernel granted
set_pages() {
    local pool=/sys/devices/system/node/node$1/hugepages/hugepages-${3:-2048}kB/nr_hugepages
    echo "$2" >"$pool"
    cat "$pool"
}

# pages NODE [SIZE_KB]: "all free" of that pool
pages() {
    local pool=/sys/devices/system/node/node$1/hugepages/hugepages-${2:-2048}kB
    echo "$(cat "$pool/nr_hugepages") $(cat "$pool/free_hugepages")"
}

# --- VMs ----------------------------------------------------------------------------------------------------------------------

# fault NAME: true when this run is to show that the test sees that fault
fault() { [ "${LAB_FAULT:-}" = "$1" ] && echo "        fault planted: $1" >&2; }

# begin: what the tests of vmrun start with
begin() {
    local module
    for module in kvm_amd vhost_net tun bridge; do modprobe "$module" || die "no module $module"; done
    ip link add br0 address 52:54:00:00:09:01 type bridge # a given address: else it is that of a port
    ip address add 10.9.0.1/24 dev br0
    ip link set br0 up
    fact kernel "$(uname -r)"
    fact QEMU "$("$QEMU" --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')"
    vmrun host >/dev/null # the first call leaves a cache
    machine=$(machine_state)
}
# end: all VMs have ended, and nothing of them is left
end() { as_before "the machine is as before: pools, links, processes, run directories, mounts"; }
# as_before WHAT: within five seconds, for the kernel takes its time with the last fd of a tap
as_before() {
    if wait_for 5 same_machine; then
        ok "$1"
    else
        not_ok "$1"
        diff <(echo "$machine") <(machine_state) | sed 's/^/    /'
    fi
}
same_machine() { [ "$machine" = "$(machine_state)" ]; }

# machine_state: everything that a VM changes, as the kernel says. Counters and addresses of processes are left out.
machine_state() {
    grep -sH . /sys/devices/system/node/node*/hugepages/*/{nr,free,surplus}_hugepages
    ip -o link show | sed 's/ qlen [0-9]*//; s/ state [A-Z]*//; s/<[^>]*>//'
    ls -d /sys/class/net/*/brif/* 2>/dev/null
    ls -d /sys/bus/pci/drivers/*/[0-9]*:* # which driver has which function
    grep -H . /sys/bus/pci/devices/*/{driver_override,sriov_numvfs} 2>/dev/null
    grep -lsE '^(qemu-system-x86|vmrun)' /proc/[0-9]*/comm
    find /run/vmrun -mindepth 1 ! -name .lock -printf '%P\n' 2>/dev/null | sort
    cut -d' ' -f1-3 /proc/self/mounts
    ls -A /dev/shm
}

# shellcheck disable=SC2034 # qemu is for the tests
declare -A keeper qemu # by VM: pid of `vmrun run`, and of QEMU

# spec NAME KEYS: NAME.toml, which boots the test guest with its report, idle then, and KEYS from standard input, and WORDS more
# for the guest's kernel
spec() {
    local name=$1
    shift
    {
        cat
        printf '[boot]\nkernel = "/lab/guest/vmlinuz"\ninitrd = "/lab/guest/initrd"\n'
        printf 'cmdline = "console=ttyS0 quiet mitigations=off vmrun.report %s"\n' "$*"
    } >"$name.toml"
}
# rom_spec NAME: the same with the ROM, which prints a line and halts: enough where only the host's side counts
rom_spec() { { cat; printf '[boot]\nfirmware = "/lab/guest/rom16.bin"\n'; } >"$1.toml"; }

# run NAME [OPTION]...: `vmrun run`, the guest's console in NAME.log, vmrun's words in NAME.err. (</dev/null unless $input is set)
run() {
    local name=$1
    shift
    rm -f "$name.log" "$name.err"
    touch "$name.log"
    vmrun run "$@" "$name.toml" >"$name.log" 2>"$name.err" <"${input:-/dev/null}" &
    keeper[$name]=$!
}
# up NAME [OPTION]...: the same, until the guest is ready (a ROM: until it has spoken); sets qemu[NAME]. Ends the test if not.
up() {
    local name=$1 ready='^guest: ready'
    run "$@"
    ! grep -q rom16 "$name.toml" || ready='vmrun-rom up'
    if ! wait_for 180 eval "grep -q '$ready' $name.log || ! kill -0 ${keeper[$name]}" || ! grep -q "$ready" "$name.log"; then
        cat "$name.err" "$name.log"
        # Seen in one boot of a few hundred: QEMU lives, its guest is silent (an interrupt that TCG lost, by all signs).
        ! kill -0 "${keeper[$name]}" 2>/dev/null || hang "the guest of VM $name said nothing for 180 s"
        die "VM $name does not get ready"
    fi
    # shellcheck disable=SC2034 # for those who source this
    qemu[$name]=$(qemu_of "$name") || die "VM $name has no QEMU"
    ok "VM $name runs"
}
# down NAME: stopped by vmrun, and its keeper ends well
down() {
    check "vmrun stop $1" vmrun stop "$1"
    keeper_ends "$1" 0
}
# kill_vm NAME: at once
kill_vm() {
    check "vmrun kill $1" vmrun kill "$1"
    wait_for 30 sh -c "! kill -0 ${keeper[$1]}"
    wait "${keeper[$1]}" 2>/dev/null
    unset "keeper[$1]"
}
# keeper_ends NAME STATUS: vmrun itself ends with this status
keeper_ends() {
    local status=0
    wait_for 60 sh -c "! kill -0 ${keeper[$1]} 2>/dev/null" || status=late
    [ "$status" = late ] || { wait "${keeper[$1]}"; status=$?; }
    unset "keeper[$1]"
    equal "vmrun's status at the end of $1" "$2" "$status" || cat "$1.err"
}
# refused WHAT STATUS PATTERN COMMAND...: the command ends with that status, and its words have such a line (extended expression)
refused() {
    local what=$1 wanted=$2 pattern=$3 status=0
    shift 3
    "$@" >refused.txt 2>&1 </dev/null || status=$?
    # shellcheck disable=SC2053 # a pattern
    if [[ $status == $wanted ]] && tr '\n' ' ' <refused.txt | grep -qE -- "$pattern"; then
        ok "$what"
        sed -n 's/^error: /        vmrun: /p' refused.txt
    else
        not_ok "$what"
        printf '    wanted: status %s and %s\n    found:  status %s\n' "$wanted" "$pattern" "$status"
        sed 's/^/    /' refused.txt
    fi
}
# tidy: whatever happened, no VM, bridge or file of this test's stays
at_end=()
tidy() {
    local name command
    for command in "${at_end[@]}"; do eval "$command"; done
    for name in "${!keeper[@]}"; do
        kill -0 "${keeper[$name]}" 2>/dev/null || continue
        vmrun kill "$name" >/dev/null 2>&1
        wait_for 10 sh -c "! kill -0 ${keeper[$name]}" || kill -9 "${keeper[$name]}"
    done 2>/dev/null
    ip link delete br0 2>/dev/null
    return 0
}

# qemu_of NAME: QEMU's pid: the process with that name on its command line
qemu_of() {
    local file
    for file in $(grep -lsE "guest=$1,debug-threads" /proc/[0-9]*/cmdline); do
        file=${file%/cmdline}
        case $(readlink "$file/exe") in *qemu-system*) echo "${file#/proc/}"; return ;; esac
    done
    return 1
}
# vcpus NAME: its vCPUs' thread ids, in order, by QMP
vcpus() { qmp "/run/vmrun/$1/qmp.sock" query-cpus-fast | jq -r '.return | sort_by(."cpu-index")[] | ."thread-id"'; }
# iothreads NAME: thread ids
iothreads() { qmp "/run/vmrun/$1/qmp.sock" query-iothreads | jq -r '.return[] | ."thread-id"'; }
# vhost_workers PID: "TID in" for those that are QEMU's threads, "TID out" for those that are kernel threads of their own
vhost_workers() {
    local file name
    for file in /proc/"$1"/task/*/comm /proc/[0-9]*/comm; do
        read -r name 2>/dev/null <"$file" || continue
        [ "$name" = "vhost-$1" ] || continue
        file=${file%/comm}
        case $file in */task/*) echo "${file##*/} in" ;; *) echo "${file##*/} out" ;; esac
    done
}
# kernel_threads PID: "TID NAME" of kernel threads that work for a process, vhost workers excepted
kernel_threads() {
    local file name
    for file in /proc/[0-9]*/comm; do
        read -r name 2>/dev/null <"$file" || continue
        case $name in kvm-*[-/]"$1") file=${file%/comm}; echo "${file##*/} $name" ;; esac
    done
}

# cpu_list LIST...: its CPUs one by one, sorted, each once: "0-2,5" becomes "0 1 2 5"
cpu_list() {
    local part
    # shellcheck disable=SC2048
    for part in ${*//,/ }; do seq "${part%-*}" "${part#*-}"; done | sort -nu | paste -sd' '
}
# inside LIST OF: true when each CPU of the first list is one of the second
inside() {
    local cpu whole
    whole=" $(cpu_list "$2") "
    for cpu in $(cpu_list "$1"); do [[ $whole == *" $cpu "* ]] || return 1; done
}
# without LIST OF: CPUs of the first list that are not in the second
without() { comm -23 <(cpu_list "$1" | tr ' ' '\n' | sort) <(cpu_list "$2" | tr ' ' '\n' | sort) | sort -n | paste -sd,; }
# node_of_cpu CPU
node_of_cpu() { local link; for link in "/sys/devices/system/cpu/cpu$1"/node*; do echo "${link##*node}"; done; }
node_cpus() { cat "/sys/devices/system/node/node$1/cpulist"; }
siblings() { cat "/sys/devices/system/cpu/cpu$1/topology/thread_siblings_list"; }
shares_l3() { cat "/sys/devices/system/cpu/cpu$1/cache/index3/shared_cpu_list"; }

# huge_pages PID [SIZE_KB]: "NODE:PAGES ..." of its huge pages of that size, by numa_maps
huge_pages() {
    awk -v size="kernelpagesize_kB=${2:-2048}" '$NF == size && / huge / {
            for (i = 3; i < NF; i++) if ($i ~ /^N[0-9]+=/) { split(substr($i, 2), part, "="); sum[part[1]] += part[2] } }
        END { for (node in sum) printf "%s:%s ", node, sum[node] }' "/proc/$1/numa_maps" | tr ' ' '\n' | sed '/^$/d' | sort -n | paste -sd' '
}
# said NAME PATTERN: the first line of the guest's that is it, from what the pattern's \( \) holds
said() { tr -d '\r' <"$1.log" | sed -n "s/^guest: $2\$/\\1/p" | head -n 1; }
# guest_says NAME PATTERN: what the guest reports
guest_says() { check "guest $1 says: $2" eval "tr -d '\r' <$1.log | grep -qE '^guest: $2'" || { tr -d '
' <"$1.log" | sed -n 's/^guest: /    guest: /p'; }; }

# For the labs with PCI functions behind node 1's root ports:
driver() { basename "$(readlink "/sys/bus/pci/devices/$1/driver")"; }
functions() { cat "/sys/bus/pci/devices/$1/sriov_numvfs"; }
# function_of CLASS: the address of the first function of that class on node 1
function_of() {
    local device
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat "$device/class")" = "$1" ] && [ "$(cat "$device/numa_node")" = 1 ] || continue
        echo "${device##*/}"
        return
    done
}
# find_functions: sets nvme, card and interface (the card's), and tell_functions, with which a guest tells the functions beyond its
# board's own bus, with their nodes
find_functions() {
    # virtual functions can be made only where the card's driver runs
    modprobe virtio_pci || die "no module virtio_pci"
    modprobe virtio_net || die "no module virtio_net"
    nvme=$(function_of 0x010802) card=$(function_of 0x020000)
    [ -n "$nvme" ] && [ -n "$card" ] || die "no NVMe or no network card on node 1"
    wait_for 10 sh -c "ls /sys/bus/pci/devices/$card/virtio*/net/*"
    interface=$(basename "/sys/bus/pci/devices/$card"/virtio*/net/*)
    ip link set "$interface" up && ip link set "$interface" down # its queueing discipline comes with the first time
    machine=$(machine_state)                                     # with the card's interface, which takes its time
    # shellcheck disable=SC2016,SC2034
    tell_functions="vmrun.do=$(base64 -w0 <<'GUEST'
for device in /sys/bus/pci/devices/*; do
    case ${device##*/} in 0000:00:*) continue ;; esac
    driver=$(readlink $device/driver)
    say pci ${device##*/} class=$(cat $device/class) driver=${driver##*/} node=$(cat $device/numa_node)
done
GUEST
    )"
}
