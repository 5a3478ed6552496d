// What has to be looked up before a plan can be made: who we are, whether KVM is usable, what the spec's files are. The
// rule: read-only (a plan opens nothing for writing), and everything the plan depends on that is not the host's topology.
#pragma once

#include <expected>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/firmware.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/plan/cpu_facts.hpp"
#include "launcher/plan/kept_state.hpp"
#include "launcher/plan/tuning_facts.hpp"
#include "launcher/spec/spec.hpp"
#include "launcher/text/problem.hpp"
#include "topology/host_topology.hpp"

namespace launcher::inline plan {

struct Facts {
  bool root = false;
  unsigned uid = 0;              // ours
  std::string run_base;          // "/run/vmrun"
  bool kvm = false;              // /dev/kvm opens
  std::string kvm_module;        // "kvm_intel" | "kvm_amd" | "" (something else serves /dev/kvm, or nothing)
  std::string kvm_why;           // when it is not usable, or not one of the two
  bool kvm_open_to_all = false;  // mode lets any uid open it
  CpuFacts cpu;
  HostTuningFacts tuning;
  std::optional<unsigned> kvm_group;           // whose members may open it, where it is not root's
  std::optional<std::uint64_t> memlock;        // our RLIMIT_MEMLOCK; nullopt: unlimited
  std::optional<std::uint64_t> address_space;  // our RLIMIT_AS, which QEMU will have, too; nullopt: unlimited
  std::vector<DeviceFacts> devices;            // beside Spec::devices
  std::set<std::string> makers_of_vfs;         // physical functions whose virtual ones other VMs' journals will remove
  std::optional<unsigned> user_uid;            // of host.toml's user
  std::string user_problem;                    // when there is no such user
  std::vector<unsigned> uids;                  // those that a QEMU of this VM's may have, best first
  std::string uid_note;                        // who else gives out such
  std::string state_base;                      // "/var/lib/vmrun": what VMs keep between runs
  std::string transparent_pages;               // the host's word on them: "always" | "madvise" | "never"; "": has none
  std::expected<Firmware, std::string> uefi = std::unexpected("");  // where boot.firmware = "uefi"
  std::uintmax_t uefi_variables_size = 0;                           // of its template
  KeptState kept;                                                   // where UEFI or a TPM is asked for
  // why they cannot be used, "" if they can; vars: the variables that a UEFI VM kept
  std::string kernel_misfit = {}, initrd_misfit = {}, firmware_misfit = {}, vars_misfit = {};
  std::string code_misfit = {}, variables_misfit = {};
  std::string state_misfit = {};  // why state_base cannot be used, where the VM keeps something
};

// Looks at this machine. cache: may what a QEMU had to be asked for be kept (a plan writes nothing)?
Facts gather_facts(const Spec& spec, const HostConfig& config, Cache cache = Cache::store);

// For `--host FILE`: another machine, whose files nobody can look at: root, KVM by CPU vendor, every image there and fit.
Facts assumed_facts(const Spec& spec, const topology::HostTopology& host);

}  // namespace launcher::plan
