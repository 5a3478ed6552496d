// Reading a machine for the checks: flags, boot line, per-CPU files, lists.
#include "launcher/checks/audit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <sstream>
#include <stdexcept>

#include "topology/read_host.hpp"

namespace launcher::inline checks {

using topology::CpuSet;

namespace {

std::string canonical_key(std::string_view key) {
  std::string text(key);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

std::set<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

// "flags\t\t: fpu vme ..." of the first CPU: all CPUs of a machine have the same, or the guest would not run on them.
std::string cpuinfo_field(const std::string& cpuinfo, std::string_view name) {
  for (std::size_t at = cpuinfo.find(name); at != cpuinfo.npos; at = cpuinfo.find(name, at + 1)) {
    if (at != 0 && cpuinfo[at - 1] != '\n') continue;
    const std::size_t colon = cpuinfo.find_first_not_of(" \t", at + name.size());
    if (colon == cpuinfo.npos || cpuinfo[colon] != ':') continue;
    const std::size_t end = std::min(cpuinfo.find('\n', colon), cpuinfo.size());
    return cpuinfo.substr(std::min(colon + 2, end), end - std::min(colon + 2, end));
  }
  return "";
}

}  // namespace

BootLine::BootLine(std::string_view text) {
  std::istringstream in{std::string(text)};
  for (std::string word; in >> word;) {
    const auto equals = word.find('=');
    words_.emplace_back(canonical_key(word.substr(0, equals)), equals == word.npos ? "" : word.substr(equals + 1));
  }
}

std::optional<std::string> BootLine::value(std::string_view key) const {
  const std::string wanted = canonical_key(key);
  for (auto word = words_.rbegin(); word != words_.rend(); ++word)
    if (word->first == wanted) return word->second;
  return std::nullopt;
}

std::optional<CpuSet> BootLine::cpus(std::string_view key) const {
  auto text = value(key);
  if (!text || text == "all") return std::nullopt;
  while (!text->empty() && std::isalpha(static_cast<unsigned char>(text->front())) != 0) {
    if (text->starts_with("N")) return std::nullopt;  // "N" is the last CPU, which this line does not tell
    const auto comma = text->find(',');
    *text = comma == text->npos ? "" : text->substr(comma + 1);
  }
  const auto cpus = CpuSet::parse(*text);
  return cpus ? std::optional(*cpus) : std::nullopt;
}

Audit::Audit(topology::Sysfs sysfs, topology::HostTopology host)
    : sysfs_(std::move(sysfs)), host_(std::move(host)), boot_(sysfs_.read("/proc/cmdline").value_or("")) {
  isolated_ = cpu_list("/sys/devices/system/cpu/isolated").value_or(CpuSet{});
  // The first CPU's part is enough, and the kernel makes each CPU's part anew (with an interrupt to that CPU).
  const std::string cpuinfo = sysfs_.read_start("/proc/cpuinfo", 4096).value_or("");
  vendor_ = cpuinfo_field(cpuinfo, "vendor_id");
  flags_ = words_of(cpuinfo_field(cpuinfo, "flags"));
  vmx_flags_ = words_of(cpuinfo_field(cpuinfo, "vmx flags"));
}

CpuSet Audit::cpus() const {
  if (vm && !vm->cpus().empty()) return vm->cpus();
  return host_.all_cpus();
}

std::vector<unsigned> Audit::nodes() const {
  if (vm && !vm->nodes().empty()) return vm->nodes();
  std::vector<unsigned> all;
  all.reserve(host_.nodes.size());
  for (const topology::Node& node : host_.nodes) all.push_back(node.id);
  return all;
}

CpuSet Audit::owned() const {
  if (vm) return vm->pinned ? vm->cpus() : CpuSet{};
  return isolated_;
}

bool Audit::spins(std::string_view disk) const {
  if (disk.starts_with("vd") || disk.starts_with("xvd")) return false;
  return number(fmt::format("/sys/block/{}/queue/rotational", disk)) == 1U;
}

bool Audit::smt() const { return host_.threads_per_core() > 1; }

std::optional<CpuSet> Audit::cpu_list(std::string_view path) const {
  const auto list = text(path);
  if (!list) return std::nullopt;
  if (*list == "(null)") return CpuSet{};
  const auto cpus = CpuSet::parse(*list);
  return cpus ? std::optional(*cpus) : std::nullopt;
}

std::optional<CpuSet> Audit::cpu_mask(std::string_view path) const {
  const auto mask = text(path);
  const auto cpus = mask ? CpuSet::parse_mask(*mask) : std::unexpected("");
  return cpus ? std::optional(*cpus) : std::nullopt;
}

std::optional<std::string> Audit::parameter(std::string_view module, std::string_view name) const {
  return text(fmt::format("/sys/module/{}/parameters/{}", module, name));
}

std::optional<bool> Audit::switch_of(std::string_view module, std::string_view name) const {
  const auto value = parameter(module, name);
  if (!value || value->empty()) return std::nullopt;
  return value->front() == 'Y' || value->front() == '1';
}

std::string Audit::kvm_module() const {
  for (const char* module : {"kvm_intel", "kvm_amd"})
    if (exists(std::string("/sys/module/") + module)) return module;
  return "";
}

bool Audit::service_runs(std::string_view unit) const {
  for (const char* base : {"/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice"}) {
    // cgroup files tell their size as 0; one byte says whether a process is in it
    const auto processes = sysfs_.read_start(fmt::format("{}/{}.service/cgroup.procs", base, unit), 1);
    if (processes) return !processes->empty();
  }
  return false;
}

Audit::Groups Audit::groups_of(const std::string& file, const CpuSet& cpus) const {
  Groups groups;
  const topology::Sysfs::Directory directory = sysfs_.directory("/sys/devices/system/cpu");
  for (const unsigned cpu : cpus.to_vector())
    if (auto value = directory.read("cpu" + std::to_string(cpu) + "/" + file)) groups[*std::move(value)].add(cpu);
  return groups;
}

const Audit::Groups& Audit::per_cpu(const std::string& file) const {
  const auto found = per_cpu_.find(file);
  return found != per_cpu_.end() ? found->second : per_cpu_.emplace(file, groups_of(file, cpus())).first->second;
}

Audit::Groups Audit::per_kind(const std::string& file) const {
  std::map<unsigned, unsigned> first;
  for (const unsigned cpu : cpus().to_vector())
    if (const topology::Pu* pu = host_.pu(cpu)) first.try_emplace(pu->kind, cpu);
  CpuSet some;
  for (const auto& [kind, cpu] : first) some.add(cpu);
  return groups_of(file, some);
}

Audit::Groups Audit::per_core(const std::string& file) const {
  std::map<unsigned, unsigned> first;
  for (const unsigned cpu : cpus().to_vector())
    if (const topology::Pu* pu = host_.pu(cpu)) first.try_emplace(pu->core, cpu);
  CpuSet some;
  for (const auto& [core, cpu] : first) some.add(cpu);
  return groups_of(file, some);
}

std::vector<AuditedFunction> Audit::pci() const {
  if (pci_) return *pci_;
  pci_.emplace();
  for (const std::string& address : sysfs_.list("/sys/bus/pci/devices")) {
    const std::string path = "/sys/bus/pci/devices/" + address;
    const std::string id = text(path + "/class").value_or("");  // "0x020000"
    unsigned value = 0;
    if (id.size() > 2) std::from_chars(id.data() + 2, id.data() + id.size(), value, 16);
    pci_->push_back({address, value >> 8, path});
  }
  return *pci_;
}

topology::HostTopology topology_below(const topology::Sysfs& sysfs) {
  const auto json = sysfs.read("/vmrun/host.json");
  auto host = json ? topology::host_from_json(*json) : topology::read_this_host(topology::Devices::skip, sysfs);
  if (!host) throw std::runtime_error("cannot read the machine: " + host.error());
  return *std::move(host);
}

}  // namespace launcher::checks
