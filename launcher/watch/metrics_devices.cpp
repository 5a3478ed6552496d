// The metrics of a VM's disks (QMP query-blockstats), interfaces (as the guest sees them: what a tap sends it receives), and of KVM.
#include <fmt/format.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cmath>
#include <sstream>

#include "launcher/proof/kvm_stats.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"
#include "launcher/watch/metrics.hpp"

namespace launcher::inline watch {

namespace {

namespace json = boost::json;

struct Counter {
  const char *key, *name, *help;
  double scale;
};

constexpr std::array<Counter, 9> of_disks = {
    {{"rd_bytes", "read_bytes", "Bytes read from a disk", 1},
     {"rd_operations", "read_requests", "Read requests to a disk", 1},
     {"rd_total_time_ns", "read_time_seconds", "Time spent on reads from a disk", 1e-9},
     {"wr_bytes", "write_bytes", "Bytes written to a disk", 1},
     {"wr_operations", "write_requests", "Write requests to a disk", 1},
     {"wr_total_time_ns", "write_time_seconds", "Time spent on writes to a disk", 1e-9},
     {"flush_operations", "flush_requests", "Flush requests to a disk", 1},
     {"flush_total_time_ns", "flush_time_seconds", "Time spent on flushes of a disk", 1e-9},
     {"failed_rd_operations", "read_errors", "Reads that failed", 1}}};

constexpr std::array<Counter, 8> of_interfaces = {
    {{"tx_bytes", "receive_bytes", "Bytes that the guest's interface received", 1},
     {"tx_packets", "receive_packets", "Packets that it received", 1},
     {"tx_errors", "receive_errors", "Packets to it that failed", 1},
     {"tx_dropped", "receive_drops", "Packets to it that were dropped", 1},
     {"rx_bytes", "transmit_bytes", "Bytes that the guest's interface sent", 1},
     {"rx_packets", "transmit_packets", "Packets that it sent", 1},
     {"rx_errors", "transmit_errors", "Packets from it that failed", 1},
     {"rx_dropped", "transmit_drops", "Packets from it that were dropped", 1}}};

// "/machine/peripheral/disk0/virtio-backend" -> "disk0"
std::string device_of(const json::value& drive) {
  const std::string text = text_of(member(drive, "qdev"));
  constexpr std::string_view below = "/machine/peripheral/";
  if (!text.starts_with(below)) return "";
  return text.substr(below.size(), text.find('/', below.size()) - below.size());
}

void add_disks(Metrics& metrics, const Labels& vm, const Subject& subject) {
  const Answer answer = ask(subject, {"query-blockstats"});
  if (!answer.value || !answer.value->is_array()) return;
  for (const json::value& drive : answer.value->get_array()) {
    const std::string device = device_of(drive);
    const json::value* stats = member(drive, "stats");
    if (device.empty() || stats == nullptr) continue;
    for (const Counter& one : of_disks)
      if (const json::value* value = member(*stats, one.key); value != nullptr && value->is_number())
        metrics.counter(fmt::format("libvirt_domain_block_stats_{}", one.name), one.help,
                        with(vm, "target_device", device), value->to_number<double>() * one.scale);
  }
}

// The interface behind an open tap (kernel: drivers/net/tun.c, "iff:" in fdinfo).
std::string tap_of(const Subject& subject, const Keys& netdev) {
  std::string fd = key(netdev, "fds").empty() ? key(netdev, "fd") : key(netdev, "fds");
  fd = fd.substr(0, fd.find(':'));
  return fd.empty() ? "" : field(subject, fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd), "iff").value_or("");
}

void add_interfaces(Metrics& metrics, const Labels& vm, const Subject& subject) {
  for (const Keys& netdev : arguments(subject, "-netdev")) {
    const std::string tap = tap_of(subject, netdev);
    if (tap.empty() || tap.find('/') != std::string::npos) continue;
    const std::string dir = "/sys/class/net/" + tap;
    Labels of = with(vm, "target_device", tap);
    of.emplace_back("source_bridge", subject.root.link_name(dir + "/brport/bridge").value_or(""));
    for (const Counter& one : of_interfaces)
      if (const auto value = subject.root.read_number(fmt::format("{}/statistics/{}", dir, one.key)))
        metrics.counter(fmt::format("libvirt_domain_interface_stats_{}", one.name), one.help, of,
                        static_cast<double>(*value));
  }
}

double scale_of(const StatKind& kind) { return kind.base == 0 ? 1 : std::pow(kind.base, kind.exponent); }

std::string unit_of(const StatKind& kind) {
  return kind.unit == "seconds" || kind.unit == "bytes" ? "_" + kind.unit : "";
}

// "halt_poll_success_ns", which is in seconds here: "halt_poll_success_seconds"
std::string metric_name(const std::string& name, const StatKind& kind) {
  std::string base = name;
  if (!unit_of(kind).empty() && base.ends_with("_ns")) base.resize(base.size() - 3);
  for (char& c : base)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return "vmrun_kvm_" + base + unit_of(kind);
}

// Bucket k of a log2 histogram holds values from 2^(k-1) up to 2^k; of a linear one those below (k+1) times its size (kernel:
// Documentation/virt/kvm/api.rst). Either's last bucket has no upper end.
std::vector<double> bounds_of(const StatKind& kind, std::size_t buckets) {
  std::vector<double> bounds;
  for (std::size_t k = 0; k + 1 < buckets; ++k)
    bounds.push_back(scale_of(kind) * (kind.bucket_size > 0 ? static_cast<double>((k + 1) * kind.bucket_size)
                                                            : std::ldexp(1.0, static_cast<int>(k))));
  return bounds;
}

void add_stats(Metrics& metrics, const Labels& labels, const Stats& stats,
               const std::map<std::string, StatKind>& kinds) {
  for (const auto& [name, value] : stats.numbers) {
    const auto kind = kinds.find(name);
    if (kind == kinds.end()) continue;
    const std::string help = "KVM's " + name;
    const double scaled = static_cast<double>(value) * scale_of(kind->second);
    if (kind->second.type == "cumulative")
      metrics.counter(metric_name(name, kind->second), help, labels, scaled);
    else
      metrics.gauge(metric_name(name, kind->second), help, labels, scaled);
  }
  for (const auto& [name, buckets] : stats.histograms)
    if (const auto kind = kinds.find(name); kind != kinds.end())
      metrics.histogram(metric_name(name, kind->second), "KVM's " + name, labels,
                        bounds_of(kind->second, buckets.size()), buckets);
}

// The same for every VM on this kernel and QEMU: asked once.
const std::map<std::string, StatKind>& kinds_of(const Subject& subject, const std::string& target) {
  static std::map<std::string, std::map<std::string, StatKind>> known;
  auto& kinds = known[subject.plan.qemu_version + " " + target];
  if (kinds.empty()) kinds = stat_kinds(subject, target);
  return kinds;
}

}  // namespace

void add_devices(Metrics& metrics, const Labels& vm, const Subject& subject) {
  add_disks(metrics, vm, subject);
  add_interfaces(metrics, vm, subject);
}

void add_kvm(Metrics& metrics, const Labels& vm, const Subject& subject) {
  if (subject.plan.accel != "kvm") return;
  std::string why;
  const auto& kinds = kinds_of(subject, "vcpu");
  for (const auto& [vcpu, stats] : vcpu_stats(subject, vcpu_paths(subject), why))
    add_stats(metrics, with(vm, "vcpu", std::to_string(vcpu)), stats, kinds);
  add_stats(metrics, vm, vm_stats(subject, why), kinds_of(subject, "vm"));
}

}  // namespace launcher::watch
