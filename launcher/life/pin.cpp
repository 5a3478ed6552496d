#include "launcher/life/pin.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "qmp/commands.hpp"
#include "topology/kernel_threads.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline life {

namespace fs = std::filesystem;

namespace {

std::vector<pid_t> numbers_in(const fs::path& directory) {
  std::vector<pid_t> numbers;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    pid_t number = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (failure == std::errc{} && end == name.data() + name.size()) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::string comm_of(const fs::path& task) {
  std::ifstream file(task / "comm");
  std::string name;
  std::getline(file, name);
  return name;
}

// Thread id -> what the plan wants for it.
std::map<pid_t, ThreadRecord> planned_threads(const LaunchPlan& plan, qmp::Client& monitor,
                                              std::chrono::milliseconds patience) {
  std::map<pid_t, ThreadRecord> wanted;
  std::map<unsigned, pid_t> vcpus;
  for (const qmp::Vcpu& vcpu : qmp::query_cpus_fast(monitor, patience)) vcpus[vcpu.index] = vcpu.thread;
  for (const topology::VcpuSeat& seat : plan.placement.vcpus) {
    const auto found = vcpus.find(seat.vcpu);
    if (found == vcpus.end()) throw std::runtime_error(fmt::format("QEMU has no thread for vCPU {}", seat.vcpu));
    const topology::CpuSet cpus = seat.cpu ? topology::CpuSet{*seat.cpu} : plan.placement.emulator;
    wanted[found->second] = {found->second, fmt::format("vcpu {}", seat.vcpu), cpus, plan.vcpu_fifo};
  }
  if (plan.iothreads.empty()) return wanted;
  std::map<std::string, pid_t> iothreads;
  for (const qmp::Iothread& iothread : qmp::query_iothreads(monitor, patience))
    iothreads[iothread.id] = iothread.thread;
  for (const IothreadPin& pin : plan.iothreads) {
    const auto found = iothreads.find(pin.id);
    if (found == iothreads.end()) throw std::runtime_error(fmt::format("QEMU has no iothread {}", pin.id));
    wanted[found->second] = {found->second, "iothread " + pin.id, pin.cpus, plan.iothread_fifo};
  }
  return wanted;
}

// What the kernel says of a thread that is no more: ESRCH, or of its files in /proc ENOENT.
bool has_ended(const std::system_error& error) {
  return error.code().value() == ESRCH || error.code().value() == ENOENT;
}

// Every thread of QEMU has the cookie that it was born with.
void check_core_cookie(const ProcessId& qemu, Host& host) {
  const std::uint64_t cookie = host.processes.core_cookie(qemu.pid);
  if (cookie == 0) throw std::runtime_error("QEMU has no core scheduling cookie, though it was made with one");
  for (const Thread& thread : threads_of(qemu, {}, false)) {
    try {
      if (host.processes.core_cookie(thread.tid) == cookie) continue;
    } catch (const std::system_error& error) {
      if (has_ended(error)) continue;
      throw;
    }
    throw std::runtime_error(
        fmt::format("thread {} ({}) lacks QEMU's core scheduling cookie", thread.tid, thread.name));
  }
}

// With an isolated partition, a thread is where its CPUs are; one that a vCPU's thread made (KVM's huge-page recovery) was
// born in the partition.
void join_group(const LaunchPlan& plan, pid_t thread, const topology::CpuSet& cpus, bool late, Host& host) {
  if (plan.partition.empty()) return;
  const bool inside = plan.placement.exclusive.contains(cpus);
  if (!inside && !late) return;
  const std::string& group = inside ? plan.partition : plan.start().child.cgroup;
  host.kernel.write(group + "/cgroup.threads", std::to_string(thread));
}

// Puts one thread where its record says, and reads it back.
void pin_one(const LaunchPlan& plan, const ThreadRecord& record, Host& host) {
  join_group(plan, record.tid, record.cpus, false, host);
  if (host.processes.pinned(record.tid) != record.cpus) host.processes.pin(record.tid, record.cpus);
  const topology::CpuSet actual = host.processes.pinned(record.tid);
  if (actual != record.cpus) {
    throw std::runtime_error(fmt::format(
        "{} (thread {}) is allowed on CPUs {} after it was pinned to {}; a cpuset of this host forbids the rest",
        record.role, record.tid, actual.to_string(), record.cpus.to_string()));
  }
  if (record.fifo == 0) return;
  host.processes.set_fifo(record.tid, record.fifo);
  if (const unsigned priority = host.processes.fifo(record.tid); priority != record.fifo)
    throw std::runtime_error(fmt::format("{} (thread {}) has SCHED_FIFO {} after it was given {}", record.role,
                                         record.tid, priority, record.fifo));
}

bool is_recovery(const Thread& thread) { return thread.name.starts_with("kvm-nx-lpage-re"); }

// Those that are in no record yet.
void pin_new_threads(const std::vector<Thread>& threads, const LaunchPlan& plan, Host& host,
                     std::vector<ThreadRecord>& records) {
  for (const Thread& thread : threads) {
    const bool known = std::any_of(records.begin(), records.end(),
                                   [&](const ThreadRecord& record) { return record.tid == thread.tid; });
    if (known) continue;
    const topology::CpuSet& cpus = thread.role == "vhost" ? plan.placement.vhost : plan.placement.emulator;
    try {
      if (thread.in_qemu) join_group(plan, thread.tid, cpus, true, host);
      host.processes.pin(thread.tid, cpus);
      records.push_back({thread.tid, thread.role, cpus, 0});
    } catch (const std::system_error&) {
      // a worker that ended meanwhile
    }
  }
}

}  // namespace

std::vector<Thread> threads_of(const ProcessId& qemu, const std::vector<ThreadRecord>& known,
                               bool look_for_kernel_threads) {
  std::map<pid_t, std::string> roles;
  for (const ThreadRecord& record : known) roles[record.tid] = record.role;
  const auto role_of = [&](pid_t tid, const std::string& name) {
    if (const auto found = roles.find(tid); found != roles.end()) return found->second;
    return std::string(name.starts_with("vhost-") ? "vhost" : "emulator");
  };
  std::vector<Thread> threads;
  const fs::path tasks = fmt::format("/proc/{}/task", qemu.pid);
  for (pid_t tid : numbers_in(tasks)) {
    const std::string name = comm_of(tasks / std::to_string(tid));
    threads.push_back({tid, name, role_of(tid, name), true});
  }
  if (look_for_kernel_threads) std::ranges::move(kernel_threads_of(qemu), std::back_inserter(threads));
  return threads;
}

std::vector<Thread> kernel_threads_of(const ProcessId& qemu) {
  std::vector<Thread> threads;
  // Kernel threads named after the process they work for: vhost workers (before Linux 6.4, and with
  // vhost.fork_from_owner_default=0), KVM's huge-page recovery (before 6.12), kvm-pit where a machine has one.
  const std::string owner = std::to_string(qemu.pid);
  // of thousands (some ten for each CPU) only those that are younger than QEMU are looked at
  constexpr std::size_t many = 2000;
  std::vector<pid_t> processes = numbers_in("/proc");
  if (processes.size() > many)
    if (auto since = topology::kernel_threads_since(topology::Sysfs(), qemu.start)) processes = std::move(*since);
  for (pid_t pid : processes) {
    const std::string name = comm_of(fs::path("/proc") / std::to_string(pid));
    if (name == "vhost-" + owner)
      threads.push_back({pid, name, "vhost", false});
    else if (name.starts_with("kvm-") && (name.ends_with("-" + owner) || name.ends_with("/" + owner)))
      threads.push_back({pid, name, "kvm", false});
  }
  return threads;
}

WantedThread wanted_of(const Thread& thread, const std::vector<ThreadRecord>& records,
                       const topology::Placement& placement) {
  for (const ThreadRecord& record : records)
    if (record.tid == thread.tid) return {record.cpus, record.fifo, true};
  if (thread.role == "vhost") return {placement.vhost, 0, true};
  WantedThread wanted{placement.emulator, 0, true};
  if (thread.name.starts_with("iou-")) {  // the kernel's, for the rings of any of QEMU's threads
    for (const topology::CpuSet& cpus : placement.iothreads) wanted.cpus = wanted.cpus | cpus;
    wanted.exactly = false;
  }
  return wanted;
}

std::vector<Thread> threads_of(const std::vector<Helper>& helpers) {
  std::vector<Thread> threads;
  for (const Helper& helper : helpers) {
    const fs::path tasks = fmt::format("/proc/{}/task", helper.process.pid);
    for (pid_t tid : numbers_in(tasks))
      threads.push_back({tid, comm_of(tasks / std::to_string(tid)), "helper " + helper.role, false});
  }
  return threads;
}

void pin_late_threads(const LaunchPlan& plan, const ProcessId& qemu, Host& host, std::vector<ThreadRecord>& records) {
  if (plan.placement.emulator.empty()) return;
  std::vector<Thread> threads;
  for (int attempt = 0; attempt < 5; ++attempt) {
    threads = threads_of(qemu, records, plan.accel == "kvm" && attempt == 4);
    if (plan.accel != "kvm" || std::any_of(threads.begin(), threads.end(), is_recovery)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  pin_new_threads(threads, plan, host, records);
}

bool pin_recovery_thread(const LaunchPlan& plan, const ProcessId& qemu, Host& host,
                         std::vector<ThreadRecord>& records) {
  if (plan.placement.emulator.empty() || plan.accel != "kvm") return true;
  const auto look = [&](bool for_kernel_threads) {
    std::vector<Thread> threads = threads_of(qemu, records, for_kernel_threads);
    std::erase_if(threads, [](const Thread& thread) { return !is_recovery(thread); });
    return threads;
  };
  std::vector<Thread> threads = look(false);
  if (threads.empty()) threads = look(true);  // all of /proc
  pin_new_threads(threads, plan, host, records);
  return !threads.empty();
}

std::vector<ThreadRecord> pin_threads(const LaunchPlan& plan, qmp::Client& monitor, const ProcessId& qemu,
                                      const std::vector<Helper>& helpers, Host& host,
                                      std::chrono::milliseconds patience) {
  const std::map<pid_t, ThreadRecord> planned = planned_threads(plan, monitor, patience);
  std::map<pid_t, ThreadRecord> wanted = planned;
  unsigned vhost_workers = 0;
  for (const Thread& thread : threads_of(qemu, {}, plan.vhost_workers > 0)) {
    if (wanted.contains(thread.tid)) continue;
    const bool vhost = thread.role == "vhost";
    vhost_workers += vhost ? 1 : 0;
    wanted[thread.tid] = {thread.tid, thread.role, vhost ? plan.placement.vhost : plan.placement.emulator, 0};
  }
  for (const Thread& thread : threads_of(helpers))
    wanted[thread.tid] = {thread.tid, thread.role, plan.placement.emulator, 0};
  if (vhost_workers < plan.vhost_workers) {
    throw std::runtime_error(
        fmt::format("the kernel made {} vhost workers, the plan has {}", vhost_workers, plan.vhost_workers));
  }
  std::vector<ThreadRecord> records;
  for (auto& [tid, record] : wanted) {
    if (record.cpus.empty()) continue;
    try {
      pin_one(plan, record, host);
    } catch (const std::system_error& error) {
      // a worker of a pool comes and goes as it likes; a planned thread stays
      if (planned.contains(tid) || !has_ended(error)) throw;
      continue;
    }
    records.push_back(std::move(record));
  }
  if (plan.core_cookie) check_core_cookie(qemu, host);
  return records;
}

void check_features(const LaunchPlan& plan, qmp::Client& monitor, std::chrono::milliseconds patience) {
  if (plan.features.empty()) return;
  const std::vector<qmp::Vcpu> vcpus = qmp::query_cpus_fast(monitor, patience);
  const auto first = std::find_if(vcpus.begin(), vcpus.end(), [](const qmp::Vcpu& vcpu) { return vcpu.index == 0; });
  if (first == vcpus.end()) throw std::runtime_error("QEMU has no vCPU 0");
  for (const CpuFeature& feature : plan.features)
    if (qmp::qom_get_flag(monitor, first->qom_path, feature.name, patience) != feature.on)
      throw std::runtime_error(fmt::format("the guest's CPU has {} {}, but {} was asked for: {}", feature.name,
                                           feature.on ? "off" : "on", feature.on ? "on" : "off",
                                           feature.on ? "this host cannot give it" : "its model insists on it"));
}

void check_memory(const LaunchPlan& plan, const ProcessId& qemu, const MemoryOf& memory_of) {
  if (!is_all_bound(plan.placement, plan.args) ||
      std::ranges::none_of(plan.reservation.pages, &topology::PageClaim::huge))
    return;
  const auto ranges = memory_of(qemu.pid, plan.placement.page);
  if (!ranges) throw std::runtime_error("cannot read where the guest's memory lies: " + ranges.error());
  std::map<unsigned, std::uint64_t> pages;
  for (const topology::MappedRange& range : *ranges) {
    if (!range.huge || range.page != plan.placement.page) continue;
    for (const auto& [node, count] : range.pages_on_node) pages[node] += count;
  }
  for (const topology::PageClaim& claim : plan.reservation.pages) {
    std::uint64_t wanted = claim.pages;
    for (const topology::PageClaim& spare : plan.spare)
      if (spare.node == claim.node) wanted -= std::min(wanted, spare.pages);
    if (pages[claim.node] < wanted)
      throw std::runtime_error(fmt::format("node {} holds {} of the guest's {} pages of {}", claim.node,
                                           pages[claim.node], wanted, to_string(claim.page)));
  }
}

}  // namespace launcher::life
