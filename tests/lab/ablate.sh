#!/bin/bash
# What `vmrun ablate` says of a slowdown whose size is known, by real boots under KVM: a quota of nine tenths of a CPU makes the same walk
# through memory take 10/9 of its time, but for one tenth of a second in which the quota begins or ends. Twenty boots of one VM against itself
# are no claim; twenty with the knob are one, and its interval is where the truth is. This lab's time is its instructions (-icount): what else
# runs on the machine under it would make more of a difference than the knob.
# files: mkdir -p build/lab && as --32 -o build/lab/walk16.o tests/lab/ablate/walk16.S && ld -m elf_i386 -Ttext 0 -e 0 --oformat binary -o build/lab/walk16.bin build/lab/walk16.o && echo "$PWD/build/lab/walk16.bin"
# lab: --all --kernel 6.12 --qemu 10.0 --timeout 1800 --smp 2 --qemu-args "-icount shift=0,sleep=off"
# fault: free the quota is more than the VM takes
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
cat >walker.toml <<TOML
name = "walker"
[cpu]
count = 1
[memory]
size = "32M"
page = "2M"
[boot]
firmware = "$PWD/walk16.bin"
TOML
quota=90
! fault free || quota=400
# effects: of each knob "knob claimed ratio low high p"; the knob of the same VM twice is ""
effects() { jq -r 'select(.event == "ablation") | .effects[] | select(.metric == "walk") | [.knob, .claimed, .ratio, .low, .high, .p] | map(tostring) | join(" ")' found; }
between() { awk -v low="$1" -v value="$2" -v high="$3" 'BEGIN { exit !(low <= value && value <= high) }'; }
ablation() {
    vmrun ablate walker.toml --json --in host --no-watch --blocks 5 --cooldown 0 --stop-timeout 0 --knob "schedule.quota=$quota" \
        --metric 'walk=walked in ([0-9.]+)' -- "$PWD/ablate/walk" >found 2>found.err
}

begun=$(now)
check "forty boots end" ablation || die "$(tail -n 5 found.err)"
fact "forty boots and eighty walks, s" "$(since "$begun")"
fact "walks, s" "$(jq -r 'select(.event == "run") | .metrics.walk' found | paste -sd' ')"
read -r same_claimed same_ratio _ <<<"$(effects | sed -n 's/^ //p')"
equal "the same VM against itself: a claim?" false "$same_claimed"
fact "its ratio" "$same_ratio"
read -r _ claimed ratio low high p <<<"$(effects | grep '^schedule')"
fact "with the quota" "$ratio ($low .. $high), p $p"
equal "the quota's effect is claimed" true "$claimed"
check "it is slower" between 1 "$ratio" 2
walk=$(jq -r 'select(.event == "run" and .arm == "a") | .metrics.walk' found | sort -n | head -n 1)
period=$(awk -v walk="$walk" 'BEGIN { print 0.01 / walk }') # what the quota takes of one, as a part of the walk
fact "the walk without it, s, and a period's part" "$walk $period"
check "not lower than 10/9" awk -v high="$high" -v period="$period" 'BEGIN { exit !(high >= 10 / 9 - period) }'
check "nor higher" awk -v low="$low" -v period="$period" 'BEGIN { exit !(low <= 10 / 9 + period) }'
check "and told to a few parts of a hundred" awk -v low="$low" -v high="$high" 'BEGIN { exit !(high - low < 0.05) }'
end
