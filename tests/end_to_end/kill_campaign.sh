#!/bin/bash
# Kills vmrun, QEMU, or both with SIGKILL at a random instant of a VM's life, then runs `vmrun recover`, and compares everything
# a VM changes with what was there before: each node's pools, interfaces, bridge ports, processes, /run/vmrun, mounts, /dev/shm.
#   tests/end_to_end/kill_campaign.sh VMRUN [ROUNDS] [SEED]      (200 rounds)
# Each round draws: QEMU's version, run or start, 2M pages on an empty or partly filled pool, bridge, macvtap, passt, disk (of which
# half are ephemeral), a new disk, a share, who is killed, and when. In $VMRUN_CAMPAIGN_FULL percent (10) the file system of the run
# directory fills up while the VM runs; in $VMRUN_CAMPAIGN_OTHERS percent (10) others have a hand in the pool: they raise it, map pages and
# let go of them, and take back what they raised; in $VMRUN_CAMPAIGN_VMS percent (10) one or two other VMs start at the same time, which
# live on while this one is killed and put away, and of which half are killed then. VMRUN_CAMPAIGN_MIXED=1: 40 percent each, for a
# campaign by hand. The last lines say how many rounds ended equal, and how far the VMs had come when they were hit.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
have_kvm || skip "no /dev/kvm: the rounds would take hours"
exec 2> >(grep -v ' Killed ' >&2) # bash tells of every child that was killed
rounds=${2:-200}
usual=$([ -n "${VMRUN_CAMPAIGN_MIXED:-}" ] && echo 40 || echo 10) # percent
RANDOM=${3:-$$}
echo "seed ${3:-$$}"
bridge=vmrune2e4
make_bridge "$bridge" || skip "no bridge can be made here"
truncate -s 16M "$work/disk.img"
with_passt=$(command -v passt && ip -4 route show default | grep .) || with_passt='' # it takes the host's own address
lower=vmrune2e8
if ip link add "$lower" type veth peer name "${lower}p" 2>/dev/null; then
    bridges+=("$lower")
    ip link set "$lower" up
    ip link set "${lower}p" up
else
    lower=''
fi
mkdir "$work/new" "$work/shared"
virtiofsd=$(find /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd -maxdepth 0 2>/dev/null || true)
take_pool
mount -t tmpfs -o size=2m,mode=755 none "$VMRUN_RUN_DIR"
other=''
end_others() { # who has a hand in the pool puts back what it raised, by the lock in the run directory
    rm -f "$work/others"
    [ -z "$other" ] || wait "$other"
}
at_end+=(end_others "umount '$VMRUN_RUN_DIR'")
"$vmrun" recover 2>/dev/null

draw() { echo $((RANDOM % $1)); }
chance() { [ $((RANDOM % 100)) -lt "$1" ]; } # percent
now() { echo "${EPOCHREALTIME/[.,]/}"; }     # microseconds
pause_for() { sleep "$(printf '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000)))"; }

