#!/bin/bash
# `vmrun metrics` before those who read them: promtool takes them, a real node_exporter serves the text file, a real Prometheus scrapes it
# and `--serve`; and the numbers are the kernel's and QEMU's.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need prometheus promtool prometheus-node-exporter curl
bridge=vmrune2e9
make_bridge "$bridge" || skip "no bridge can be made here (ip link add type bridge)"
truncate -s 64M "$work/disk.raw"

# free_port: one that nobody listens on now
free_port() {
    local port
    for port in $(shuf -n 20 -i 20000-30000); do
        ss -Hltn "sport = :$port" | grep -q . || { echo "$port"; return; }
    done
}
others=()
# shellcheck disable=SC2016 # expanded at the end
at_end+=('for pid in "${others[@]}"; do kill "$pid" 2>/dev/null; done')
# value NAME-AND-LABELS: of the page in $out
value() { awk -v name="$1" 'index($0, name " ") == 1 { print $NF }' <<<"$out"; }
# asked QUERY: the first value that Prometheus has for it
asked() { curl -sf --get "http://127.0.0.1:$prometheus_port/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1] // ""'; }
# shellcheck disable=SC2317 # called by within
known() { [ -n "$(asked "$1")" ]; }

run_code "$vmrun" metrics
is "without a VM: exit code" "$code" 0
has "without a VM" "$out" '^vmrun_vms 0$'

qemu=${qemus[-2]}
version=$(version_of "$qemu")
use_qemu "$qemu"
{
    printf 'accel = "tcg"\n[cpu]\ncount = 2\n[memory]\nsize = "256M"\npage = "4K"\n'
    printf '[[disk]]\npath = "%s"\nformat = "raw"\n[[net]]\nbridge = "%s"\nvhost = false\n' "$work/disk.raw" "$bridge"
    boot "vmrun.report vmrun.disk=vda vmrun.then=idle"
} | spec a
run_in_background pid a
says a '^guest: ready' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work"/a.{out,err})"

run_code "$vmrun" metrics
page=$out
check "promtool takes them" promtool check metrics <<<"$page"
is "the phase" "$(value 'vmrun_vm_phase{domain="a",phase="running"}') $(value 'vmrun_vm_phase{domain="a",phase="paused"}')" "1 0"
is "vCPUs" "$(value 'libvirt_domain_info_virtual_cpus{domain="a"}')" 2
is "memory" "$(value 'libvirt_domain_info_maximum_memory_bytes{domain="a"}')" "$((256 << 20))"
tap=$(ip -o link show master "$bridge" | cut -d: -f2 | tr -d ' ' | head -n 1)
sent=$(cat "/sys/class/net/$tap/statistics/rx_packets")
has "what the guest sent, as its interface counts it ($sent)" "$page" "^libvirt_domain_interface_stats_transmit_packets_total\{domain=\"a\",target_device=\"$tap\",source_bridge=\"$bridge\"\} [0-9]+$"
"$vmrun" qmp a query-blockstats >"$work/block.json"
read_bytes=$(jq '[.. | objects | select((.qdev // "") | test("/peripheral/disk0/")) | .stats.rd_bytes] | first' "$work/block.json")
is "bytes read, as QEMU counts them" "$(value 'libvirt_domain_block_stats_read_bytes_total{domain="a",target_device="disk0"}' | awk '{ printf "%d", $1 }')" "$read_bytes"
main=$(qemu_of a)
ran=$(awk '{ print $1 / 1e9 }' "/proc/$main/schedstat")
check "the emulator's time, as the kernel counts it (at most $ran)" awk -v ran="$ran" -v told="$(value 'vmrun_thread_run_seconds_total{domain="a",role="emulator"}')" 'BEGIN { exit !(told > 0) }'
has "of each vCPU" "$page" '^libvirt_domain_vcpu_delay_seconds_total\{domain="a",vcpu="1"\} [0-9.e+-]+$'
has "of this host" "$page" '^vmrun_host_cpus\{state="all"\} '
has "OpenMetrics has an end" "$("$vmrun" metrics --openmetrics | tail -n 1)" '^# EOF$'

mkdir "$work/text"
"$vmrun" metrics --textfile "$work/text/vmrun.prom"
is "nothing but the file" "$(ls -A "$work/text")" vmrun.prom
chmod -R a+rX "$work/text"
exporter_port=$(free_port)
prometheus-node-exporter --web.listen-address="127.0.0.1:$exporter_port" --collector.disable-defaults --collector.textfile \
    --collector.textfile.directory="$work/text" >"$work/exporter.log" 2>&1 &
others+=($!)
served_port=$(free_port)
"$vmrun" metrics --serve "127.0.0.1:$served_port" 2>"$work/serve.err" &
others+=($!)
check "node_exporter serves the file" within 20 bash -c "curl -sf http://127.0.0.1:$exporter_port/metrics | grep -q '^libvirt_domain_info_virtual_cpus.domain=\"a\".* 2$'"
is "node_exporter had nothing against it" "$(curl -sf "http://127.0.0.1:$exporter_port/metrics" | awk '$1 == "node_textfile_scrape_error" { print $2 }')" 0
check "and vmrun itself" within 20 curl -sf -o "$work/page" "http://127.0.0.1:$served_port/metrics"
check "promtool takes that page, too" promtool check metrics <"$work/page"
is "another page is not there" "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$served_port/etc/passwd")" 404
is "nothing is posted" "$(curl -s -o /dev/null -w '%{http_code}' -X POST -d x "http://127.0.0.1:$served_port/metrics")" 405
has "who takes OpenMetrics gets it" "$(curl -s -H 'Accept: application/openmetrics-text' "http://127.0.0.1:$served_port/metrics" | tail -n 1)" '^# EOF$'
# who connects and says nothing keeps nobody out, were they many
silent=()
for ((i = 0; i < 40; i++)); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$served_port"
    silent+=("$fd")
