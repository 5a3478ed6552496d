#!/bin/bash
# Boots measured with a real QEMU: a command in the guest and on the host, its numbers in a harness, an ablation of a planted stream.
aside=1
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need python3
fits() { python3 "$root/tests/fits_schema.py" "$root/configs/measure.schema.json"; }
use_qemu "${qemus[0]}"
{ rom_accel; printf '[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | sed 's/pin = "off"/&\nmodel = "qemu64"/' | spec quick
remember

# --- on the host, whose numbers are known: run N says N ---
run_code python3 "$root/tests/harness.py" "$vmrun" "$work/quick.toml" --in host --no-watch --runs 3 --warmup 1 --cooldown 0 --stop-timeout 0 --metric 'n=value ([0-9]+)' \
    -- sh -c 'echo value $VMRUN_RUN; test -S "$VMRUN_QMP" && test "$VMRUN_NAME" = quick'
is "host: the harness reads it" "$code $(head -n 1 <<<"$out")" "0 exit 0 runs 4 counted 3 disturbed 0"
has "host: the warm-up is not counted" "$out" '^n 3 3\.0 2\.0 4\.0$'
run_code "$vmrun" measure "$work/quick.toml" --json --in host --no-watch --runs 2 --cooldown 0 --stop-timeout 0 --metric 'n=value ([0-9]+)' -- \
    sh -c 'echo value $VMRUN_RUN; test "$VMRUN_RUN" != 1'
is "a failed run is kept and done again" "$code $(jq -c 'select(.event == "run") | [.run, .exit_code]' <<<"$out" | tr '\n' ' ')" '0 [1,1] [2,0] [3,0] '
check "as the schema says" fits <<<"$out"
run_code "$vmrun" measure "$work/quick.toml" --in host --no-watch --runs 1 --cooldown 0 --stop-timeout 0 --bencher --metric 'n=value ([0-9]+)' -- echo value 7
is "Bencher's format" "$(jq -c '.quick.n' <<<"$out")" '{"value":7,"lower_value":7,"upper_value":7}'
run_code "$vmrun" measure "$work/quick.toml" --in host --runs 1 --cooldown 0 --stop-timeout 0 -- false
is "a command that always fails" "$code" 1
as_before "every VM is gone"

# --- watch's verdict beside each value. This machine is no quiet one: only a pause counts, which is planted in the runs named ---
never=()
for name in run-delay foreign-task interrupts interrupt-time sibling steal heat remote-memory major-faults ksm memory-pressure memory-taken moved limit; do
    never+=(--threshold "$name=1e9")
done
# paused RUNS: a command that pauses the VM for a moment in those
# shellcheck disable=SC2016 # for the command's shell
paused() { echo 'case $VMRUN_RUN in '"$1) '$vmrun' pause quick && sleep 0.3 && '$vmrun' resume quick;; esac; "'echo value $VMRUN_RUN'; }
watched() { run_code "$vmrun" measure "$work/quick.toml" --in host --cooldown 0 --stop-timeout 0 "${never[@]}" --metric 'n=value ([0-9]+)' "$@"; }
watched --json --runs 2 -- sh -c "$(paused 1)"
check "watched: as the schema says" fits <<<"$out"
is "a disturbed run is kept, marked and done again" "$code $(jq -c 'select(.event == "run") | [.run, .verdict]' <<<"$out" | tr '\n' ' ')" '0 [1,"disturbed"] [2,"clean"] [3,"clean"] '
is "by what" "$(jq -r '.offenders[]? | .what + ": " + .subject' <<<"$out")" "stopped: the VM was paused"
is "and does not count" "$(jq -c 'select(.event == "summary") | [.boots, .disturbed, .metrics.n.median]' <<<"$out")" '[2,0,2.5]'
watched --runs 2 --retries 1 -- sh -c "$(paused '*')"
is "up to a bound, and then all count" "$code $(grep -c '^ *[0-9] .* disturbed: stopped$' <<<"$out")" "4 3"
has "which is said" "$err" '3 of the 3 boots that count were disturbed'
watched --json --threshold stopped=1 --runs 1 -- sh -c "$(paused '*')"
is "what disturbs is the user's to say" "$code $(jq -c 'select(.event == "run") | .verdict' <<<"$out")" '0 "clean"'
watched --json --no-watch --runs 1 -- sh -c "$(paused '*')"
is "not looked at" "$code $(jq -c 'select(.event == "run") | .verdict' <<<"$out")" '0 "none"'
watched --json --runs 1 -- "$vmrun" kill quick
is "a VM that ends meanwhile is not seen to its end" "$code $(jq -c 'select(.event == "run") | [.verdict, .not_checked]' <<<"$out")" '0 ["unproven",["the VM ended meanwhile"]]'
if [ "$(nproc)" = 2 ]; then # the second boot needs the CPU that measure stood off during the first
    watched --json --runs 2 --retries 0 --set 'cpu.pin="1"' --set 'cpu.emulator="0"' --metric 'cpu=list:[[:space:]]*([0-9]+)$' -- grep Cpus_allowed_list /proc/self/status
    is "COMMAND leaves the VM's CPU alone" "$code $(jq -c 'select(.event == "run") | .metrics.cpu' <<<"$out" | tr '\n' ' ')" '0 0 0 '
fi
as_before "every VM is gone"

sed 's/^size = .*/size = "a lot"/' "$work/quick.toml" | spec wrong
run_code python3 "$root/tests/harness.py" "$vmrun" "$work/wrong.toml" --in host -- true
is "a spec's problems are a list, which the harness tells" "$code $(grep -c "no measurement: .*memory.size" <<<"$err")" "1 1"

# --- without the VM, on its CPUs ---
run_code "$vmrun" measure "$work/quick.toml" --set 'cpu.pin="0"' --in bare --runs 1 --cooldown 0 --stop-timeout 0 --json --metric 'cpu=list:[[:space:]]*([0-9]+)$' -- grep Cpus_allowed_list /proc/self/status
is "bare: on the vCPU's CPU" "$code $(jq -c 'select(.event == "run") | .metrics.cpu' <<<"$out")" '0 0'

# --- each ready benchmark, on the vCPU's CPU: what its tool prints is what it looks for ---
mkdir -p "$work/bin" "$work/linux"
printf 'mrproper defconfig vmlinux:\n\t@echo $@ >>made\n' >"$work/linux/Makefile"
cat >"$work/bin/stream_c.exe" <<'STREAM'
#!/bin/sh
# no package has STREAM: its words, as version 5.10 prints them
echo 'Function    Best Rate MB/s  Avg time     Min time     Max time'
echo 'Add:            12342.1     0.001966     0.001945     0.001984'
echo 'Triad:          12518.4     0.001939     0.001917     0.001961'
STREAM
chmod +x "$work/bin/stream_c.exe"
truncate -s 16M "$work/read"
# ready NAME TOOL METRIC...: that benchmark gives those numbers, each above 0
ready() {
    local name=$1 tool=$2
    shift 2
    if [ -z "$(PATH=$work/bin:$PATH command -v "$tool")" ]; then
        if [ -n "${CI:-}" ]; then failed "$name" "no $tool"; else echo "note  no $tool: $name is left out"; fi
        return
    fi
    run_code env PATH="$work/bin:$PATH" VMRUN="$vmrun" BENCH_SECONDS=1 BENCH_DISK="$work/read" BENCH_SERVER=127.0.0.1 BENCH_KERNEL="$work/linux" \
        "$root/configs/benchmarks/$name" "$work/quick.toml" --set 'cpu.pin="0"' --in bare --runs 1 --cooldown 0 --json
    is "$name" "$code $(jq -c --args 'select(.event == "summary") | .metrics as $m | [$ARGS.positional[] | $m[.].median > 0]' "$@" <<<"$out")" "0 [$(printf ',true%.0s' "$@" | cut -c2-)]"
}
ready cyclictest cyclictest max_us avg_us
ready fio-randread-depth1 fio fio.read.iops fio.read.latency_ns fio.read.p99_ns
ready fio-randread-depth32 fio fio.read.iops fio.read.bytes_per_second
ready sysbench-cpu sysbench events_per_second
ready sysbench-memory sysbench mib_per_second
ready stream stream_c.exe triad_mb_per_second
ready kernel-build make seconds
is "a kernel's build is clean, and configured first" "$(paste -sd' ' "$work/linux/made")" "mrproper defconfig vmlinux"
for streams in 1 16; do
    iperf3 -s -1 >/dev/null 2>&1 & # for one client
    server=$!
    within 10 grep -q ':1451 ' /proc/net/tcp{,6} || true # it listens: 5201
    ready "iperf3-$streams" iperf3 iperf3.bits_per_second
    kill "$server" 2>/dev/null || true
    wait "$server" || true
done
is "each of them was tried" "$(find "$root/configs/benchmarks" -type f | wc -l)" 9

# --- what is wrong is said before anything starts ---
for wrong in "--in moon -- true" "--threshold noise=1 --in host -- true" "--retries x --in host -- true" "--runs 0 -- true" "--metric x -- true" "--in host" "-- true"; do
    # shellcheck disable=SC2086 # words
    run_code "$vmrun" measure "$work/quick.toml" $wrong
    is "refused: $wrong" "$code" 2
done

# --- an ablation of a stream that is known: 20 % with the knob, a step of the machine in the middle, and no luck ---
# shellcheck disable=SC2016 # for the command's shell
stream='n=$VMRUN_RUN; v=$((1000 + n * 7919 % 13)); if [ "$VMRUN_KNOB$VMRUN_ARM" = cpu.pin=autob ]; then v=$((v * 120 / 100)); fi; if [ $n -gt 26 ]; then v=$((v * 130 / 100)); fi; echo value $v'
run_code "$vmrun" ablate "$work/quick.toml" --json --in host --no-watch --blocks 4 --cooldown 0 --stop-timeout 0 --knob cpu.pin=auto --metric 'v=value ([0-9]+)' -- sh -c "$stream"
is "the knob's effect is claimed, the same VM's is not" "$code $(jq -c 'select(.event == "ablation") | .effects[] | select(.metric == "v") | [.knob, .claimed, (.ratio * 100 | round)]' <<<"$out" | tr '\n' ' ')" \
    '0 ["",false,100] ["cpu.pin=auto",true,120] '
check "as the schema says" fits <<<"$out"
# --- what a profile set, key by key ---
sed '1i profile = "throughput"' "$work/quick.toml" | spec profiled
svg=()
if [ -n "$(command -v gnuplot)" ]; then svg=(--svg "$work/a.svg"); else echo "note  no gnuplot: no picture"; fi
run_code "$vmrun" ablate "$work/profiled.toml" --all "${svg[@]}" --json --in host --blocks 4 --no-watch --cooldown 0 --stop-timeout 0 --metric 'v=value ([0-9]+)' -- sh -c "$stream"
is "--all: each key of the profile" "$code $(jq -c 'select(.event == "ablation") | .effects[] | select(.metric == "v") | [.knob, .claimed]' <<<"$out" | tr '\n' ' ')" \
    '0 ["",false] ["memory.prealloc=\"auto\"",false] '
check "as the schema says" fits <<<"$out"
if [ -n "${svg[*]}" ]; then
    has "the forest plot is a picture" "$(cat "$work/a.svg")" '^<svg '
    has "with a row for each knob" "$(cat "$work/a.svg")" 'memory.prealloc="auto" *v<'
fi
run_code "$vmrun" ablate "$work/quick.toml" --all --in host -- true
is "--all without a profile" "$code" 2
has "says what is wanted" "$err" 'a spec with a profile'
run_code "$vmrun" ablate "$work/quick.toml" --knob memory.size=1P --in host -- true
is "a knob that cannot be had is told before anything starts" "$code" 2
has "and why" "$err" '--knob memory.size=1P: .*memory.size'
as_before "every VM is gone"

# --- in the guest, by its agent ---
{
    printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n[agent]\n'
    boot "vmrun.more vmrun.then=agent"
} | spec inside
run_code python3 "$root/tests/harness.py" "$vmrun" "$work/inside.toml" --no-watch --runs 2 --cooldown 0 --stop-timeout 0 --ready 180 --metric 'n=value ([0-9]+)' -- echo value 42
is "guest: the harness reads it" "$code $(head -n 1 <<<"$out")" "0 exit 0 runs 2 counted 2 disturbed 0"
has "guest: its words" "$out" '^n 2 42\.0 42\.0 42\.0$'
as_before "every VM is gone"
finish
