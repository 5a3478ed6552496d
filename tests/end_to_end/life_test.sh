#!/bin/bash
# A VM's life by its verbs: start, list, show, pause, resume, reset, qmp, console, stop, kill, wait; signals; terminals; exit codes.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need script

linux() { # NAME WORDS
    { printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n'; boot "$2"; } | spec "$1"
}
linux idle "vmrun.then=idle"
linux shell "vmrun.then=shell"
linux off "vmrun.then=poweroff"
linux panic "vmrun.then=panic"
{ rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec deaf # hears no power button
json() { "$vmrun" "$@" --json 2>/dev/null; }
runs_as_running() { [ "$(json list | jq -r ".[] | select(.name == \"$1\") | .phase")" = running ]; }
state_of() { json qmp "$1" query-status | jq -r .status; }
remember

echo "--- verbs"
run_code "$vmrun" start --timings "$work/deaf.toml"
is "start" "$code" 0
has "start tells QEMU's pid" "$err" 'VM deaf runs: QEMU pid [0-9]+'
has "--timings" "$err" 'in all +[0-9.]+ ms'
child=$(qemu_of deaf)
is "list --json" "$(json list | jq -c '[.[] | [.name, .phase, .qemu]]')" "[[\"deaf\",\"running\",$child]]"
has "list" "$("$vmrun" list)" "^deaf +running +$child"
is "show --json: every thread of the kernel's is told" "$(json show deaf | jq -c '[.threads[].tid] | sort')" \
    "[$(find "/proc/$child/task" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | paste -sd,)]"
for tid in $(json show deaf | jq '.threads[].tid'); do
    told=$(json show deaf | jq -r ".threads[] | select(.tid == $tid) | .actual")
    real=$(awk '/^Cpus_allowed_list:/ { print $2 }' "/proc/$child/task/$tid/status" 2>/dev/null || echo gone)
    [ "$told" = "$real" ] || [ "$real" = gone ] || failed "show: CPUs of thread $tid" "told $told, kernel says $real"
done
run_code "$vmrun" show deaf
has "show names the vCPU" "$out" ' vcpu 0 '
is "pause --json" "$(json pause deaf | jq -r .done)" paused
is "QEMU says so" "$(state_of deaf)" paused
is "resume --json" "$(json resume deaf | jq -r .done)" resumed
is "QEMU says so" "$(state_of deaf)" running
is "reset --json" "$(json reset deaf | jq -r .done)" reset
is "qmp with JSON" "$(json qmp deaf '{"execute": "query-name"}' | jq -r .name)" deaf
run_code "$vmrun" qmp deaf no-such-command
is "qmp: a command there is none of: exit code" "$code" 1
run_code "$vmrun" qmp deaf '{"no": "json'
is "qmp: no JSON: exit code" "$code" 2
run_code "$vmrun" start "$work/deaf.toml"
is "a second VM of the name: exit code" "$code" 2
has "it is told" "$err" "a VM 'deaf' runs already"
run_code "$vmrun" start --json "$work/deaf.toml"
check "as JSON" jq -e 'length > 0' <<<"$out" >/dev/null
run_code "$vmrun" wait deaf --timeout 0.2
is "wait --timeout: exit code" "$code" 1
"$vmrun" wait deaf --json >"$work/waited" 2>&1 &
waiting=$!
begun=${EPOCHREALTIME/[.,]/}
run_code "$vmrun" stop deaf --timeout 0.5
took=$(((${EPOCHREALTIME/[.,]/} - begun) / 1000))
is "stop of a guest that ignores the button: exit code" "$code" 0
has "the ladder is told" "$err" 'did not power down in time: told QEMU to quit'
check "after the timeout and not much later ($took ms)" test "$took" -ge 500 -a "$took" -lt 4000
exits "wait ends, too" "$waiting" 5 0
is "wait --json" "$(jq -c '[.name, .ended, .asked, .how]' "$work/waited")" '["deaf",true,true,"quit"]'
as_before "as before"
"$vmrun" start "$work/deaf.toml" 2>/dev/null
is "kill --json" "$(json kill deaf | jq -r .done)" killed
as_before "as before"
for verb in show stop kill pause resume reset console wait; do
    run_code "$vmrun" "$verb" nobody
    [ "$code" = 1 ] && grep -q "no VM 'nobody'" <<<"$err" || failed "$verb of no VM" "exit $code: $err"
done
passed "verbs on a VM that is not there"

echo "--- callers that closed what everybody has open, and a standard output that takes nothing"
truncate -s 4K "$work/closed.img"
{
    rom_accel
    printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n[[disk]]\npath = "closed.img"\nformat = "raw"\n'
    rom_boot
} | spec closed
for verb in run start; do
    "$vmrun" $verb "$work/closed.toml" <&- >&- 2>&- &
    caller=$!
    within 20 runs_as_running closed || failed "$verb without 0, 1 and 2: it runs"
    keeper=$(jq .pid "$VMRUN_RUN_DIR/closed/owner")
    # none of them is a file of ours or of anybody's: what is said would be written there
    is "$verb without 0, 1 and 2: what it has in their place" \
        "$(for fd in 0 1 2; do readlink "/proc/$keeper/fd/$fd"; done | sort -u)" /dev/null
    "$vmrun" kill closed 2>/dev/null
    wait "$caller" || true
    check "$verb: the image has none of its words" cmp -s "$work/closed.img" <(head -c 4096 /dev/zero)
done
as_before "as before"
for words in "list --json" "plan $work/deaf.toml" "schema" "--version" "--help" "man"; do
    # shellcheck disable=SC2086 # words
    code=0 && err=$("$vmrun" $words 2>&1 >/dev/full) || code=$?
    is "$words to a full disk: exit code" "$code" 1
    has "it is told" "$err" 'standard output: No space left on device'
done
if (ulimit -n 24 && prlimit --nofile=32768:32768 true) 2>/dev/null; then
    (ulimit -n 24 && exec "$vmrun" start "$work/deaf.toml") 2>/dev/null || failed "start with 24 files: exit code" $?
    check "start with 24 files: QEMU may open as many as libvirt's" \
        test "$(awk '/^Max open files/ { print $4 }' "/proc/$(qemu_of deaf)/limits")" -ge 32768
    "$vmrun" kill deaf 2>/dev/null
else
    echo "skipped: no right to raise a limit here (CAP_SYS_RESOURCE); tests/lab/storage.sh has it"
fi
code=0 && err=$("$vmrun" list 2>&1 >&-) || code=$?
is "list without a standard output: exit code" "$code" 1
run_code bash -c "'$vmrun' man | head -1"
is "a reader that has enough is no error" "$code $err" "0 "

echo "--- graceful ends"
for how in stop INT TERM HUP; do
    run_in_background pid idle
    says idle '^guest: ready' "$pid" 60 || failed "guest gets ready" "$(cat "$work/idle.err")"
    if [ "$how" = stop ]; then run_code "$vmrun" stop idle; else kill -s "$how" "$pid"; fi
    exits "$how: exit code of run" "$pid" 30 0
    check "$how: the guest saw the button" said idle '^guest: power button'
    as_before "$how: as before"
done
run_in_background pid deaf
says deaf 'vmrun-rom up' "$pid" 30 || true
kill -INT "$pid"
within 5 grep -q 'asked the guest to power down' "$work/deaf.err" || failed "the first INT asks"
kill -INT "$pid"
exit_of "$pid" 5
check "the second INT kills (exit code $exit_code)" test "$exit_code" != late
has "and is told" "$(cat "$work/deaf.err")" 'killed on the second Ctrl-C'
as_before "as before"
run_in_background pid deaf --stop-timeout 0.5
says deaf 'vmrun-rom up' "$pid" 30 || true
kill -TERM "$pid"
exits "--stop-timeout: exit code" "$pid" 5 0
as_before "as before"
# called off while it starts
for delay in 0.01 0.03 0.05; do
    run_in_background pid deaf
    sleep "$delay"
    kill -INT "$pid"
    sleep 0.1
    kill -INT "$pid" 2>/dev/null || true
    exit_of "$pid" 10
    check "Ctrl-C after $delay s: it ends (exit code $exit_code)" test "$exit_code" != late
    as_before "as before"
done

echo "--- ends by itself"
run_code "$vmrun" "$work/off.toml"
is "bare vmrun SPEC: exit code" "$code" 0
run_code "$vmrun" run --json "$work/off.toml"
is "run --json: events" "$(jq -rc .event <<<"$out" | paste -sd,)" running,ended
is "run --json: the reason" "$(jq -r 'select(.event == "ended") | .reason' <<<"$out")" "the guest powered off"
# this guest has no pvpanic driver, so nobody hears of its panic: what is left of it can still be ended
run_in_background pid panic
says panic '^guest: ready' "$pid" 60 || failed "the panicking guest gets ready"
run_code "$vmrun" stop --timeout 1 panic
is "a guest that has panicked: stop" "$code" 0
exits "a guest that has panicked: exit code of run" "$pid" 10 0
as_before "as before"
run_in_background pid deaf
says deaf 'vmrun-rom up' "$pid" 30 || true
kill -KILL "$(qemu_of deaf)"
exits "QEMU killed by somebody: exit code" "$pid" 10 1
has "and it is told" "$(cat "$work/deaf.err")" 'killed by signal 9'
as_before "as before"

echo "--- exit codes and messages"
for words in "" "frobnicate" "run" "run --no-such-option x" "run a.toml b.toml" "stop"; do
    # shellcheck disable=SC2086
    run_code "$vmrun" $words
    [ "$code" = 2 ] || failed "usage error '$words'" "exit $code"
done
passed "usage errors end with 2"
run_code "$vmrun" run "$work/none.toml"
is "a spec that is not there: exit code" "$code" 2
run_code "$vmrun" run --set memory.size=banana "$work/deaf.toml"
is "--set with a bad value: exit code" "$code" 2
has "it names the option" "$err" 'memory\.size'
run_code "$vmrun" run --set 'extra_args=["-device","no-such-device"]' "$work/deaf.toml"
is "QEMU refuses its command line: exit code" "$code" 1
has "QEMU's own words are shown" "$err" "no-such-device"
as_before "as before"
is "--set overrides" "$("$vmrun" plan --json --set memory.size=128M "$work/deaf.toml" | jq -r '.placement.cells[0].size')" 128M

echo "--- streams"
"$vmrun" run "$work/off.toml" <&- >"$work/closed.out" 2>/dev/null &
exits "stdin closed: exit code" $! 60 0
check "its console is whole" grep -q '^guest: ready' "$work/closed.out"
begun=$SECONDS
{ timeout 60 "$vmrun" run "$work/off.toml" 2>/dev/null </dev/null; echo $? >"$work/code"; } | head -1 >/dev/null
check "stdout closed early does not hang it ($((SECONDS - begun)) s, exit code $(cat "$work/code"))" test "$(cat "$work/code")" != 124
as_before "as before"
run_code "$vmrun" plan "$work/deaf.toml"
hasnt "plan to a file has no escapes" "$out$err" $'\x1b'
run_code "$vmrun" run --set memory.size=banana "$work/deaf.toml"
hasnt "nor have errors" "$out$err" $'\x1b'
# on_terminal COMMAND: its output, run on a pty
on_terminal() { TERM=xterm script -qec "$1" /dev/null </dev/null 2>&1 || true; }
bad="$vmrun run --set memory.size=banana $work/deaf.toml"
has "errors on a terminal are coloured" "$(on_terminal "$bad")" $'\x1b\\['
hasnt "but not with NO_COLOR" "$(on_terminal "NO_COLOR=1 $bad")" $'\x1b'
hasnt "nor on a dumb terminal" "$(on_terminal "TERM=dumb $bad")" $'\x1b'
take_pool
has "starting shows its progress on a terminal" "$(on_terminal "$vmrun start --set memory.page=2M $work/deaf.toml")" $'\r\x1b\\[K'
"$vmrun" kill deaf 2>/dev/null || failed "kill"
set_pool 0

echo "--- consoles"
mkfifo "$work/keys"
TERM=xterm script -qfec "$vmrun run $work/shell.toml" /dev/null <"$work/keys" >"$work/pty" 2>&1 &
pid=$!
exec 7>"$work/keys"
within 60 grep -qa 'guest# ' "$work/pty" || failed "the shell's prompt on a terminal" "$(cat "$work/pty")"
printf 'echo 6 times 7 is $((6 * 7))\r' >&7
check "the guest's shell takes input" within 20 grep -qa '6 times 7 is 42' "$work/pty"
within 20 test "$(grep -ca 'guest# ' "$work/pty")" -ge 1
printf 'exit\r' >&7
exits "leaving the shell powers off: exit code" "$pid" 30 0
exec 7>&-
as_before "as before"

"$vmrun" start "$work/shell.toml" 2>/dev/null || failed "start"
: >"$work/pty"
TERM=xterm script -qfec "$vmrun console shell" /dev/null <"$work/keys" >"$work/pty" 2>&1 &
pid=$!
exec 7>"$work/keys"
within 60 grep -qa 'guest# ' "$work/pty" || { printf '\r' >&7; within 10 grep -qa 'guest# ' "$work/pty" || failed "vmrun console shows the prompt" "$(cat "$work/pty")"; }
printf 'echo 7 times 7 is $((7 * 7))\r' >&7
check "vmrun console takes input" within 20 grep -qa '7 times 7 is 49' "$work/pty"
printf '(sleep 1; echo 3 cubed is $((3 * 3 * 3))) &\r' >&7
within 5 grep -qa '3 cubed' "$work/pty"
printf '\035' >&7
exits "Ctrl-] leaves: exit code" "$pid" 5 0
is "on a line of its own" "$(grep -av 'Script done' "$work/pty" | tail -c 2 | od -An -c | tr -d ' ')" '\r\n'
exec 7>&-
check "and the VM runs on" test -n "$(qemu_of shell)"
sleep 3
: >"$work/pty"
TERM=xterm script -qfec "$vmrun console shell" /dev/null <"$work/keys" >"$work/pty" 2>&1 &
pid=$!
exec 7>"$work/keys"
check "what was said meanwhile is shown to who comes back" within 5 grep -qa '3 cubed is 27' "$work/pty"
printf '\035' >&7
exits "and leaves again" "$pid" 5 0
exec 7>&-
: >"$work/pty"
TERM=xterm script -qfec "$vmrun run $work/idle.toml" /dev/null <"$work/keys" >"$work/pty" 2>&1 &
pid=$!
exec 7>"$work/keys"
within 60 grep -qa 'guest: ready' "$work/pty" || failed "second VM gets ready"
printf '\003' >&7
exits "Ctrl-C on the terminal is a graceful stop: exit code" "$pid" 30 0
check "the guest saw the button" grep -qa 'guest: power button' "$work/pty"
exec 7>&-
"$vmrun" kill shell 2>/dev/null
as_before "as before"
finish
