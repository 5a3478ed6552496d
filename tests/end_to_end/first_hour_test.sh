#!/bin/bash
# What a newcomer types: a real Debian from its image to a shell, by two commands; then exec, copy, [guest] and a power-down. An emulated
# one needs minutes of CPU time, so it is booted where that is asked for, and in CI: VMRUN_FIRST_HOUR=1, Debian 13 by BIOS, to its prompt
# on each QEMU, and all the rest on one; =DISTRO:FIRMWARE[:VERSION] such as debian12:uefi:10.0, that one; =all, two Debians by both
# firmwares on every QEMU, and a reboot inside.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
unasked=$([ -n "${VMRUN_FIRST_HOUR:-}" ] || echo 1)
VMRUN_FIRST_HOUR=${VMRUN_FIRST_HOUR:-${CI:+1}}
[ -n "$VMRUN_FIRST_HOUR" ] || skip "an emulated Debian needs minutes to boot: VMRUN_FIRST_HOUR=1 does it"
need ssh ssh-keygen qemu-img fsck.fat mcopy blkid tmux

cases=()
case $VMRUN_FIRST_HOUR in
    1) cases=(debian13:bios:10.0 debian13:bios:7.2:brief debian13:bios:11.1:brief) ;;
    all) for one in {debian13,debian12}:{bios,uefi}; do for qemu in "${qemus[@]}"; do cases+=("$one:$(version_of "$qemu")"); done; done ;;
    *) cases=("$VMRUN_FIRST_HOUR") ;;
esac
# qemu_for VERSION: the one that is named so, else the first
qemu_for() {
    local qemu
    for qemu in "${qemus[@]}"; do if [ "$(version_of "$qemu")" = "$1" ]; then echo "$qemu"; return; fi; done
    echo "${qemus[0]}"
}

cd "$work" || exit
# in_guest COMMAND...: nothing is asked, and ssh's own settings are not looked at
in_guest() { "$vmrun" ssh web "$@" </dev/null 2>"$work/ssh.err"; }

# A terminal of 80 columns, in which a newcomer types; what is on it, and what was.
typed=0
terminal() { tmux -S "$work/tmux" "$@"; }
screen() { terminal capture-pane -p -S - -t hour; }
shows() { screen | grep -qE "$1"; }
type_in() {
    typed=$((typed + 1))
    terminal send-keys -t hour -l "$1"
    terminal send-keys -t hour Enter
}
at_end+=("terminal kill-server 2>/dev/null || true")

# what the guest's half is asked for, beside guide 004's sysctls; and what a drift of each looks like
half() {
    printf '[guest]\nsysctls = ["guide 004", "kernel.panic = 7"]\nrq_affinity = 2\nhaltpoll = 50000\nswappiness = 10\nhugepages = 3\n'
    printf 'transparent_hugepages = "never"\nirqs = "1"\nmtu = 1400\n'
}
drift_all() {
    cat <<'GUEST'
for name in rmem_max wmem_max rmem_default wmem_default netdev_max_backlog somaxconn; do echo 54321 >/proc/sys/net/core/$name; done
for name in tcp_rmem tcp_wmem; do echo 4096 8192 65536 >/proc/sys/net/ipv4/$name; done
echo 8 >/proc/sys/kernel/panic
echo 1 >/sys/block/vda/queue/rq_affinity
echo 40000 >/sys/module/haltpoll/parameters/guest_halt_poll_ns
echo 61 >/proc/sys/vm/swappiness
echo 2 >/proc/sys/vm/nr_hugepages
echo always >/sys/kernel/mm/transparent_hugepage/enabled
for card in /sys/class/net/e*; do echo 1300 >$card/mtu; for irq in $card/device/../msi_irqs/*; do echo 0 >/proc/irq/${irq##*/}/smp_affinity_list; done; done
GUEST
}
inside() { { "$vmrun" verify web --json || true; } | jq -r --arg is "$1" '.rows[] | select(.outcome == $is and (.where | endswith(" of the guest"))) | .what' | sort; }
# what this guest's kernel has not, which is told, and what else must be held
lacks() { [ "$distro" != debian12 ] || echo guest_halt_poll_ns; }
all_held() { [ "$(inside held | wc -l)" = $((17 - $(lacks | wc -l))) ]; }

