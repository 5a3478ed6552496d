// A plan in the making, for the files that make it (plan/*.cpp). The rule: parts only add to the draft; none does I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/plan/plan.hpp"

namespace launcher::parts {

// How the VM's CPUs are kept for it alone: by taking them from the groups of all others; as a partition right below the root
// of cgroups, beside the group of QEMU's other threads; or as one within it.
enum class Isolation { none, slices, beside, within };

// A device, what the machine answered about it, and what it asks of the rest: looked up once, and used by all.
struct PlannedDevice {
  const Device& device;
  const DeviceFacts& facts;
  DeviceNeeds needs;
};

struct Draft {
  const Spec& spec;
  const topology::HostTopology& host;
  const HostConfig& config;
  const topology::Reservations& taken;
  const QemuFeatures& qemu;
  const Facts& facts;
  std::vector<PlannedDevice> devices{};  // in the spec's order
  LaunchPlan plan{};
  Problems problems{};
  QemuArgs args{};
  FdPlan fds{};
  std::vector<PlannedStep> steps{};     // before those that reserve pages are put in front
  std::string machine{};                // versioned
  DeviceNeeds needs{};                  // of all devices together
  std::vector<Claim> claims{};          // what no other VM may have
  std::optional<unsigned> kvm_group{};  // ChildSpec::group
  std::string cgroup{}, cache_group{};  // ChildSpec's
  Isolation isolation = Isolation::none;
  std::vector<std::string> private_nodes{};  // ChildSpec::private_nodes
  int monitor_fd = -1;
  bool placed = false;

  // The guest is told of its nodes, even of a single one where a device is to show where it hangs.
  bool has_guest_nodes() const { return plan.placement.cells.size() > 1 || needs.guest_nodes || !spec.numa.empty(); }
  std::string host_id() const { return config.identity_of_name ? std::string() : host.own_id; }
  bool kvm() const { return plan.accel == "kvm"; }
  void problem(std::string key, std::string what, std::string help) {
    problems.push_back({std::move(key), std::move(what), std::move(help)});
  }
  void note(std::string text) { plan.notes.push_back(std::move(text)); }
};

// devices.cpp
std::vector<PlannedDevice> planned_devices(const Spec& spec, const Facts& facts);
void sum_needs(Draft& draft);    // of draft.devices into draft.needs
void add_devices(Draft& draft);  // each kind's own part
// claims.cpp: what only one VM of this host may have; within one VM, too
void claim_things(Draft& draft);
// extra_args.cpp
void add_extra_args(Draft& draft);
// steps.cpp
void add_steps(Draft& draft);  // the last part: QEMU's own step is the last

// machine.cpp: accelerator and board
void choose_accel(Draft& draft);
void choose_machine(Draft& draft);
void add_machine(Draft& draft);

// remapping.cpp: of interrupts, for many vCPUs
bool needs_remapping(const Draft& draft);
void add_remapping(Draft& draft, Opts& accel);
void add_iommu(Draft& draft);

// file_memory.cpp: where iommufd cannot map memory that is a file
bool needs_plain_memory(const Draft& draft);
void avoid_file_memory(Draft& draft, topology::PlacementRequest& request);  // of page "auto"
void check_file_memory(Draft& draft);                                       // the guest has its place

// address_space.cpp: how far the guest's addresses reach; what -cpu must say for it, and what no CPU here can do
void add_phys_bits(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why);

// cpu.cpp: -cpu, -smp and -overcommit
void add_cpu(Draft& draft);
void add_overcommit(Draft& draft);
// shape.cpp: sockets, dies, cores, threads and caches as the guest is told of them
bool is_amd_guest(const Draft& draft, const std::string& model);
void fit_shape_to_accel(Draft& draft);
void add_shape(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why);

// clock.cpp: clocks, timers and Hyper-V; the reasons go into `why`
void add_tsc(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why);
void add_hyperv(Draft& draft, Opts& cpu, std::vector<std::string>& why);
void add_rtc(Draft& draft);
// schedule.cpp: priorities, core scheduling, groups; add_devices() has been
void add_schedule(Draft& draft);
// isolate.cpp, host.cpp: [host]
void choose_isolation(Draft& draft);
void add_isolation(Draft& draft, std::vector<PlannedStep>& steps);  // with the VM's cgroup
void add_shares(Draft& draft, std::vector<PlannedStep>& steps);     // of that cgroup: schedule.weight and quota
void add_host_tuning(Draft& draft, std::vector<PlannedStep>& steps);
void refuse(Draft& draft, Wish wish, const std::string& key,
            const std::string& why);  // a problem, or a note where "auto"
bool own_cpus(const Draft& draft);    // vCPUs on CPUs that nothing of QEMU's, and no other VM, runs on

void set_timer(Draft& draft, Opts& machine, const char* name, const OrAuto<bool>& asked, OrAuto<bool> otherwise);
void add_uefi(Draft& draft);        // its two flash images
void add_kept_state(Draft& draft);  // kept_state.cpp: whether what is kept is this VM's, and that it is from now on

// place_guest.cpp: CPUs, nodes and pages
void place_guest(Draft& draft);
bool own_cpus_by_auto(const Draft& draft);  // would own_cpus() be true with cpu.pin and cpu.emulator "auto"?

// cells.cpp: the guest's NUMA nodes
std::vector<topology::CellRequest> asked_cells(const Spec& spec);  // by hand
void add_guest_nodes(Draft& draft);

// memory.cpp: what is behind the guest's memory
void add_memory(Draft& draft);
// Of one cell, without what says how it is preallocated.
boost::json::object backend(const Draft& draft, const topology::MemoryCell& cell, const std::string& id,
                            std::uint64_t size);

// hot_memory.cpp: what `vmrun set NAME memory=` gives and takes
void add_hot_memory(Draft& draft);
topology::Bytes hot_part(const Draft& draft, std::size_t cell);  // of a cell: what virtio-mem gives later
std::uint64_t memlock_need(const Draft& draft);                  // bytes that mlockall() and vfio will count

}  // namespace launcher::parts
