#!/bin/bash
# CDs, the order in which a guest's firmware looks for what to boot, and guests that say when they are ready. What boots is sixteen-bit
# code of a few bytes, or the tiny guest.
aside=1
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need xorriso

# boot_sector TEXT [PORT]: code that sends TEXT to COM1 (f8 03), or COM2, wherever it is loaded: push cs, pop ds; call, pop si, add si;
# lodsb ... out; hlt
boot_sector() {
    printf '\x0e\x1f\xfc\xe8\x00\x00\x5e\x83\xc6\x12\xac\x84\xc0\x74\x06\xba'"${2:-\\xf8\\x03}"'\xee\xeb\xf5\xf4\xeb\xfd%s\r\n\0' "$1" >"$work/sector"
    truncate -s 510 "$work/sector"
    printf '\x55\xaa' >>"$work/sector"
}
# make_cd FILE TEXT: boots by El Torito
make_cd() {
    rm -rf "$work/cd" "$1"
    mkdir "$work/cd"
    boot_sector "$2"
    cp "$work/sector" "$work/cd/boot.bin"
    xorriso -as mkisofs -quiet -V "$3" -b boot.bin -no-emul-boot -boot-load-size 1 -o "$1" "$work/cd" 2>/dev/null
}
make_cd "$work/one.iso" "this is CD one" ONE
make_cd "$work/two.iso" "this is CD two" TWO
# a CD that installs: it writes the boot sector behind its own to the first disk, and resets the machine
as --32 -o "$work/install.o" "$root/tests/guest/install16.S"
ld -m elf_i386 -Ttext 0 -e 0 --oformat binary -o "$work/install.bin" "$work/install.o"
boot_sector "this is what was installed"
mkdir "$work/installer"
cat "$work/install.bin" "$work/sector" >"$work/installer/boot.bin"
xorriso -as mkisofs -quiet -V INSTALL -b boot.bin -no-emul-boot -boot-load-size 2 -o "$work/install.iso" "$work/installer" 2>/dev/null
# small SPEC lines come from stdin
small() {
    {
        printf 'accel = "tcg"\n%s\n[cpu]\npin = "off"\nemulator = "0"\n[memory]\nsize = "256M"\npage = "4K"\n' "${2:-}"
        cat
    } | spec "$1"
}

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    remember
    rm -f "$work/disk.raw"
    truncate -s 8M "$work/disk.raw"
    small cd <<'TOML'
