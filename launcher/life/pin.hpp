// Puts every thread of a paused QEMU where the plan says, and reads every mask back. The rules: vCPUs are keyed by
// cpu-index, never by list position; a thread nobody planned for goes to the emulator's CPUs.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline life {

// Throws std::runtime_error when a planned thread is missing or a mask does not read back as set.
std::vector<ThreadRecord> pin_threads(const LaunchPlan& plan, qmp::Client& monitor, const ProcessId& qemu,
                                      const std::vector<Helper>& helpers, Host& host,
                                      std::chrono::milliseconds patience);

// Every CPU feature that the spec asked for, as vCPU 0 has it: QEMU leaves out what the host cannot give, with no more than
// a warning. Throws std::runtime_error with the first that is not as asked.
void check_features(const LaunchPlan& plan, qmp::Client& monitor, std::chrono::milliseconds patience);

// Threads that come with the first run of a vCPU (kvm-nx-lpage-recovery takes that vCPU's CPU with it): sent to the
// emulator's CPUs, with what KVM runs for this VM outside of QEMU. Waits a few milliseconds for them under KVM.
void pin_late_threads(const LaunchPlan& plan, const ProcessId& qemu, Host& host, std::vector<ThreadRecord>& records);

// On a busy host a vCPU's first run, and the recovery thread with it, comes later than that. True when there is nothing more to look for.
bool pin_recovery_thread(const LaunchPlan& plan, const ProcessId& qemu, Host& host, std::vector<ThreadRecord>& records);

// Puts other VMs' threads back on their CPUs, under the lock, when this VM's cpuset partition came or went: before Linux 6.2 that gives every
// task of the groups beside it the group's CPUs, whatever it was pinned to (kernel/cgroup/cpuset.c; since then a task's own mask is kept).
// Threads are those on record that still are the VM's; what cannot be pinned stays, and `vmrun verify` tells it.
void pin_others_again(const std::filesystem::path& base, const std::string& own, Host& host);

// The threads a VM has now, with their roles: those recorded, and late ones (workers, vhost) by where they are found.
struct Thread {
  pid_t tid = 0;
  std::string name;  // comm
  std::string role;
  bool in_qemu = true;  // false: a kernel thread that works for it
};
std::vector<Thread> threads_of(const ProcessId& qemu, const std::vector<ThreadRecord>& known,
                               bool look_for_kernel_threads);
// Those of them that are no tasks of QEMU's: searched for in all of /proc.
std::vector<Thread> kernel_threads_of(const ProcessId& qemu);

// What was written down for a thread; of one that came later, what its kind has.
struct WantedThread {
  topology::CpuSet cpus;  // empty: nothing was promised
  unsigned fifo = 0;
  bool exactly = true;  // false: it may have fewer of them
};
WantedThread wanted_of(const Thread& thread, const std::vector<ThreadRecord>& records,
                       const topology::Placement& placement);

// Those of the processes beside QEMU; their role is the helper's.
std::vector<Thread> threads_of(const std::vector<Helper>& helpers);

using MemoryOf = std::function<std::expected<std::vector<topology::MappedRange>, std::string>(pid_t, topology::Bytes)>;
// Guest memory that is preallocated and strictly bound must lie where the plan says. Throws with numbers.
void check_memory(const LaunchPlan& plan, const ProcessId& qemu, const MemoryOf& memory_of);

}  // namespace launcher::life
