// LaunchPlan: everything a launch will do, as data; make_plan() is a pure function of values. The rule: what `vmrun plan`
// shows is what `vmrun run` does, because it is what it does.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/guest_settings.hpp"
#include "launcher/devices/identity.hpp"
#include "launcher/devices/kind.hpp"
#include "launcher/devices/qemu_args.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/plan/facts.hpp"
#include "launcher/spec/spec.hpp"
#include "launcher/steps/step.hpp"
#include "launcher/text/problem.hpp"
#include "topology/host_topology.hpp"
#include "topology/placement.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline plan {

// An iothread and the CPUs it shall have.
struct IothreadPin {
  std::string id;
  topology::CpuSet cpus;
  friend bool operator==(const IothreadPin&, const IothreadPin&) = default;
};

// A CPU feature as it was asked for: read back from vCPU 0 before the guest runs.
struct CpuFeature {
  std::string name;
  bool on = true;
  friend bool operator==(const CpuFeature&, const CpuFeature&) = default;
};

struct LaunchPlan {
  std::string name;
  std::string uuid;
  std::string accel;  // "kvm" | "tcg"
  std::string qemu;   // binary
  std::string qemu_version;
  std::optional<unsigned> uid;  // QEMU's; nullopt: ours
  topology::Placement placement;
  topology::Reservation reservation;
  std::vector<IothreadPin> iothreads;  // in the order of -object iothread
  bool pinned = false;
  std::vector<CpuFeature> features;
  unsigned vcpu_fifo = 0, iothread_fifo = 0;  // SCHED_FIFO priorities; 0: ordinary
  bool core_cookie = false;                   // all of QEMU's threads have one cookie, and nobody else has it
  std::string partition;                      // the isolated group of the vCPUs, within cgroup version 2; "": none
  std::vector<std::string> groups;            // directories of cgroup and resctrl that are this VM's alone
  unsigned vhost_workers = 0;                 // queue pairs served by kernel vhost
  std::string run_dir;
  std::vector<topology::PageClaim> spare;  // huge pages for memory.max: claimed, and not touched before `vmrun set`
  std::string console_socket;              // "" when the VM has no console
  bool console_on_stdio = false;
  std::vector<PassedFunction> functions;  // the host's PCI functions that the guest has
  std::vector<GuestSetting> guest;        // what shall be set inside
  std::vector<Arg> args;
  std::vector<PlannedStep> steps;  // in order; the last one starts QEMU
  std::vector<std::string> notes;  // what "auto" became and why; what was fallen back from

  const StartQemu& start() const;
};

std::expected<LaunchPlan, Problems> make_plan(const Spec& spec, const topology::HostTopology& host,
                                              const HostConfig& config, const topology::Reservations& taken,
                                              const QemuFeatures& qemu, const Facts& facts);

// How the memory of the guest's node is bound, in QEMU's word: "bind", "preferred" or "interleave". args: the plan's.
std::string memory_policy(const topology::Placement& placement, const std::vector<Arg>& args, unsigned guest_node);
bool is_all_bound(const topology::Placement& placement, const std::vector<Arg>& args);  // strictly, that of every node
std::string to_json(const LaunchPlan& plan);
std::string to_text(const LaunchPlan& plan, const topology::HostTopology& host, bool explain);

}  // namespace launcher::plan