[[disk]]
path = "disk.raw"
interface = "sata"
[[cdrom]]
path = "one.iso"
[[cdrom]]
[[net]]
model = "e1000e"
[display]
TOML
    run_in_background pid cd
    says cd 'this is CD one' "$pid" 60 || cat "$work/cd.out" "$work/cd.err"
    check "$version: an empty disk is passed over, and the CD boots" said cd 'this is CD one'
    run_code "$vmrun" set cd "cdrom[0]=$work/two.iso"
    is "$version: another CD" "$code" 0
    medium() { "$vmrun" qmp cd query-block | jq -r --arg id "$1" '.[] | select(.qdev | endswith($id)) | .inserted.image.filename // "none"'; }
    hasnt "$version: it is in the drive" "$(medium cdrom0)" none
    "$vmrun" reset cd 2>/dev/null
    check "$version: after a reset that one boots" says cd 'this is CD two' "$pid" 60
    run_code "$vmrun" set cd 'cdrom[0]='
    is "$version: taken out" "$code $(medium cdrom0)" "0 none"
    run_code "$vmrun" set cd "cdrom[1]=$work/one.iso"
    is "$version: into the drive that was empty" "$code" 0
    run_code "$vmrun" set cd 'cdrom[4]=x'
    is "$version: a drive that is not there" "$code" 2
    run_code "$vmrun" set cd "cdrom[0]=$work/missing.iso"
    is "$version: a CD that is not there" "$code" 2
    has "$version: a pointer that needs no grab" "$("$vmrun" qmp cd query-mice)" '"absolute":true'
    "$vmrun" kill cd 2>/dev/null
    exits "$version: it ends" "$pid" 20 0

    # installed by now: the same spec boots the disk
    boot_sector "this is the disk"
    dd if="$work/sector" of="$work/disk.raw" conv=notrunc status=none
    run_in_background pid cd
    check "$version: what has been installed boots, with no edit" says cd 'this is the disk' "$pid" 60
    "$vmrun" kill cd 2>/dev/null
    exits "$version: it ends" "$pid" 20 0
    run_in_background pid cd --set 'boot.order=["cdrom", "disk"]'
    check "$version: the CD first, where that was asked for" says cd 'this is CD one' "$pid" 60
    "$vmrun" kill cd 2>/dev/null
    exits "$version: it ends" "$pid" 20 0

    # from an ISO to a disk that boots: what `new` wrote is started, and edited by nobody
    (cd "$work" && rm -f new.toml new.qcow2 && "$vmrun" new new --iso install.iso --size 1G --cpus 1 --memory 256M 2>/dev/null)
    cp "$work/new.toml" "$work/new.was"
    run_in_background pid new --set 'accel="tcg"' --set 'cpu.pin="off"' --set 'memory.page="4K"'
    says new 'vmrun-cd: installed' "$pid" 60 || cat "$work/new.err"
    check "$version: an empty disk, so the installer boots, and installs" says new 'vmrun-cd: installed' "$pid" 60
    check "$version: after its reset the disk boots" says new 'this is what was installed' "$pid" 60
    "$vmrun" kill new 2>/dev/null
    exits "$version: it ends" "$pid" 20 0
    run_in_background pid new --set 'accel="tcg"' --set 'cpu.pin="off"' --set 'memory.page="4K"'
    says new 'this is what was installed' "$pid" 60 || cat "$work/new.err"
    check "$version: and again the next time, with the installer still in its drive" says new 'this is what was installed' "$pid" 60
    hasnt "$version: nothing is installed twice" "$(cat "$work/new.out")" 'vmrun-cd'
    "$vmrun" kill new 2>/dev/null
    exits "$version: it ends" "$pid" 20 0
    is "$version: one spec, not edited" "$(cmp "$work/new.toml" "$work/new.was" && echo same)" same

    { echo '[console]'; echo 'mode = "socket"'; boot ""; } | small slow $'ready = "console"\nready_pattern = "guest: up"'
    run_code "$vmrun" start --timings "$work/slow.toml"
    is "$version: start returns when the console has said so" "$code" 0
    has "$version: which it tells" "$err" 'VM slow is ready: its console says so'
    has "$version: and after how long" "$err" '^  guest ready +[0-9.]+ ms'
    has "$version: the guest is up by then" "$("$vmrun" log slow 2>&1; cat "$work/run/slow/ready")" 'console'
    check "$version: wait --ready knows" "$vmrun" wait slow --ready --timeout 1 2>/dev/null
    "$vmrun" kill slow 2>/dev/null
    within 10 test ! -e "$work/run/slow"
    run_code "$vmrun" start "$work/slow.toml" --set 'ready_pattern="no such words"' --set ready_timeout=2
    is "$version: a guest that says nothing in time is a failure" "$code" 1
    has "$version: which is told" "$err" 'did not say that it is ready in time'
    has "$version: the run that was ready in time is told by log" "$("$vmrun" log slow --timings)" '^guest ready .*[0-9][.][0-9]+.* -$'
    is "$version: in microseconds, of the whole boot" "$("$vmrun" log slow --json | jq '.[-2].timings[-1] | .stage == "guest ready" and .us > 500000')" true
    is "$version: and goes on" "$("$vmrun" list --json | jq -r '.[] | select(.name == "slow") | .phase')" running
    "$vmrun" kill slow 2>/dev/null
    within 10 test ! -e "$work/run/slow"
    { echo '[agent]'; boot "vmrun.more vmrun.then=agent"; } | small slow 'ready = "guest"'
    run_code "$vmrun" start "$work/slow.toml"
    is "$version: start returns when the agent answers" "$code" 0
    has "$version: which it tells" "$err" 'VM slow is ready: its agent answers'
    "$vmrun" kill slow 2>/dev/null
    within 10 test ! -e "$work/run/slow"

    boot_sector "this is COM2" '\xf8\x02'
    dd if="$work/sector" of="$work/disk.raw" conv=notrunc status=none
    rm -f "$work/two.log"
    printf '[watchdog]\nmodel = "itco"\n[[disk]]\npath = "disk.raw"\nformat = "raw"\n[[serial]]\nlog = "two.log"\n[[serial]]\n' | small ports
    run_code "$vmrun" start "$work/ports.toml"
    is "$version: three serial ports, and the board's own watchdog" "$code" 0
    check "$version: what the guest says on the second is in its log" within 20 grep -q 'this is COM2' "$work/two.log"
    "$vmrun" console ports --port 2 </dev/null >"$work/two.out" 2>/dev/null &
    listener=$!
    sleep 0.3
    "$vmrun" reset ports 2>/dev/null
    check "$version: and on a terminal that is joined to it" within 20 grep -q 'this is COM2' "$work/two.out"
    run_code "$vmrun" console ports --port 4
    is "$version: a port that it has not" "$code" 1
    has "$version: which is told" "$err" 'VM ports has no port 4'
    "$vmrun" kill ports 2>/dev/null
    exits "$version: the terminal is let go" "$listener" 20 0
    within 10 test ! -e "$work/run/ports"
    as_before "$version: everything is put back"
done
finish
