#!/bin/bash
# The Debian package: made by cpack from this build, its files in their usual places, installed with dpkg, run, removed again
# without a trace. Installed only where vmrun is not.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need cpack dpkg-shlibdeps
build=$(dirname "$(realpath "$1")")
[ -e "$build/CPackConfig.cmake" ] || skip "vmrun was not built by cmake here"

(cd "$work" && cpack --config "$build/CPackConfig.cmake" -B "$work" >"$work/cpack.log" 2>&1) || { tail -n 20 "$work/cpack.log"; failed "cpack makes a package"; }
deb=$(echo "$work"/vmrun_*.deb)
check "a package was made" test -s "$deb"
files=$(dpkg-deb -c "$deb" | awk '{print $6}')
for file in usr/bin/vmrun usr/lib/systemd/system/vmrun@.service usr/share/man/man1/vmrun.1 usr/share/man/man5/vmrun.toml.5 \
    usr/share/man/man7/vmrun-guides.7 usr/share/bash-completion/completions/vmrun usr/share/vmrun/vmrun.schema.json usr/share/doc/vmrun/examples/reference.toml etc/vmrun/; do
    has "holds $file" "$files" "^\./$file\$"
done
has "depends on what it links and opens" "$(dpkg-deb -f "$deb" Depends)" 'libhwloc15 .*libc6|libc6.*libhwloc15'
check "it can be unpacked" dpkg-deb -x "$deb" "$work/x"
check "its program is there" test -s "$work/x/usr/bin/vmrun"
hasnt "nothing of a build machine in it" "$(strings "$work/x/usr/bin/vmrun" | grep -F "$root" || true)" .

if command -v man >/dev/null; then
    guides=$(MANWIDTH=200 man -l "$work/x/usr/share/man/man7/vmrun-guides.7" 2>&1 | tr -s ' \n' ' ')
    has "vmrun-guides(7) has a section for each guide" "$guides" 'GUIDE 000 Tuning.*GUIDE 001 .*GUIDE 002 .*GUIDE 003 .*GUIDE 004 Network'
    has "and names what answers a statement" "$guides" 'rq_affinity = 2 for multiqueue disks for a VM: guest.rq_affinity'
fi

if dpkg-query -W vmrun >/dev/null 2>&1 || [ -e /usr/bin/vmrun ]; then skip "vmrun is installed on this machine; it stays as it is"; fi
check "dpkg installs it" dpkg -i "$deb"
at_end+=('dpkg -P vmrun >/dev/null 2>&1') # also after what fails
run_code /usr/bin/vmrun --version
is "the installed one runs" "$code" 0
printf '[cpu]\ncount = 1\nmodel = "qemu64"\n[memory]\nsize = "64M"\n[boot]\nfirmware = "%s"\n' "$rom" >"$work/small.toml"
run_code /usr/bin/vmrun plan "$work/small.toml"
is "it plans" "$code" 0
if have_kvm; then
    run_code /usr/bin/vmrun start --set accel=kvm "$work/small.toml"
    is "it starts a VM" "$code" 0
    run_code /usr/bin/vmrun kill small
    is "and ends it" "$code" 0
fi
if command -v systemd-analyze >/dev/null; then
    run_code systemd-analyze verify "/usr/lib/systemd/system/vmrun@.service"
    warnings=$(cat "$work/stderr")
    # before 254 systemd ignores it and says so: vmrun then makes the VM's cgroup outside the unit's
    [ "$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')" -ge 254 ] || warnings=$(grep -v "Unknown key 'DelegateSubgroup'" <<<"$warnings" || true)
    hasnt "systemd finds nothing wrong with its unit" "$warnings" 'vmrun@.*(Unknown|Failed|not executable|Missing)'
fi
if command -v bash >/dev/null; then
    check "the completion loads" bash -c 'source /usr/share/bash-completion/completions/vmrun && complete -p vmrun >/dev/null'
fi
check "dpkg removes it" dpkg -P vmrun
check "nothing of it is left" test ! -e /usr/bin/vmrun -a ! -e /usr/share/vmrun
finish
