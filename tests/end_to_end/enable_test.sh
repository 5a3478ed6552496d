#!/bin/bash
# `vmrun enable` and `disable`: a spec, wherever it lies, as a unit of a system below --root; systemd itself reads what was written.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
need systemctl systemd-analyze
system=$work/system
mkdir -p "$system/usr/lib/systemd/system" "$system/etc/systemd/system" "$work/some %dir \$HOME"
cp "$root/configs/vmrun@.service" "$system/usr/lib/systemd/system/"
cd "$work/some %dir \$HOME" || exit
cat >web.toml <<TOML
name = "web-1"
[memory]
size = "64M"
[[disk]]
path = "images/web.raw"
[[disk]]
path = "/dev/zero"
[[disk]]
path = "/srv/\"big\" one.qcow2"
TOML
run_code "$vmrun" enable --root "$system" web.toml
is "enable" "$code" 0
link=$system/etc/systemd/system/multi-user.target.wants/vmrun@web-1.service
check "its unit is linked" test -L "$link"
drop_in=$system/etc/systemd/system/vmrun@web-1.service.d/vmrun.conf
is "mounts: of each file, and of the spec, but none below /dev" "$(grep '^RequiresMountsFor=' "$drop_in")" \
    "RequiresMountsFor=\"/srv/\\\"big\\\" one.qcow2\"
RequiresMountsFor=\"$work/some %%dir \$HOME/images/web.raw\"
RequiresMountsFor=\"$work/some %%dir \$HOME/web.toml\""
is "what runs: the spec where it lies" "$(grep '^Environment=' "$drop_in")" "Environment=\"VMRUN_SPEC=$work/some %%dir \$HOME/web.toml\""
hasnt "else as the unit has it" "$(cat "$drop_in")" ExecStart
has "which runs that" "$(cat "$root/configs/vmrun@.service")" '^ExecStart=.* \$\{VMRUN_SPEC\}$'
hasnt "systemd understands all of it" "$(systemd-analyze verify --root="$system" --man=no vmrun@web-1.service 2>&1)" 'vmrun\.conf'
run_code "$vmrun" enable --root "$system" web.toml
is "once more" "$code" 0
run_code "$vmrun" disable --root "$system" web-1
is "disable" "$code" 0
check "nothing is left of it" test ! -e "$link" -a ! -e "${drop_in%/*}"
run_code "$vmrun" disable --root "$system" ./web.toml
is "by the spec, and when there is nothing to undo" "$code" 0
echo 'size = ' >bad.toml
run_code "$vmrun" enable --root "$system" bad.toml
is "a spec that is none is not enabled" "$code" 2
finish
