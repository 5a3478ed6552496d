#!/bin/bash
# What a SIGKILL leaves, `vmrun recover` puts back: 25 rounds of kill_campaign.sh, and the cases that it may not draw.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
{ rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "2M"\n'; rom_boot; } | spec a
sed 's/^\[cpu\]/name = "b"\n&/' "$work/a.toml" >"$work/b.toml"
take_pool
owner() { jq .pid "$VMRUN_RUN_DIR/$1/owner"; }
kill_keeper() { local pid; pid=$(owner "$1"); kill -KILL "$pid"; within 5 ended "$pid"; }
qemu_gone() { ! qemu_of "$1" >/dev/null; }

remember
"$vmrun" start "$work/a.toml" 2>/dev/null
kill_keeper a
check "QEMU ends with the vmrun that watches over it" within 5 qemu_gone a
is "list says what happened" "$("$vmrun" list --json | jq -r '.[0].phase')" crashed
is "the pages are still there" "$(our_pool)" 32
run_code "$vmrun" recover --json
is "recover" "$code" 0
is "it names the VM" "$(jq -c .recovered <<<"$out")" '["a"]'
as_before "as before"
run_code "$vmrun" recover
is "recover again: nothing to do" "$code" 0
as_before "as before"

"$vmrun" start "$work/a.toml" 2>/dev/null
"$vmrun" start "$work/b.toml" 2>/dev/null
kill_keeper a
run_code "$vmrun" recover
is "the crashed one's pages go back, those of the running one stay" "$(our_pool) $(pool_free)" "32 0"
check "the running one runs" test -n "$(qemu_of b)"
"$vmrun" kill b 2>/dev/null
as_before "as before"

"$vmrun" start "$work/a.toml" 2>/dev/null
kill_keeper a
run_code "$vmrun" start "$work/b.toml"
has "the next start puts back what the crash left" "$err" 'put back what a crash of VM a had left'
is "and only its own pages are there" "$(our_pool)" 32
"$vmrun" kill b 2>/dev/null
as_before "as before"

"$vmrun" start "$work/a.toml" 2>/dev/null
kill_keeper a
run_code "$vmrun" start "$work/a.toml"
is "a VM of the crashed one's name can be started at once" "$code" 0
"$vmrun" kill a 2>/dev/null
as_before "as before"

# somebody else changes the pool meanwhile: theirs stays
"$vmrun" start "$work/a.toml" 2>/dev/null
set_pool 42 # 32 of ours and 10 more
kill_keeper a
"$vmrun" recover 2>/dev/null
is "pages that an admin added while the VM ran stay" "$(our_pool)" 10
set_pool 0
as_before "as before"

# records that cannot be read are kept, told each time, and stop whoever would take something
mkdir "$VMRUN_RUN_DIR/torn"
printf '{"version":1,"begin":0,"undo":{"remo\n' >"$VMRUN_RUN_DIR/torn/journal"
printf '{"pid":1,"start":1}' >"$VMRUN_RUN_DIR/torn/owner"
for _ in 1 2; do
    run_code "$vmrun" recover
    is "a torn record is kept, and told" "$code" 3
    has "which" "$err$out" 'torn/journal: line 1: '
done
rm -r "$VMRUN_RUN_DIR/torn"
# a last line without its end is a step never begun
mkdir "$VMRUN_RUN_DIR/torn"
printf '{"version":1,"begin":0,"undo":{"remo' >"$VMRUN_RUN_DIR/torn/journal"
printf '{"pid":1,"start":1}' >"$VMRUN_RUN_DIR/torn/owner"
run_code "$vmrun" recover
is "a step never begun is put away" "$code" 0
as_before "as before"

if have_kvm; then
    status=0
    bash "$here/kill_campaign.sh" "$vmrun" 25 || status=$?
    is "25 rounds of SIGKILL" "$status" 0
else
    echo "note: no /dev/kvm: the campaign was left out"
fi
finish
