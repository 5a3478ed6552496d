#!/bin/bash
# What a control group leaves of huge pages: the limits of its controller hugetlb, and memory.max where cgroup2 is mounted so that huge
# pages count (memory_hugetlb_accounting, Linux 6.6). A VM that has room starts and is charged; what has none is refused with what
# bounds it, before a page is taken, and page = "auto" takes others.
# lab: --all --kernel 6.12 --qemu 10.0
# lab: --all --kernel 6.1 --qemu 7.2
# fault: unbound vmrun is started outside of the group
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
top=/sys/fs/cgroup group=/sys/fs/cgroup/few
at_end+=("rmdir $group 2>/dev/null; echo '-memory -hugetlb' >$top/cgroup.subtree_control")
echo '+memory +hugetlb' >$top/cgroup.subtree_control
mkdir $group
rom_spec a <<'TOML'
name = "a"
[cpu]
count = 1
[memory]
size = "64M"
TOML
in_group() { bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"; }
# run, but in the group
run() {
    local name=$1 command=(in_group)
    shift
    ! fault unbound || command=()
    rm -f "$name.log" "$name.err"
    touch "$name.log"
    bash -c '[ -z "$0" ] || echo $$ >"$0/cgroup.procs"; exec vmrun run "$@"' "${command:+$group}" "$@" "$name.toml" >"$name.log" 2>"$name.err" </dev/null &
    keeper[$name]=$!
}
value() { cat "$group/$1"; }

# --- the controller hugetlb -------------------------------------------------------------------------------------------------------
echo 96M >$group/hugetlb.2MB.max
up a --set 'memory.page="2M"'
equal "charged to the group, of 2M pages" $((64 << 20)) "$(value hugetlb.2MB.current)"
refused "a second VM has not enough left there" 2 'memory.page: 64M in pages of 2M, but vmrun was allowed 32M of them.*hugetlb.2MB.max of cgroup /few' \
    in_group vmrun plan --set name=b --set 'memory.page="2M"' a.toml
check "and takes others where it may" eval 'in_group vmrun plan --set name=b a.toml | grep -q "memory.page = \"auto\" became 4K (no huge pages): vmrun was allowed 32M in pages of 2M"'
check "host tells it" eval 'in_group vmrun host | grep -q "32M of pages of 2M: hugetlb.2MB.max of cgroup /few"'
kill_vm a
as_before "the machine is as before"
echo 32M >$group/hugetlb.2MB.max
refused "refused before anything is done" 2 'memory.page: 64M in pages of 2M, but vmrun was allowed 32M of them' in_group vmrun run --set 'memory.page="2M"' a.toml
up a
equal "page = auto: no huge pages of its own" "" "$(huge_pages "${qemu[a]}")"
kill_vm a
echo max >$group/hugetlb.2MB.max
# Limits on what is reserved count as well
if [ -e $group/hugetlb.2MB.rsvd.max ]; then
    echo 32M >$group/hugetlb.2MB.rsvd.max
    refused "a limit on reservations" 2 'was allowed 32M of them.*hugetlb.2MB.rsvd.max of cgroup /few' in_group vmrun plan --set 'memory.page="2M"' a.toml
    echo max >$group/hugetlb.2MB.rsvd.max
fi

# --- memory.max, where huge pages count -------------------------------------------------------------------------------------------
echo 300M >$group/memory.max
check "without the option they do not count" in_group vmrun plan --set 'memory.page="2M"' --set 'memory.size="512M"' a.toml
if mount -o remount,memory_hugetlb_accounting $top 2>/dev/null && grep -q memory_hugetlb_accounting /proc/self/mountinfo; then
    before=$(value memory.current)
    up a --set 'memory.page="2M"'
    check "the VM's huge pages are charged to memory" test "$(($(value memory.current) - before))" -ge $((64 << 20))
    fact "memory.current with 64M of huge pages" "$(($(value memory.current) >> 20))M"
    kill_vm a
    refused "more than memory.max leaves, in huge pages" 2 'memory.size: 512M, but vmrun was allowed .*in base and huge pages: memory.max of cgroup /few' \
        in_group vmrun run --set 'memory.page="2M"' --set 'memory.size="512M"' a.toml
else
    fact "memory_hugetlb_accounting" "not in this kernel"
fi
end
