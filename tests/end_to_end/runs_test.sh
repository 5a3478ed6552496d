#!/bin/bash
# How a VM's runs end and what is left on record; what stands in the way of telling must not stand in the way of ending.
aside=1
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need python3

{ rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec deaf # hears no power button
linux() { # NAME WORDS
    { printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n'; boot "$2"; } | spec "$1"
}
linux off "vmrun.then=poweroff"
linux idle "vmrun.then=idle"
json() { "$vmrun" "$@" --json 2>/dev/null; }
phase() { json list | jq -r ".[] | select(.name == \"$1\") | .phase"; }
phase_is() { [ "$(phase "$1")" = "$2" ]; }
start() { "$vmrun" start "$work/$1.toml" 2>"$work/$1.err" || failed "start $1" "$(cat "$work/$1.err")"; }
keeper_of() { json list | jq -r ".[] | select(.name == \"$1\") | .pid"; }
remember

echo "--- how it ended"
start off
run_code "$vmrun" wait off --json
is "wait: a power-off" "$code $(jq -c '[.how, .exit_code]' <<<"$out")" '0 ["powered-off",0]'
run_code "$vmrun" wait off
is "wait for one that has ended: exit code" "$code" 0
has "it tells how" "$err" 'the guest powered off'
run_code "$vmrun" log off
has "log: the guest's last words, though nobody was connected" "$out" 'guest: ready'
is "log --json" "$(json log off | jq -r '.[-1].how')" powered-off
start deaf
"$vmrun" wait deaf --json >"$work/waited" 2>/dev/null &
waiting=$!
kill -KILL "$(qemu_of deaf)"
exits "wait: a SIGKILL from somebody: exit code" "$waiting" 20 1
is "and how" "$(jq -r .how "$work/waited")" killed
start deaf
"$vmrun" wait deaf --json >"$work/waited" 2>/dev/null &
waiting=$!
sleep 0.1
"$vmrun" kill deaf 2>/dev/null
exits "wait: vmrun kill was asked for: exit code" "$waiting" 20 0
is "and how" "$(jq -c '[.how, .asked]' "$work/waited")" '["killed",true]'
start deaf
kill -KILL "$(keeper_of deaf)"
run_code "$vmrun" wait deaf
is "wait: vmrun itself was killed: exit code" "$code" 1
has "it says so" "$err" 'its vmrun was killed'
"$vmrun" recover 2>/dev/null
has "list --all" "$("$vmrun" list --all)" '^off +ended +- the guest powered off'
is "list --all --json" "$(json list --all | jq -r '.[] | select(.name == "off") | .how')" powered-off
run_code "$vmrun" run --set 'extra_args=["-device","no-such-device"]' "$work/deaf.toml"
has "the error comes last" "$(tail -1 <<<"$err")" 'not a valid device model name'
hasnt "no command line without --verbose" "$err" '-name guest='
run_code "$vmrun" run --verbose --set 'extra_args=["-device","no-such-device"]' "$work/deaf.toml"
has "with it" "$err" '-name guest='
is "a start that failed is on record" "$(json log deaf | jq -r '.[-1].how')" not-started
run_code "$vmrun" log nobody
is "log of no VM" "$code" 1
as_before "as before"

echo "--- paused"
start deaf
"$vmrun" pause deaf 2>/dev/null
check "a paused VM is listed so" within 5 phase_is deaf paused
"$vmrun" resume deaf 2>/dev/null
check "and running again" within 5 phase_is deaf running
"$vmrun" kill deaf 2>/dev/null
run_in_background pid idle
says idle '^guest: ready' "$pid" 90 || failed "the guest gets ready" "$(cat "$work/idle.err")"
"$vmrun" pause idle 2>/dev/null
run_code "$vmrun" stop idle --timeout 120
has "stop of a paused VM lets it run first" "$err" 'was paused and runs again'
exits "and it ends: exit code of run" "$pid" 30 0
check "by the button" said idle '^guest: power button'
as_before "as before"

echo "--- open files"
bash -c "ulimit -Sn 64; exec '$vmrun' start '$work/deaf.toml'" 2>/dev/null
is "the soft limit of open files is the hard one, for QEMU as well" \
    "$(awk '/^Max open files/ { print $4 }' "/proc/$(qemu_of deaf)/limits")" "$(ulimit -Hn)"
"$vmrun" kill deaf 2>/dev/null
as_before "as before"

echo "--- a console that its keeper listens to is still anybody's"
start deaf
{ sleep 1; "$vmrun" reset deaf 2>/dev/null; sleep 1; } | timeout 20 "$vmrun" console deaf >"$work/console" 2>/dev/null &
check "vmrun console is served" within 10 grep -qa 'vmrun-rom' "$work/console"
"$vmrun" kill deaf 2>/dev/null
wait
as_before "as before"

echo "--- a console that somebody holds and does not read; a keeper that is stopped"
# It counts on its disk while it talks without end: the count is what the guest does, whatever becomes of its words.
truncate -s 1M "$work/count.img"
chatter='(while :; do echo and so on and so on and so on and so on and so on and so on; done) >/dev/console &
i=0; while :; do i=$((i + 1)); printf "%08d\\n" $i | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null; sleep 0.1; done'
{
    printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n'
    printf '[[disk]]\npath = "count.img"\nformat = "raw"\ncache = "writeback"\n'
    boot "vmrun.do=$(base64 -w0 <<<"$chatter")"
} | spec chatter
count() { echo $((10#0$(head -c 8 "$work/count.img" | tr -dc 0-9))); }
further() { [ "$(count)" -ge "$1" ]; }
counts_on() { within 30 further $(($(count) + 10)); }
run_size() { du -sk "$VMRUN_RUN_DIR/chatter" | cut -f1; }
start chatter
counting() { [ "$(count)" -gt 0 ]; }
within 90 counting || failed "the guest counts" "$(tail -3 "$work/chatter.err")"
size=$(run_size)
kill -STOP "$(keeper_of chatter)"
sleep 3 # its console's socket is full by then
check "the guest goes on while its keeper is stopped" counts_on
kill -CONT "$(keeper_of chatter)"
python3 -c 'import socket, sys, time
held = socket.socket(socket.AF_UNIX)
held.connect(sys.argv[1])
time.sleep(60)' "$VMRUN_RUN_DIR/chatter/console.sock" &
holder=$!
sleep 0.5
kill -USR2 "$(keeper_of chatter)" # as `vmrun console` asks for the console
sleep 3
check "and while a program holds its console and reads nothing" counts_on
kill "$holder"
check "the run directory has no more than the console's last words more" [ "$(run_size)" -le $((size + 16)) ]
"$vmrun" kill chatter 2>/dev/null
as_before "as before"

echo "--- nobody reads"
mkfifo "$work/pipe"
exec 8<>"$work/pipe" # holds it open; nobody reads
timeout 1 dd if=/dev/zero bs=4096 count=64 >&8 2>/dev/null || true
"$vmrun" run "$work/off.toml" >&8 2>/dev/null </dev/null 8>&- &
pid=$!
within 30 qemu_of off >/dev/null || true
within 60 bash -c "! [ -e '$VMRUN_RUN_DIR/off' ]" || failed "undone though nobody reads stdout" "$(ls "$VMRUN_RUN_DIR")"
exits "run with a blocked stdout ends: exit code" "$pid" 60 0
"$vmrun" start "$work/deaf.toml" >/dev/null 2>&8 8>&- &
exits "start with a blocked stderr: exit code" $! 30 0
"$vmrun" kill deaf 2>/dev/null
exec 8>&-
as_before "as before"

echo "--- a full file system, a directory that is gone"
mkdir "$work/small"
mount -t tmpfs -o size=512k,mode=755 none "$work/small"
at_end+=("umount '$work/small' 2>/dev/null || true")
export VMRUN_RUN_DIR=$work/small
for how in full gone; do
    run_in_background pid idle
    says idle '^guest: ready' "$pid" 90 || failed "$how: the guest gets ready" "$(cat "$work/idle.err")"
    if [ "$how" = full ]; then
        dd if=/dev/zero of="$work/small/filler" bs=4096 2>/dev/null || true
    else
        rm -r "$work/small/idle"
    fi
    kill -TERM "$pid"
    exits "$how: exit code" "$pid" 90 0
    check "$how: the guest saw the button" said idle '^guest: power button'
    check "$how: nothing is left of it" test ! -e "$work/small/idle"
    rm -f "$work/small/filler"
done
umount "$work/small"
export VMRUN_RUN_DIR=$work/run

echo "--- called off; the lock; signals"
exec 9>"$VMRUN_RUN_DIR/.lock"
flock 9
"$vmrun" start "$work/deaf.toml" >/dev/null 2>"$work/deaf.err" 9>&- &
pid=$!
check "waiting for the lock is told" within 10 grep -q 'waiting for another vmrun' "$work/deaf.err"
kill -INT "$pid"
exit_of "$pid" 10
check "Ctrl-C ends it (exit code $exit_code)" test "$exit_code" != late -a "$exit_code" != 0
flock -u 9
exec 9>&-
check "and its keeper" within 5 bash -c "! pgrep -f '^$vmrun start' >/dev/null"
as_before "as before"
for delay in 0.02 0.05 0.1 0.2 0.4; do
    "$vmrun" start "$work/deaf.toml" >/dev/null 2>"$work/deaf.err" &
    pid=$!
    sleep "$delay"
    if kill -INT "$pid" 2>/dev/null; then
        sleep 0.3
        kill -INT "$pid" 2>/dev/null || true
        exit_of "$pid" 20
        [ "$exit_code" = 0 ] || check "Ctrl-C after $delay s: nothing of it runs" test -z "$(qemu_of deaf || true)"
    fi
    "$vmrun" kill deaf 2>/dev/null || true
done
as_before "as before"
run_in_background pid idle
says idle '^guest: ready' "$pid" 90 || failed "the guest gets ready"
kill -XFSZ "$pid"
kill -TSTP "$pid"
sleep 0.2
is "Ctrl-Z stops no keeper" "$(stat_of "$pid" | tr S R)" R
kill -QUIT "$pid"
exits "SIGQUIT is a graceful stop: exit code" "$pid" 60 0
as_before "as before"
# what is left of one is put away by `kill`, which waits for the lock behind a start of that name: the new one is not touched
start deaf
kill -KILL "$(keeper_of deaf)"
within 5 bash -c "! pgrep -f 'guest=deaf,' >/dev/null" || true
exec 9>"$VMRUN_RUN_DIR/.lock"
flock 9
"$vmrun" start "$work/deaf.toml" >/dev/null 2>"$work/deaf.err" 9>&- &
starting=$!
sleep 0.7
"$vmrun" kill deaf >/dev/null 2>"$work/kill.err" 9>&- &
killing=$!
sleep 0.7
flock -u 9
exec 9>&-
exits "the start" "$starting" 30 0
exit_of "$killing" 30
check "kill acts only on the VM that it saw" test -n "$(qemu_of deaf || true)"
"$vmrun" kill deaf 2>/dev/null || true
as_before "as before"

# a name that is being claimed in this very instant has a directory, and no owner yet
exec 9>"$VMRUN_RUN_DIR/.lock"
flock 9
mkdir "$VMRUN_RUN_DIR/claimed"
"$vmrun" kill claimed >/dev/null 2>"$work/kill.err" 9>&- &
killing=$!
sleep 0.7
python3 -c 'import json, os, shutil, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
start = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
json.dump({"version": 2, "pid": os.getpid(), "start": start}, open(sys.argv[1] + "/owner", "w"))
while signal.SIGTERM not in signal.sigpending(): time.sleep(0.05)
shutil.rmtree(sys.argv[1])' "$VMRUN_RUN_DIR/claimed" 9>&- &
claiming=$!
within 10 test -s "$VMRUN_RUN_DIR/claimed/owner" || true
flock -u 9
exec 9>&-
exits "kill of a VM that is being claimed: its keeper is told" "$claiming" 20 0
exits "and then it is over: exit code" "$killing" 20 0
kill -KILL "$claiming" 2>/dev/null || true
as_before "as before"

echo "--- what a command reads and writes may be anything"
mkfifo "$work/nobody" "$work/unread"
timeout 60 "$vmrun" import "$work/nobody" >/dev/null 2>&1 </dev/null &
importing=$!
run_code timeout 20 "$vmrun" metrics --textfile "$work/unread"
is "metrics to a FIFO nobody reads: exit code" "$code" 1
has "it says so" "$err" 'nobody reads what is written there'
run_code timeout 20 "$vmrun" lock -o "$work/unread" "$work/deaf.toml"
is "lock to it: exit code" "$code" 1
check "it is a FIFO still" test -p "$work/unread"
mkdir "$work/tiny"
mount -t tmpfs -o size=8k,mode=755 none "$work/tiny"
at_end+=("umount '$work/tiny' 2>/dev/null || true")
echo before >"$work/tiny/a.lock"
run_code "$vmrun" lock -o "$work/tiny/a.lock" "$work/deaf.toml"
is "lock to a full file system: exit code" "$code" 1
is "what was there is there" "$(cat "$work/tiny/a.lock")" before
is "and nothing else" "$(ls "$work/tiny")" a.lock
run_code "$vmrun" start --record "$work/tiny" "$work/deaf.toml"
is "a record for which there is no room costs no guest: exit code" "$code" 0
has "it is told" "$err" 'write .*/tiny/deaf-[0-9]+.json'
"$vmrun" kill deaf 2>/dev/null
umount "$work/tiny"
exits "import of a FIFO nobody writes to: exit code" "$importing" 30 2
as_before "as before"

echo "--- the caller's umask"
{ printf 'name = "masked"\n'; rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n[cloud_init]\n'; rom_boot; } | spec masked
for mask in 000 077 777; do
    (
        umask $mask
        VMRUN_STATE_DIR=$work/state-$mask VMRUN_CACHE_DIR=$work/cache-$mask "$vmrun" start "$work/masked.toml" 2>"$work/masked.err"
    ) || failed "umask $mask: it starts" "$(tail -1 "$work/masked.err")"
    is "umask $mask: nobody else writes to what is kept and believed" \
        "$(find "$work/state-$mask" "$work/cache-$mask" "$VMRUN_RUN_DIR" ! -type l -perm /022 -printf '%P ')" ''
    is "umask $mask: its owner can" "$(find "$work/state-$mask" "$VMRUN_RUN_DIR" -type d ! -perm -700 -printf '%P ')" ''
    "$vmrun" kill masked 2>/dev/null || true
done
as_before "as before"

echo "--- what QEMU says without end"
cat >"$work/talker" <<TALK
#!/bin/bash
case " \$* " in *' -M none '*) ;; *) for ((i = 0; i < 20000; i++)); do echo "line \$i of what a guest makes it say, and say again"; done >&2 2>/dev/null & ;; esac
exec "${qemus[0]}" "\$@"
TALK
chmod 755 "$work/talker"
use_qemu "$work/talker"
start deaf
sleep 2
largest=$(stat -c %s "$VMRUN_RUN_DIR/deaf/qemu.log")
check "its log stays below 256K ($largest bytes)" test "$largest" -le 262144
has "and says what is missing" "$(cat "$VMRUN_RUN_DIR/deaf/qemu.log")" '^\[vmrun: [0-9]+ bytes were cut here'
"$vmrun" kill deaf 2>/dev/null
has "as does vmrun log" "$("$vmrun" log deaf)" 'qemu.log: [0-9]+ bytes were cut'
use_qemu "${qemus[0]}"
as_before "as before"

echo "--- nothing of who starts it"
mkdir "$work/mounted"
mount -t tmpfs none "$work/mounted"
exec 9>"$work/held"
flock 9
(cd "$work/mounted" && VMRUN_TEST_TOKEN=secret "$vmrun" start "$work/deaf.toml" 2>/dev/null)
exec 9>&-
check "a lock that its caller held is free" flock -n "$work/held" true
check "and its caller's directory can be unmounted" umount "$work/mounted"
is "QEMU's environment" "$(environment "/proc/$(qemu_of deaf)" | sed 's/=.*//' | sort | xargs)" 'LANG PATH VMRUN_VM'
is "QEMU's directory" "$(readlink "/proc/$(qemu_of deaf)/cwd")" /
"$vmrun" kill deaf 2>/dev/null
as_before "as before"

run_code "$vmrun" log deaf --timings
has "the stages of its starts" "$out" '^QEMU up +[0-9.]+'
has "and all of them together" "$out" '^in all +[0-9.]+'
is "in microseconds, for a program" "$("$vmrun" log deaf --json | jq -r '.[-1].timings | (length > 5) and all(.us >= 0 and .stage != "")')" true

echo "--- words of the environment that QEMU, its helpers and their libraries would heed"
mkdir -p "$work/shared" "$work/state"
virtiofsd=$(command -v virtiofsd || find /usr/libexec /usr/lib/qemu -maxdepth 1 -name virtiofsd 2>/dev/null | head -n 1) || true
{
    cat "$work/deaf.toml"
    if command -v passt >/dev/null; then printf '[[net]]\nmode = "passt"\n'; fi
    if command -v swtpm >/dev/null; then printf '[tpm]\n'; fi
    if [ -n "$virtiofsd" ]; then printf '[[share]]\npath = "%s"\ntag = "shared"\n' "$work/shared"; fi
} >"$work/poisoned.toml"
env TZ=XXX-5 TMPDIR=/nowhere XDG_RUNTIME_DIR=/nowhere XDG_CONFIG_HOME=/nowhere HOME=/nowhere LC_ALL=xx_XX LANGUAGE=xx QEMU_AUDIO_DRV=sdl \
    QEMU_MODULE_DIR=/nowhere G_MESSAGES_DEBUG=all G_SLICE=debug-blocks GLIBC_TUNABLES=glibc.malloc.perturb=165 MALLOC_PERTURB_=165 \
    SSLKEYLOGFILE="$work/keys" OPENSSL_CONF=/nowhere HWLOC_SYNTHETIC=pu:1 RUST_LOG=trace RUST_BACKTRACE=full SWTPM_PKCS11_PIN=1 \
    http_proxy=http://nowhere NOTIFY_SOCKET=/nowhere LISTEN_FDS=3 VMRUN_TEST_TOKEN=secret "$vmrun" start --set name=poisoned "$work/poisoned.toml" 2>"$work/poisoned.err" ||
    failed "a VM in a poisoned environment starts" "$(cat "$work/poisoned.err")"
served=0
for file in $(grep -lzsF -e "VMRUN_VM=$VMRUN_RUN_DIR/poisoned" /proc/[0-9]*/environ); do
    program=$(readlink "${file%/environ}/exe")
    is "the environment of ${program##*/}" "$(environment "${file%/environ}" | sort | xargs)" \
        "LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TZ=XXX-5 VMRUN_VM=$VMRUN_RUN_DIR/poisoned"
    served=$((served + 1))
done
wanted=$((1 + $(grep -cE '^(\[tpm\]|\[\[share\]\]|mode = "passt")' "$work/poisoned.toml")))
check "QEMU and each helper were looked at ($served of $wanted)" test "$served" -ge "$wanted"
check "no keys were written down for a reader" test ! -e "$work/keys"
"$vmrun" kill poisoned 2>/dev/null
"$vmrun" forget poisoned 2>/dev/null || true
as_before "as before"

echo "--- ordinary memory is promised once"
room=$((($("$vmrun" host --json | jq '.host.nodes[0].memory_free') >> 20) - 512))
size=$((room * 7 / 10))M
"$vmrun" start --set name=first --set "memory.size='$size'" "$work/deaf.toml" 2>/dev/null
run_code "$vmrun" start --set name=second --set "memory.size='$size'" "$work/deaf.toml"
is "a second VM of 70 % of the node: exit code" "$code" 2
has "who has it" "$err" "node 0 has [0-9]+M memory, this VM needs $size \(held by first \($size\)\)"
less=$(sed -n 's/.*help: set size = "\([0-9]*\)M" or less.*/\1/p' <<<"$err")
run_code "$vmrun" start --set name=second --set "memory.size='$((less - 256))M'" "$work/deaf.toml" # others take some meanwhile
is "what the help says can be had" "$code" 0
"$vmrun" kill first 2>/dev/null || true
"$vmrun" kill second 2>/dev/null || true
as_before "as before"
finish
