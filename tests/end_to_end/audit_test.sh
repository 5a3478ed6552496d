#!/bin/bash
# `vmrun host` and `vmrun host check` on this very machine: as root and as an ordinary user, without writing anything; the
# same findings from a capture of it as from itself, and nothing in the capture that names it; a running VM on map and drawing.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
users=("")
if [ "$(id -u)" = 0 ]; then users+=("setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$work/home"); fi
mkdir -m 755 "$work/home"
use_qemu "${qemus[0]}"
chmod 644 "$VMRUN_HOST_TOML"
{ rom_accel; printf '[cpu]\ncount = 1\nmodel = "qemu64"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec seen
chmod 644 "$work/seen.toml" "$rom"

findings() { jq -r '.findings[] | "\(.level) \(.check) \(.subject)"' "$1" | grep -v frequency-under-load; }

for user in "${users[@]}"; do
    who=${user:+ordinary }user
    # shellcheck disable=SC2086 # a command and its words
    run_code $user "$vmrun" host check
    check "$who: exit code 0 or 1" test "$code" -le 1
    has "$who: a line that counts" "$out" '^[0-9]+ problems?, [0-9]+ warnings?, [0-9]+ pieces? of advice, [0-9]+ ok$'
    # shellcheck disable=SC2086
    run_code $user "$vmrun" host check --json
    check "$who: JSON" jq -e '.findings | length > 20' "$work/stdout" >/dev/null
    is "$who: 1 where there is a problem, else 0" "$code" "$(jq 'if .summary.problems > 0 then 1 else 0 end' "$work/stdout")"
    is "$who: each finding that wants something says how" \
        "$(jq '[.findings[] | select(.level != "ok") | select(.wanted == "" or .why == "" or .now == "")] | length' "$work/stdout")" 0
    if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
        rm -rf "$work/trace"
        mkdir -m 777 "$work/trace"
        # shellcheck disable=SC2086
        $user strace -ff -o "$work/trace/t" -e trace=open,openat,openat2,creat,mkdir,unlink,rename,mknod,bind "$vmrun" host check >/dev/null 2>&1 || true
        is "$who: nothing is opened for writing, made or removed" \
            "$(grep -hE 'O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|^(creat|mkdir|unlink|rename|mknod|bind)' "$work"/trace/* || true)" ""
    fi
    # shellcheck disable=SC2086
    run_code $user "$vmrun" host check "$work/seen.toml" --json
    check "$who: with a spec, fewer" test "$(jq '.findings | length' "$work/stdout")" -gt 3
    is "$who: and none about disks it has not" "$(jq '[.findings[] | select(.check == "io-scheduler")] | length' "$work/stdout")" 0
done

# a capture says of this machine what it says itself
"$root/scripts/capture-host" - >"$work/here.capture"
"$vmrun" host check --json >"$work/live.json" || true
"$vmrun" host check --json --host "$work/here.capture" >"$work/captured.json" || true
is "the capture's findings are this machine's" "$(diff <(findings "$work/live.json") <(findings "$work/captured.json") && echo same)" same
secrets=$(cat /sys/class/net/*/address /etc/machine-id /sys/class/dmi/id/{product_uuid,product_serial,board_serial} 2>/dev/null | grep -vE '^(00:00:00:00:00:00|)$' || true)
is "no hardware address, serial or id in it" "$(grep -cFf <(printf '%s\n' "${secrets:-nothing at all}") "$work/here.capture" || true)" 0
# paths are the kernel's; a name can only be in what follows them
is "nor the host's name" "$(sed 's/^[^ \t]*//' "$work/here.capture" | grep -cwF -- "$(uname -n)" || true)" 0
is "nor root= of the command line" "$(grep -c 'root=' "$work/here.capture" || true)" 0
printf '/../x = 1\n' >"$work/hostile.capture"
run_code "$vmrun" host check --host "$work/hostile.capture"
is "a hostile capture is refused" "$code" 2

run_code "$vmrun" host chek
is "an unknown subcommand is refused" "$code" 2
run_code "$vmrun" host check --help
has "help of a subcommand" "$out" '^usage: vmrun host check \[SPEC\]'
has "the man page has it" "$("$vmrun" man)" 'host check'

run_code "$vmrun" start "$work/seen.toml"
is "a VM starts" "$code" 0
cpus=$("$vmrun" list --json | jq -r '.[0].cpus')
has "the map shows it" "$("$vmrun" host)" "VM seen: (CPUs $cpus|no CPUs of its own)"
run_code "$vmrun" host check "$work/seen.toml" --json
[ -z "$cpus" ] || has "the check asks about the CPUs that it has" "$(jq -r '.findings[] | select(.check == "fits") | .found' "$work/stdout")" "CPUs? $cpus,"
if command -v lstopo-no-graphics >/dev/null || command -v lstopo >/dev/null; then
    run_code "$vmrun" host --svg "$work/host.svg"
    is "it is drawn" "$code" 0
    has "as SVG" "$(cat "$work/host.svg")" '<svg'
    [ -z "$cpus" ] || has "with the VM's name" "$(cat "$work/host.svg")" 'VM seen'
fi
"$vmrun" kill seen 2>/dev/null
finish
