# shellcheck shell=bash
# Every setting of the kernel's, before and after: for the tests of `host tune`, which put back all that they find changed. Compared
# is every small file of /sys, /proc/sys, /proc/irq and the groups' limits. Left out are counters, by name; hot_add, for reading it
# makes a device; and what is seen to change while nobody does anything. Sourced; keeps its files in $snapshots (.).
# A test may add to $counters, an extended expression.
#     learn [SECONDS]: what changes by itself        whole >"$snapshots/base": what it is now        nothing_differs, since then

counters='/(uevent|stat|debug_stat|numastat|vmstat|meminfo|uevent_seqnum|spurious|[a-z_]*_(count|bytes|pages|time|time_ms|stats|kbytes))$'
counters+='|^/sys/kernel/slab/|/bdi/|/stats/|/statistics/|/power/(runtime|wakeup)|/(full_scans|pages_(collapsed|shared|sharing|unshared|volatile|scanned|skipped))$|^/sys/kernel/mm/ksm/(stable|zero|ksm|general)'
counters+='|^/sys/devices/virtual/(net|block/(zram|loop|dm-)|misc|tty|vc)/|^/proc/sys/(fs/(dentry-state|inode-|file-nr|quota|aio-nr)|kernel/(ns_last_pid|random|pty))'
counters+='|^/sys/devices/pnp|^/sys/kernel/(security|rcu|irq/|mm/(lru_gen|damon|page_idle))|^/sys/fs/ext4/|/cpuidle/state[0-9]*/(usage|time|above|below|rejected|s2idle)|/inflight$'

snapshots=${snapshots:-.}
: >"$snapshots/volatile"

# whole: "PATH<tab>LINE", sorted
whole() {
    {
        find /sys /proc/sys /proc/irq -xdev -type f -readable -size -5k \
            ! -name config ! -name 'resource[0-9]*' ! -name rom ! -name vpd ! -name hot_add -print0
        find /sys/fs/cgroup -type f \( -name 'cpuset.*' -o -name 'cpu.*' -o -name '*.max' -o -name '*.weight' \) \
            ! -name '*stat*' -print0
    } 2>/dev/null | grep -zvE "$counters" | xargs -0 grep -aHZs '' | tr '\0' '\t' | LC_ALL=C sort || true
}
paths_that_differ() { LC_ALL=C comm -3 "$1" "$2" | sed 's/^\t//' | cut -f1 | LC_ALL=C sort -u; }
learn() {
    local _
    whole >"$snapshots/before"
    for _ in 1 2 3; do
        sleep "${1:-1}"
        whole >"$snapshots/now"
        paths_that_differ "$snapshots/before" "$snapshots/now" | forget
        mv "$snapshots/now" "$snapshots/before"
    done
}
# forget <PATHS: these change by themselves, too
forget() {
    LC_ALL=C sort -u - "$snapshots/volatile" >"$snapshots/sorted"
    mv "$snapshots/sorted" "$snapshots/volatile"
}
# differing: paths, since base
differing() {
    whole >"$snapshots/now"
    paths_that_differ "$snapshots/base" "$snapshots/now" | LC_ALL=C comm -23 - "$snapshots/volatile"
}
# nothing_differs: what does is looked at once more, for others run on this machine as well
nothing_differs() {
    [ -n "$(differing)" ] || return 0
    learn 0.5
    [ -z "$(differing)" ]
}
# shown: for a person, what differs
shown() {
    local path
    differing | while read -r path; do
        echo "$path: '$(grep -aF "$path	" "$snapshots/base" | cut -f2 | head -3)' -> '$(head -c 200 "$path" 2>/dev/null)'"
    done
}
