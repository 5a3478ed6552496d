# shellcheck shell=bash
# For the tests that run in the lab (scripts/lab): source it first. A test is a row of checks; its status is 0 when all held.
#     check "what must be so" COMMAND...    equal "what must be so" WANTED FOUND     fact "what the kernel said" VALUE
# A test goes on after a failed check, so that one run shows all of them; what makes going on senseless is `check ... || die`.

passed=0 failed=0

# Whatever ends the test, the count is told; an end without any check, or by an error, is a failure.
finish() {
    local status=$?
    trap - EXIT
    if [ "$status" = 77 ]; then exit 77; fi
    [ "$status" = 0 ] || [ "$failed" != 0 ] || echo "ended by an error, status $status"
    echo "$passed checks held, $failed did not"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ] || exit 1
    exit "$status"
}
trap finish EXIT
trap '' PIPE # writing to something that has gone is an error of that command, not the end of the test

now() { cut -d' ' -f1 /proc/uptime; }
# since SECONDS: how long ago `now` said that
since() { awk -v a="$(now)" -v b="$1" 'BEGIN { printf "%.1f", a - b }'; }

ok() { passed=$((passed + 1)); printf '[%s] ok      %s\n' "$(now)" "$1"; }
not_ok() { failed=$((failed + 1)); printf '[%s] FAILED  %s\n' "$(now)" "$1"; }

# check DESCRIPTION COMMAND...: the command's output is shown only when it fails
check() {
    local description=$1 output
    shift
    if output=$("$@" 2>&1); then
        ok "$description"
    else
        not_ok "$description"
        printf '    %s\n' "command: $*" "${output//$'\n'/$'\n'    }"
        return 1
    fi
}

# equal DESCRIPTION WANTED FOUND
equal() {
    if [ "$2" = "$3" ]; then
        ok "$1: $3"
    else
        not_ok "$1"
        printf '    wanted: %s\n    found:  %s\n' "$2" "$3"
        return 1
    fi
}

# fact WHAT VALUE: kept in /out/facts for the table of results
fact() { printf '%s\t%s\n' "$1" "$2" | tee -a /out/facts | sed 's/\t/: /; s/^/        /'; }

die() { not_ok "$*"; exit 1; }
# skip REASON: this lab cannot show it
skip() { echo "skipped: $*"; exit 77; }

# wait_for SECONDS COMMAND...: until it succeeds; false when it did not in that time
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# boot_wait LOG [PID] [SECONDS]: until the test guest that writes LOG is ready; false when PID ends before that, or time is up.
# A guest with four vCPUs is ready in 6 to 12 s here, but in 30 when the machine below is busy.
boot_wait() {
    local log=$1 pid=${2:-} end=$((SECONDS + ${3:-120}))
    until grep -q '^guest: ready' "$log" 2>/dev/null; do
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
            grep -q '^guest: ready' "$log" && return 0
            echo "process $pid ended; last lines of $log:"
        elif [ "$SECONDS" -ge "$end" ]; then
            echo "not ready after ${3:-120} s; last lines of $log:"
        else
            sleep 0.1
            continue
        fi
        tail -n 5 "$log"
        return 1
    done
}

# qmp SOCKET COMMAND...: a line of JSON per command, which is a name or JSON; events are passed over. False when no answer comes.
qmp() {
    local socket=$1 command line status=0
    shift
    coproc QMP { exec socat - "UNIX-CONNECT:$socket" 2>/dev/null; }
    # copies, for bash forgets the coprocess's own numbers when it ends
    local from to pid=$QMP_PID
    exec {from}<&"${QMP[0]}" {to}>&"${QMP[1]}" || return 1
    read -r -t 10 line <&"$from" || status=1 # the greeting
    for command in qmp_capabilities "$@"; do
        [ "$status" = 0 ] || break
        [ "${command:0:1}" = "{" ] || command="{\"execute\":\"$command\"}"
        { echo "$command" >&"$to"; } 2>/dev/null || status=1
        while :; do
            read -r -t 20 line <&"$from" || { status=1; break; }
            case $line in *'"event": "'*) ;; *) break ;; esac
        done
        [ "$status" != 0 ] || [ "$command" = '{"execute":"qmp_capabilities"}' ] || echo "$line"
    done
    exec {from}<&- {to}>&-
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return "$status"
}

# cpus_of TID: the CPUs a thread may run on, as the kernel says
cpus_of() { awk '$1 == "Cpus_allowed_list:" { print $2 }' "/proc/$1/status"; }

# threads PID: each of its threads: id, CPUs, name
threads() {
    local task
    for task in "/proc/$1/task"/*; do
        printf '%s %s %s\n' "${task##*/}" "$(cpus_of "${task##*/}")" "$(cat "$task/comm")"
    done
}

# set_pages NODE PAGES [SIZE_KB]: asks for a node's pool of huge pages; prints what the kernel granted
set_pages() {
    local pool=/sys/devices/system/node/node$1/hugepages/hugepages-${3:-2048}kB/nr_hugepages
    echo "$2" >"$pool"
    cat "$pool"
}

# pages NODE [SIZE_KB]: "all free" of that pool
pages() {
    local pool=/sys/devices/system/node/node$1/hugepages/hugepages-${2:-2048}kB
    echo "$(cat "$pool/nr_hugepages") $(cat "$pool/free_hugepages")"
}
