#!/bin/bash
# What a newcomer types: a real Debian 13 from its image to a shell, by two commands; then exec, copy and a power-down. An emulated one
# needs minutes of CPU time, so it is booted where that is asked for: VMRUN_FIRST_HOUR=1, once on one QEMU; =all, on each of them, and
# Debian 12, too.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
[ -n "${VMRUN_FIRST_HOUR:-}" ] || skip "an emulated Debian needs minutes to boot: VMRUN_FIRST_HOUR=1 does it"
need ssh ssh-keygen qemu-img fsck.fat mcopy blkid

# the last that is none of the newest: what Debian 13 has
distros=(debian13) boots=("${qemus[0]}")
for qemu in "${qemus[@]}"; do if [ "$(version_of "$qemu")" = 10.0 ]; then boots=("$qemu"); fi; done
if [ "${VMRUN_FIRST_HOUR:-}" = all ]; then distros=(debian13 debian12) boots=("${qemus[@]}"); fi

cd "$work" || exit
# in_guest COMMAND...: nothing is asked, and ssh's own settings are not looked at
in_guest() { "$vmrun" ssh web "$@" </dev/null 2>"$work/ssh.err"; }

for distro in "${distros[@]}"; do
    image=$("$root/scripts/guest" --distro "$distro")/disk.qcow2 || missing "the image of $distro"
    for qemu in "${boots[@]}"; do
        version="$distro, QEMU $(version_of "$qemu")"
        echo "--- $version"
        use_qemu "$qemu"
        before=$(stat -c '%Y %s %i' "$image")
        remember
        SECONDS=0

        run_code "$vmrun" new web --image "$image" --size 5G --memory 1G --cpus 2 --user ann --start
        is "$version: \`vmrun new --start\`" "$code" 0
        [ "$code" = 0 ] || { echo "$err"; finish; }
        out=$("$vmrun" ssh --timeout 800 web hostname </dev/null 2>"$work/ssh.err") || true
        is "$version: \`vmrun ssh\`, the second command, is in" "$out" web
        [ "$out" = web ] || { cat "$work/ssh.err"; "$vmrun" qmp web query-status; finish; }
        echo "note  $SECONDS s from an image to a shell, emulated"

        is "as the user that was asked for" "$(in_guest id -un)" ann
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

        mkdir -p "$work/some dir" && printf 'x\0y' >"$work/some dir/file"
        check "copy a directory there" "$vmrun" copy "$work/some dir" web:/tmp/
        check "and back" "$vmrun" copy "web:/tmp/some dir" "$work/back"
        check "the same bytes" cmp "$work/some dir/file" "$work/back/file"
        check "ready, as wait has it" "$vmrun" wait web --ready --timeout 10 2>/dev/null

        run_code "$vmrun" new web --image "$image"
        is "nothing is overwritten" "$code" 2
        has "which is said" "$err" 'web.toml is there already'
        check "it powers down when asked to" "$vmrun" stop web
        is "the image is as it was" "$(stat -c '%Y %s %i' "$image")" "$before"
        as_before "everything is put back"
        rm -rf web.toml web.qcow2 "$work/state" "$work/back"
        echo "note  $SECONDS s in all"
    done
done
finish
