#!/bin/bash
# What vmrun itself costs stays what it was: ratios of its calls into the kernel, its part of a start, its end and its waiting, each below
# a bound (speed/check, which runs by hand, too).
# lab: --kernel 6.12 --qemu 10.0
# fault: twice every command looks at the whole machine once more, as a second read of the host would
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
measured=vmrun
if fault twice; then
    measured=/root/vmrun-twice
    printf '#!/bin/sh\nlscpu >/dev/null\nlscpu >/dev/null\nexec vmrun "$@"\n' >$measured
    chmod +x $measured
fi
bash speed/check $measured /lab/guest/rom16.bin | tee /root/speed
while read -r verdict what; do
    equal "$what" ok "$verdict"
done </root/speed
check "all five were measured" test "$(wc -l </root/speed)" = 5
fact "own cost, as ratios" "$(sed 's/^ok //; s/, at most.*//' /root/speed | paste -sd';')"
end