# How long a whole start takes with each QEMU: the instants are drawn from there.
declare -A span
one_spec() { # NAME: what this round's VM has; what one of its name kept (a TPM's memory) belongs to another VM, with other disks
    "$vmrun" forget "$1" >/dev/null 2>&1 || true
    {
        printf 'name = "%s"\naccel = "kvm"\n[cpu]\ncount = %d\nmodel = "qemu64"\npin = %s\n' "$1" $((1 + RANDOM % 2)) "$(chance 50 && echo '"off"' || echo '"auto"')"
        printf '[memory]\nsize = "%dM"\npage = "%s"\n' "$((64 << (RANDOM % 2)))" "$(chance 75 && echo 2M || echo 4K)"
        ! chance 60 || printf '[[net]]\nbridge = "%s"\n' "$bridge"
        [ -z "$lower" ] || ! chance 40 || printf '[[net]]\nover = "%s"\n' "$lower"
        [ -z "$with_passt" ] || ! chance 40 || printf '[[net]]\nmode = "passt"\n'
        ! command -v swtpm >/dev/null || ! chance 40 || printf '[tpm]\n' # its state is in the test's directory, and kept
        ! chance 60 || printf '[[disk]]\npath = "disk.img"\n%s\n' "$(chance 50 && echo 'ephemeral = true')"
        ! chance 25 || printf '\n[[disk]]\npath = "new/made.img"\ncreate = { size = "16M" }\n'
        [ -z "$virtiofsd" ] || ! chance 40 || printf '\n[[share]]\npath = "shared"\ntag = "t"\n'
        rom_boot
    } | spec "$1"
}
# bystanders COUNT: other VMs, whose starts contend with this round's for the lock, the pool and the bridge
declare -A starts=() # name -> pid of its `vmrun start`
bystanders() {
    local i name
    for ((i = 1; i <= $1; i++)); do
        name=by$i
        {
            printf 'name = "%s"\naccel = "kvm"\n[cpu]\ncount = 1\nmodel = "qemu64"\npin = "off"\n' "$name"
            printf '[memory]\nsize = "%dM"\npage = "%s"\n' "$((32 << (RANDOM % 2)))" "$(chance 75 && echo 2M || echo 4K)"
            ! chance 60 || printf '[[net]]\nbridge = "%s"\n' "$bridge"
            [ -z "$virtiofsd" ] || ! chance 30 || printf '\n[[share]]\npath = "shared"\ntag = "t"\n'
            rom_boot
        } | spec "$name"
        "$vmrun" start "$work/$name.toml" >/dev/null 2>"$work/$name.err" </dev/null &
        starts[$name]=$!
    done
}
# What a round's killing and recovering did to them: nothing. Then their end, half of them by the same means.
end_bystanders() {
    local name keeper child pages
    for name in "${!starts[@]}"; do
        keeper=$("$vmrun" list --json | jq -r ".[] | select(.name == \"$name\") | .pid")
        child=$(qemu_of "$name" || true)
        pages=$(sed -n 's/^size = "\([0-9]*\)M"/\1/p' "$work/$name.toml")
        if [ "${lived[$name]}" = 0 ] && { [ -z "$child" ] || ended "$keeper"; }; then
            failed "round $round: the VM beside it lives on" "$(tail -n 2 "$work/$name.err")"
        elif [ -n "$child" ] && grep -q '^page = "2M"' "$work/$name.toml" && [ "${lived[$name]}" = 0 ]; then
            [ "$(huge_pages_of "$child")" = $((pages / 2)) ] || failed "round $round: the VM beside it has its pages" "$(huge_pages_of "$child")"
        fi
        if chance 50; then
            "$vmrun" kill "$name" >/dev/null 2>&1 || true
        else
            # shellcheck disable=SC2086
            hit $keeper $child
        fi
    done
    starts=()
}
for qemu in "${qemus[@]}"; do
    use_qemu "$qemu"
    one_spec measure
    "$vmrun" start "$work/measure.toml" >"$work/measure.out" 2>&1 || { # also makes vmrun know this QEMU
        failed "QEMU $(version_of "$qemu"): a VM that is not killed starts" "$(head -n 3 "$work/measure.out")"
        exit 1
    }
    "$vmrun" kill measure 2>/dev/null
    begun=$(now)
    "$vmrun" start "$work/measure.toml" 2>/dev/null
    span[$qemu]=$(($(now) - begun))
    "$vmrun" kill measure 2>/dev/null
    echo "QEMU $(version_of "$qemu"): a start takes $((${span[$qemu]} / 1000)) ms"
done