for one in "${cases[@]}"; do
    IFS=: read -r distro firmware wanted brief <<<"$one"
    image=$("$root/scripts/guest" --distro "$distro")/disk.qcow2 || { [ -z "$unasked" ] || skip "no image of $distro can be made here"; missing "the image of $distro"; }
    qemu=$(qemu_for "$wanted")
    version="$distro, $firmware, QEMU $(version_of "$qemu")"
    echo "--- $version"
    use_qemu "$qemu"
    before=$(stat -c '%Y %s %i' "$image")
    remember
    SECONDS=0 typed=0

    if [ "$firmware" = bios ] && [ "$distro" = debian13 ]; then
        terminal -f /dev/null new-session -d -s hour -x 80 -y 24 "env PS1='host> ' PATH='$work:$PATH' bash --norc --noprofile"
        check "a terminal is there" within 30 shows '^host>'
        type_in "vmrun new web --image $image --size 5G --memory 1G --cpus 2 --user ann --start"
        type_in "vmrun ssh --timeout 1200 web" # typed ahead
        check "$version: two commands from an image to the guest's prompt" within 1200 shows '^ann@web:~\$ *$'
        is "that is all that was typed" "$typed" 2
        terminal send-keys -t hour 'tty; exit' Enter
        check "the prompt is a terminal's; it ends where it began" within 60 shows '^host> *$'
        has "which is all in the recording" "$(screen)" '^/dev/pts/'
        hasnt "and nothing was asked" "$(screen)" '\(yes/no|password|passphrase'
        [ -d "$VMRUN_RUN_DIR/web" ] && code=0 err='' || code=1 err=$(screen)
        terminal kill-server
    else # with what else there is to a spec
        "$vmrun" new web --image "$image" --size 5G --memory 1G --cpus 2 --user ann 2>/dev/null
        { half; [ "$firmware" = bios ] || printf '[boot]\nfirmware = "uefi"\n'; } >>web.toml
        way=$([ "$distro" = debian12 ] && echo agent || echo ssh)
        run_code "$vmrun" start --set "ready=$way" --set ready_timeout=1200 web.toml
        has "$version: ready by $way" "$err" "is ready: its $([ $way = ssh ] && echo sshd || echo agent) answers"
    fi
    is "$version: it starts" "$code" 0
    [ "$code" = 0 ] || { echo "$err"; finish; }
    out=$("$vmrun" ssh --timeout 1200 web hostname </dev/null 2>"$work/ssh.err") || true
    is "$version: \`vmrun ssh\`, the second command, is in" "$out" web
    [ "$out" = web ] || { cat "$work/ssh.err"; "$vmrun" qmp web query-status; finish; }
    echo "note  $SECONDS s from an image to a shell, emulated"

    is "as the user that was asked for" "$(in_guest id -un)" ann
    if [ -n "$brief" ]; then
        check "it powers down when asked to" "$vmrun" stop web
        is "the image is as it was" "$(stat -c '%Y %s %i' "$image")" "$before"
        as_before "everything is put back"
        rm -rf web.toml web.qcow2 "$work/state"
        continue
    fi
    is "who may become root" "$(in_guest sudo -n id -u)" 0
    is "the host key was known beforehand" "$(cat "$work/ssh.err")" ""
    code=0; in_guest exit 7 || code=$?
    is "the exit code is the command's" "$code" 7
    is "stdin is the command's" "$(echo 'a  b' | "$vmrun" ssh web cat)" "a  b"
    has "cloud-init is content" "$(in_guest cloud-init status --wait || true)" '^status: done'
    has "it read the volume" "$(in_guest cat /run/cloud-init/result.json)" 'DataSourceNoCloud \[seed=/dev/vd'
    size=$(in_guest df --output=size -BM / | tail -n 1 | tr -dc 0-9)
    check "the disk grew to what was asked for ($size MiB)" [ "${size:-0}" -gt 4500 ]

    pid=$(qemu_of web)
    fd=$(find "/proc/$pid/fd" -lname '*vmrun volume CIDATA*' | head -n 1)
    cp "$fd" "$work/cidata"
    check "fsck.fat has nothing to say of the volume" fsck.fat -n "$work/cidata" >/dev/null
    is "blkid finds it by its label" "$(blkid -p -o value -s LABEL "$work/cidata") $(blkid -p -o value -s TYPE "$work/cidata")" "CIDATA vfat"
    has "mtools reads it" "$(mcopy -n -i "$work/cidata" ::meta-data - 2>&1)" '"local-hostname":"web"'
    secret=$(sed -n 2p "$work/state/web/ssh/host_key")
    hasnt "no key on QEMU's command line" "$(tr '\0' '\n' <"/proc/$pid/cmdline")" "$secret|$(cut -d' ' -f2 "$work/state/web/ssh/id.pub")"
    is "nor in the record of its plan" "$(grep -cF "$secret" "$work/run/web/plan.json" || true)" 0

    run_code "$vmrun" exec web -- sh -c 'echo "out put"; echo oops >&2; exit 3'
    is "exec by the agent: its exit code" "$code" 3
    is "its stdout" "$out" "out put"
    is "its stderr" "$err" oops
    is "its stdin" "$(printf 'one\ntwo\n' | "$vmrun" exec --stdin web -- wc -l)" 2
    is "as root" "$("$vmrun" exec web -- id -u)" 0
    in_guest sudo systemctl stop qemu-guest-agent || true
    run_code "$vmrun" exec web -- sh -c 'echo "out  put"; exit 4'
    is "exec by ssh, where no agent answers" "$code $out" "4 out  put"
    in_guest sudo systemctl start qemu-guest-agent || true

    mkdir -p "$work/some dir" && printf 'x\0y' >"$work/some dir/file"
    check "copy a directory there" "$vmrun" copy "$work/some dir" web:/tmp/
    check "and back" "$vmrun" copy "web:/tmp/some dir" "$work/back"
    check "the same bytes" cmp "$work/some dir/file" "$work/back/file"
    check "ready, as wait has it" "$vmrun" wait web --ready --timeout 10 2>/dev/null

    if grep -q '^\[guest\]' web.toml; then
        check "all of [guest] is held" within 100 all_held
        is "and nothing is lost but what the kernel has not" "$(inside lost)" "$(lacks)"
        has "systemd had it before anybody used the guest" "$(in_guest sudo cat /run/credentials/@system/sysctl.extra)" '^vm.swappiness = 10$'
        held=$(inside held)
        drift_all | "$vmrun" exec --stdin web -- sh -s 2>/dev/null
        is "each that is changed inside is named" "$(inside lost)" "$({ grep -v idle= <<<"$held"; lacks; } | sort)"
        code=0; "$vmrun" guest-setup web.toml | "$vmrun" ssh web sudo sh -s || code=$?
        is "the script's exit code says whether all is held" "$code" "$(lacks | wc -l)"
        is "and put right by the script" "$(inside lost)" "$(lacks)"
    fi
    if [ "$VMRUN_FIRST_HOUR" = all ] && [ "$firmware" = uefi ]; then
        boot=$(in_guest cat /proc/sys/kernel/random/boot_id)
        in_guest sudo reboot || true
        rebooted() { [ "$(in_guest cat /proc/sys/kernel/random/boot_id)" != "$boot" ]; }
        check "it reboots inside" within 900 rebooted
        is "and is as it was" "$(in_guest hostname) $(in_guest cat /proc/sys/vm/swappiness)" "web 10"
    fi

    run_code "$vmrun" new web --image "$image"
    is "nothing is overwritten" "$code" 2
    has "which is said" "$err" 'web.toml is there already'
    check "it powers down when asked to" "$vmrun" stop web
    if [ "$firmware" = bios ] && [ "$distro" = debian13 ]; then
        run_code "$vmrun" start --set ready=console --set 'ready_pattern=web login:' --set ready_timeout=1200 web.toml
        has "and starts again, ready by its console's words" "$err" 'is ready: its console says so'
        check "it powers down once more" "$vmrun" stop web
    fi
    is "the image is as it was" "$(stat -c '%Y %s %i' "$image")" "$before"
    as_before "everything is put back"
    rm -rf web.toml web.qcow2 "$work/state" "$work/back"
    echo "note  $SECONDS s in all"
done
finish