done
check "the next one is served beside 40 silent ones" curl -sf -m 8 -o /dev/null "http://127.0.0.1:$served_port/metrics"
for fd in "${silent[@]}"; do exec {fd}>&-; done

prometheus_port=$(free_port)
cat >"$work/prometheus.yml" <<EOF
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: file, static_configs: [{targets: ["127.0.0.1:$exporter_port"]}]}
  - {job_name: served, static_configs: [{targets: ["127.0.0.1:$served_port"]}]}
EOF
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --web.listen-address="127.0.0.1:$prometheus_port" >"$work/prometheus.log" 2>&1 &
others+=($!)
for job in file served; do
    check "Prometheus has the VM by $job" within 40 known "libvirt_domain_info_virtual_cpus{job=\"$job\",domain=\"a\"}"
    is "its value by $job" "$(asked "libvirt_domain_info_virtual_cpus{job=\"$job\",domain=\"a\"}")" 2
done
is "what it is, by Prometheus" "$(curl -sf "http://127.0.0.1:$prometheus_port/api/v1/metadata?metric=libvirt_domain_info_cpu_time_seconds_total" | jq -r '.data[][0].type')" counter
dashboard=$root/configs/dashboard.json
for name in $(jq -r '.. | .expr? // empty' "$dashboard" | grep -oE '(vmrun|libvirt)_[a-z0-9_]+' | sort -u); do
    case $name in vmrun_kvm_*) continue ;; esac # KVM's: the lab has it
    has "the dashboard's $name is there" "$page" "^${name}[{ ]"
done

"$vmrun" stop a 2>/dev/null
exits "exit code" "$pid" 60 0
run_code "$vmrun" metrics
has "its last run is told" "$out" '^vmrun_vm_last_exit_code\{domain="a"\} 0$'
run_code "$vmrun" metrics --serve nowhere
is "no address: exit code" "$code" 2
finish
