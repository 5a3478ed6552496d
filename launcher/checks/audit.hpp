// What the checks look at: a machine below a root directory, and the VM it is to be fit for. The rule: read-only; each
// per-CPU file is read once, however many checks ask, and only for the CPUs in question.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/checks/check.hpp"
#include "launcher/devices/device.hpp"
#include "launcher/plan/facts.hpp"
#include "launcher/spec/spec.hpp"
#include "launcher/text/problem.hpp"
#include "topology/host_topology.hpp"
#include "topology/placement.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline plan {
struct LaunchPlan;
}  // namespace launcher::plan

namespace launcher::inline checks {

// A disk of the VM and the kernel's name of what it is on: "nvme0n1"; "" where that is no block device (tmpfs, overlay).
struct AuditedDisk {
  std::string key;  // "disk[0]"
  std::string path;
  std::string block;
  Disk::Facts facts;
};

struct AuditedNic {
  std::string key;
  std::string bridge;  // "" for user mode or a tap of its own
  bool tap = false;    // the host's kernel moves its packets (tap, macvtap)
  bool user = false;   // a process of the host ends its connections (user, passt)
  Nic::Facts facts;
};

struct AuditedVm {
  std::string name;
  bool pinned = true;  // each vCPU on a CPU of its own
  bool lock = false;   // memory.lock
  bool kvm = true;
  std::optional<topology::Placement> placement;  // nullopt: it has none, and the problems say why
  Problems problems;
  std::vector<AuditedDisk> disks;
  std::vector<AuditedNic> nics;
  std::vector<std::string> passed_through;  // PCI addresses
  bool root = true;                         // vmrun runs as root: no limit of its user holds
  bool huge() const;                        // its memory lies in huge pages
  topology::CpuSet cpus() const;            // of its vCPUs
  std::vector<unsigned> nodes() const;      // of its memory
  bool taps() const;
  bool user_net() const;
};

// placement: as it is planned (or as the VM runs); problems: why there is none.
AuditedVm audited_vm(const Spec& spec, const Facts& facts, const LaunchPlan* plan, Problems problems);

// The block device that a file lies on (or is), by the kernel's name of the whole disk; "" if there is none.
std::string block_device_of(const topology::Sysfs& sysfs, const std::string& path);

// /proc/cmdline: key and value ("" without one), in order; '-' and '_' are the same in keys, as for the kernel.
class BootLine {
 public:
  explicit BootLine(std::string_view text);
  bool has(std::string_view key) const { return value(key).has_value(); }
  bool has(std::string_view key, std::string_view wanted) const { return value(key) == wanted; }
  std::optional<std::string> value(std::string_view key) const;  // the last one counts
  // A CPU list after isolcpus' own flags ("nohz,domain,managed_irq,"). nullopt: not there, or no list.
  std::optional<topology::CpuSet> cpus(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, std::string>> words_;
};

// How fast a CPU runs under load, in MHz; nullopt when it could not be tried there.
using MeasureMhz = std::function<std::optional<double>(unsigned cpu)>;
MeasureMhz measure_by_spinning();  // a chain of dependent additions: one per cycle, whatever the kernel says

struct AuditedFunction {
  std::string address;
  unsigned class_id = 0;  // 0x0200
  std::string path;       // "/sys/bus/pci/devices/0000:31:00.0"
};

class Audit {
 public:
  // A value and the CPUs that have it.
  using Groups = std::map<std::string, topology::CpuSet>;

  Audit(topology::Sysfs sysfs, topology::HostTopology host);

  std::optional<AuditedVm> vm;
  MeasureMhz measure;       // empty: nothing is measured (another machine's files)
  topology::CpuSet others;  // CPUs of running VMs: never measured on

  const topology::Sysfs& sysfs() const { return sysfs_; }
  const topology::HostTopology& host() const { return host_; }
  const BootLine& boot() const { return boot_; }

  topology::CpuSet cpus() const;        // the VM's vCPUs', else all
  std::vector<unsigned> nodes() const;  // the VM's, else all
  topology::CpuSet isolated() const { return isolated_; }
  topology::CpuSet owned() const;  // what should see no foreign task: the VM's CPUs, else the isolated ones

  bool flag(std::string_view name) const { return flags_.contains(std::string(name)); }  // of /proc/cpuinfo
  bool vmx_flag(std::string_view name) const { return vmx_flags_.contains(std::string(name)); }
  bool knows_vmx_flags() const { return !vmx_flags_.empty(); }
  bool intel() const { return vendor_ == "GenuineIntel"; }
  bool amd() const { return vendor_ == "AuthenticAMD" || vendor_ == "HygonGenuine"; }
  bool is_vm() const { return flag("hypervisor"); }
  bool spins(std::string_view disk) const;  // "sda"; a virtual disk says "rotational" whatever it is made of: false
  bool smt() const;                         // two threads of a core are online

  std::optional<std::string> text(std::string_view path) const { return sysfs_.read(path); }
  std::optional<std::uint64_t> number(std::string_view path) const { return sysfs_.read_number(path); }
  bool exists(std::string_view path) const { return sysfs_.exists(path); }
  std::optional<topology::CpuSet> cpu_list(std::string_view path) const;  // "(null)" is empty
  std::optional<topology::CpuSet> cpu_mask(std::string_view path) const;  // "f,ffffffff"
  std::optional<std::string> parameter(std::string_view module, std::string_view name) const;
  std::optional<bool> switch_of(std::string_view module, std::string_view name) const;  // Y, N, 1, 0
  std::string kvm_module() const;                                                       // "kvm_intel", "kvm_amd", ""
  bool service_runs(std::string_view unit) const;                                       // by its cgroup, v2 or v1

  // /sys/devices/system/cpu/cpuN/FILE of cpus(), by value; CPUs without the file are in none.
  const Groups& per_cpu(const std::string& file) const;
  // The same for the first CPU of each kind (or of each core): files that are alike within one.
  Groups per_kind(const std::string& file) const;
  Groups per_core(const std::string& file) const;

  std::vector<AuditedFunction> pci() const;  // as sysfs lists them; read once

 private:
  Groups groups_of(const std::string& file, const topology::CpuSet& cpus) const;

  topology::Sysfs sysfs_;
  topology::HostTopology host_;
  BootLine boot_;
  topology::CpuSet isolated_;
  std::string vendor_;
  std::set<std::string> flags_, vmx_flags_;
  mutable std::map<std::string, Groups> per_cpu_;
  mutable std::optional<std::vector<AuditedFunction>> pci_;
};

// Every check of the table that concerns the VM (or all of them), in the table's order; each finding has its row's words.
std::vector<Finding> run_checks(const Audit& audit);

// For a person. verbose: also each thing that is well. Ends with a line that counts.
std::string findings_text(const std::vector<Finding>& findings, bool verbose);
std::string findings_json(const std::vector<Finding>& findings);

// A root directory as the audit reads it: /vmrun/host.json in it is its topology, else hwloc reads it from there.
topology::HostTopology topology_below(const topology::Sysfs& sysfs);

}  // namespace launcher::checks