# Others: they add some pages to the pool and take as many away again, and hold mapped ones meanwhile, under the lock that vmrun
# changes it under (the kernel has no "add": without one, two who read and write lose one of the changes). They end with what they added.
# What a write means: without pages that were taken away while in use. Both numbers change as a QEMU ends: read until they stand still.
persistent() {
    local now before=''
    while :; do
        now="$(pool) $(cat "$(pool_file surplus)")"
        [ "$now" != "$before" ] || break
        before=$now
    done
    echo $((${now% *} - ${now#* }))
}
others() {
    local added=0 by
    set +e # it always ends with what it added taken away
    while [ -e "$work/others" ]; do
        by=$((RANDOM % 24))
        [ "$added" = 0 ] || by=-$added
        (
            flock 9
            echo $(($(persistent) + by)) >"$(pool_file nr)"
        ) 9<"$VMRUN_RUN_DIR/.lock"
        added=$((added + by))
        [ "$added" = 0 ] || hold_pages $((RANDOM % added))
        pause_for $((RANDOM % 20000))
    done
    [ "$added" = 0 ] || (
        flock 9
        echo $(($(persistent) - added)) >"$(pool_file nr)"
    ) 9<"$VMRUN_RUN_DIR/.lock"
}
hold_pages() { # PAGES: mapped and touched for a moment, as far as there are as many free
    "${python:-true}" -c '
import mmap, sys
try:
    memory = mmap.mmap(-1, int(sys.argv[1]) << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000 | 21 << 26)
    for page in range(int(sys.argv[1])): memory[page << 21] = 1
except (OSError, ValueError): pass' "$1" 2>/dev/null || true
}
python=$(command -v python3 || true)
# What vmrun says when others changed the pool in the very instant that it was killed in: so many pages may be left over, or fewer.
# (A start of another VM recovers, too, before it takes anything.)
doubtful() { sed -n 's/.* pages, of which up to \([0-9]*\) may be left over.*/\1/p' "$work"/recover*.out "$work"/by*.err 2>/dev/null || true; }
# Once no VM has any page more: before, what is there may be another VM's, and would be missing where that one gives its pages back.
take_doubtful() {
    local pages
    for pages in $(doubtful); do
        # up to so many: the kernel adds page by page, and a kill ends it anywhere
        [ $(($(our_pool) - was)) -ge "$pages" ] || pages=$(($(our_pool) - was))
        [ "$pages" -gt 0 ] || continue
        echo "round $round: told that so many pages may be left over, and $pages were"
        echo $(($(pool) - pages)) >"$(pool_file nr)"
    done
}
# Huge pages that processes have between two rounds, when none of ours is there (in kB): where they change, another test or VM of this
# machine took or gave some, and the round says nothing.
foreign_pages() { { cat /proc/[0-9]*/smaps_rollup 2>/dev/null || true; } | awk '/Hugetlb:/ { sum += $2 } END { print sum + 0 }'; }

# hit PID...: SIGKILL
hit() { kill -KILL "$@" 2>/dev/null || true; }
children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }
# shellcheck source=tests/stage.sh
. "$here/../stage.sh"
declare -A stages victims lived
equal=0 beside=0 filled=0 shared=0 disturbed=0
for ((round = 1; round <= rounds; round++)); do
    qemu=${qemus[RANDOM % ${#qemus[@]}]}
    use_qemu "$qemu"
    one_spec round
    rm -f "$work/new/made.img"
    set_pool $((RANDOM % 3 == 0 ? RANDOM % 40 : 0))
    was=$(our_pool)
    rm -f "$work"/by*.err "$work"/recover*.out
    foreign=$(foreign_pages)
    remember
    whole=${span[$qemu]}
    other=''
    if chance "${VMRUN_CAMPAIGN_OTHERS:-$usual}"; then
        touch "$work/others"
        others &
        other=$!
        shared=$((shared + 1))
    fi
    full='' lived=()
    ! chance "${VMRUN_CAMPAIGN_FULL:-$usual}" || full=1
    filled=$((filled + ${full:-0}))
    if chance "${VMRUN_CAMPAIGN_VMS:-$usual}"; then
        bystanders $((1 + RANDOM % 2))
        beside=$((beside + 1))
    fi
    verb=$(chance 50 && echo run || echo start)
    options=()
    [ "$verb" = start ] || options=(--no-console)
    aim=$((RANDOM % 10))
    [ "$aim" -ge 3 ] || verb=run options=(--no-console)
    begun=$(now)
    "$vmrun" "$verb" "${options[@]}" "$work/round.toml" >"$work/round.out" 2>&1 </dev/null &
    launcher=$!
    victim=$((RANDOM % 3)) # 0 vmrun, 1 QEMU, 2 both
    sharp=''
    case $aim in # mostly anywhere; oftener than that at the two ends, where the steps are close together
        0 | 1) sharp=owner delay=0 ;;    # from the claim on: pools, taps, files, fork
        2) sharp=undone delay=0 ;;       # from the first undo on
        3) delay=$((whole - 8000 + (RANDOM * 32768 + RANDOM) % 16000)) ;;
        4 | 5) delay=$((2 * whole + 30000)) ;; # it runs: hit it there, or while it is being ended
        *) delay=$(((RANDOM * 32768 + RANDOM) % (whole * 3 / 2))) ;; # those with a disk, a tap and more pages take longer
    esac
    ender=''
    if [ -n "$sharp" ]; then # no process may be started between the sight and the shot: it would take longer than the steps
        victim=0
        if [ "$sharp" = undone ]; then
            pause_for $((2 * whole + 30000))
            "$vmrun" kill round >/dev/null 2>&1 &
            ender=$!
        fi
        end=$((${EPOCHREALTIME/[.,]/} + 3000000)) journal=$VMRUN_RUN_DIR/round/journal
        while [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ]; do
            if [ "$sharp" = owner ]; then
                [ ! -e "$VMRUN_RUN_DIR/round/owner" ] || break
            elif [ -e "$journal" ]; then
                { mapfile -t lines <"$journal"; } 2>/dev/null || true
                [[ ${lines[*]} != *undone* ]] || break
            else
                break
            fi
        done
        end=$((${EPOCHREALTIME/[.,]/} + RANDOM % 4000))
        [ "$sharp" = owner ] || end=$((end - 4000 + RANDOM % 1000))
        while [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ]; do :; done
        kill -KILL "$launcher" 2>/dev/null || true
    else
        left=$((begun + delay - $(now)))
        [ "$left" -le 1000 ] || pause_for $((left - 1000))
        if [ "$delay" -ge $((2 * whole + 30000)) ] && chance 60; then # end it by the front door meanwhile
            "$vmrun" kill round >/dev/null 2>&1 &
            ender=$!
            pause_for $(((RANDOM * 32768 + RANDOM) % 30000))
        fi
    fi
    [ -z "$full" ] || dd if=/dev/zero of="$VMRUN_RUN_DIR/.filler" bs=4096 2>/dev/null || true
    keeper=$launcher
    [ "$verb" = run ] || keeper=$(children "$launcher")
    [ -n "$keeper" ] || keeper=$(jq -r .pid "$VMRUN_RUN_DIR/round/owner" 2>/dev/null || true)
    child=$(children "${keeper:-$launcher}")
    [ "$victim" != 1 ] || reached=$(stage_of "$VMRUN_RUN_DIR/round")
    # shellcheck disable=SC2086
    case $victim in
        0) hit $launcher $keeper ;;
        1) hit $child ;;
        2) hit $child $launcher $keeper ;;
    esac
    [ "$victim" = 1 ] || reached=$(stage_of "$VMRUN_RUN_DIR/round") # a dead vmrun's directory stays as it was
    who=$victim
    [ -n "$child" ] || [ "$victim" != 1 ] || who=3
    stages[$reached]=$((${stages[$reached]:-0} + 1))
    victims[$who]=$((${victims[$who]:-0} + 1))
    # vmrun that lost its QEMU puts things back by itself and ends. If there was nothing to hit yet, or what was hit was only a try
    # of io_uring on a file, the VM runs on: end it.
    if [ "$victim" = 1 ]; then
        over() { ended "$launcher" && [ ! -d "$VMRUN_RUN_DIR/round" ]; }
        end_it() { "$vmrun" kill round >/dev/null 2>&1 || over; }
        if [ -z "$child" ] || ! within 5 over; then
            [ -z "$child" ] || [ -n "$(children "$keeper")" ] || failed "round $round: vmrun does not see that QEMU is gone"
            # shellcheck disable=SC2086
            within 10 end_it || hit $launcher $keeper
        fi
    fi
    within 60 ended "$launcher" || {
        failed "round $round: vmrun was told to end, and runs on after a minute" "$(cat "$work/round.out")"
        # shellcheck disable=SC2086
        hit $launcher $keeper
    }
    wait "$launcher" 2>/dev/null || true
    [ -z "$ender" ] || wait "$ender" 2>/dev/null || true
    rm -f "$work/others" "$VMRUN_RUN_DIR/.filler"
    [ -z "$other" ] || wait "$other" 2>/dev/null || true
    # a spec that is refused is no VM's life; only a full file system or a pool in others' hands may refuse one
    [ -n "$full$other" ] || ! grep -q '^error:' "$work/round.out" || failed "round $round: the spec was refused" "$(head -n 1 "$work/round.out")"
    if [ ${#starts[@]} != 0 ]; then
        for name in "${!starts[@]}"; do
            lived[$name]=0
            wait "${starts[$name]}" 2>/dev/null || lived[$name]=1
        done
        "$vmrun" recover >"$work/recover-beside.out" 2>&1 || failed "round $round: recover beside other VMs" "$(cat "$work/recover-beside.out")"
        end_bystanders
    fi
    # a process whose memory has gone has no environment to be found by, and is there until all else of it has gone (a sanitized one: long)
    gone() {
        local pid
        for pid in $launcher $keeper; do ended "$pid" || return 1; done
        [ -z "$(processes_of_ours)" ]
    }
    within 5 gone || true
    code=0
    cp "$VMRUN_RUN_DIR/round/journal" "$work/journal" 2>/dev/null || : >"$work/journal"
    "$vmrun" recover >"$work/recover.out" 2>&1 || code=$?
    take_doubtful
    if [ "$code" = 0 ] && within 3 same_as_before; then
        equal=$((equal + 1))
    elif [ "$code" = 0 ] && [ "$(foreign_pages)" != "$foreign" ] && [ "$disturbed" -lt "$rounds" ]; then
        echo "round $round: others of this machine took or gave pages meanwhile; once more"
        disturbed=$((disturbed + 1)) round=$((round - 1))
        pool_base=$(($(pool) - $(pool_free)))
    else
        failed "round $round: $verb, victim $victim after $delay us of $whole at stage '$reached'${full:+, full}${other:+, others}, beside ${!lived[*]}" "recover exit $code: $(cat "$work/recover.out")
$(diff "$work/before" "$work/after" || true)"
        grep -aE 'trim_pool|"done":0|undo' "$work/journal" || true # what it said before recover
        tail -n 20 "$work/round.out" "$work"/by*.err "$work"/recover-beside.out 2>/dev/null || true
        # start the next round from a clean machine
        processes_of_ours | while read -r line; do hit "$(sed 's|/proc/\([0-9]*\) .*|\1|' <<<"$line")"; done
        "$vmrun" recover >/dev/null 2>&1 || rm -rf "$VMRUN_RUN_DIR/round"
    fi
done
echo "killed: vmrun ${victims[0]:-0}, QEMU ${victims[1]:-0}, both ${victims[2]:-0}, QEMU before it was there ${victims[3]:-0}"
for reached in "${!stages[@]}"; do printf '%5d  %s\n' "${stages[$reached]}" "${reached#* }"; done | sort -k2
echo "in $filled rounds the file system was full, in $shared others had a hand in the pool, in $beside other VMs lived beside it"
[ "$disturbed" = 0 ] || echo "$disturbed rounds were done again, as others of this machine changed the pool"
echo "$equal of $rounds rounds ended with the machine as before"
[ "$equal" = "$rounds" ] && [ "$failures" = 0 ]
