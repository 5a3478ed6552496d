// The host's half: what the launch wrote in the kernel's files is still there, interrupts are where they were sent, and nobody else has
// the VM's own CPUs to himself.
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "launcher/life/interrupts.hpp"
#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/steps/kernel_text.hpp"
#include "launcher/steps/step.hpp"
#include "topology/kernel_threads.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline proof {

namespace {

using topology::CpuSet;

// An interrupt whose CPUs the kernel chose for good (kernel: IRQD_AFFINITY_MANAGED): it refused the launch, or debugfs tells it.
bool is_managed(const Subject& subject, const std::string& number) {
  for (const std::string& left : subject.state.left.value_or(std::vector<std::string>{}))
    if (left.starts_with(fmt::format("/proc/irq/{}/smp_affinity_list stays ", number))) return true;
  const auto text = subject.root.read("/sys/kernel/debug/irq/irqs/" + number);
  return text && text->find("IRQD_AFFINITY_MANAGED") != std::string::npos;
}

std::string number_of(const std::string& path) {  // "/proc/irq/24/smp_affinity_list" -> "24"
  constexpr std::string_view below = "/proc/irq/";
  if (!path.starts_with(below)) return {};
  const std::string rest = path.substr(below.size());
  return rest.substr(0, rest.find('/'));
}

// What a step left in a file of the kernel; other steps leave none.
struct Judge {
  const Subject& subject;
  Rows& rows;

  std::optional<std::string> read(const std::string& path, const std::string& wanted) const {
    auto is = subject.root.read(path);
    if (!is && number_of(path).empty())  // an interrupt went with its device
      rows.add(path, wanted, "cannot be read", path, Outcome::not_checked);
    return is;
  }
  void judge(const std::string& path, const Word& word) const {
    if (const auto is = read(path, word.expect)) rows.judged(path, word.expect, *is, path, has_word(*is, word.expect));
  }
  void judge(const std::string& path, const Partition& one) const {
    if (const auto is = read(path, one.word)) rows.equal(path, one.word, is, path);
  }
  void judge(const std::string& path, const Value& value) const {
    if (const auto is = read(path, value.value))
      rows.judged(path, value.value, value_of(*is), path, same_value(path, *is, value.value));
  }
  void judge(const std::string&, const Beside&) const {}  // nothing is written there before the end
  void judge(const std::string& path, const Cpus& change) const {
    const CpuSet& cpus = change.remove;
    const std::string wanted = "without CPUs " + cpus.to_string();
    const auto is = read(path, wanted);
    if (!is) return;
    const CpuSet in = mask_of(path, *is) & cpus;
    const bool managed = !in.empty() && is_managed(subject, number_of(path));
    rows.add(path, wanted, *is, path, in.empty() ? Outcome::held : managed ? Outcome::kernel_keeps : Outcome::lost);
  }
  void operator()(const ChangeFile& step) const {
    std::visit([&](const auto& change) { judge(step.path, change); }, step.change);
  }
  void operator()(const auto&) const {}
};

void prove_interrupts(const std::vector<Interrupt>& interrupts, Rows& rows) {
  for (const Interrupt& one : interrupts) {
    if (one.wanted.empty()) continue;
    const std::string where = fmt::format("/proc/irq/{}/effective_affinity_list", one.number);
    if (one.actual.empty())
      rows.add(one.name, one.wanted.to_string(), "on no CPU yet", where, Outcome::not_checked);
    else
      rows.judged(one.name, one.wanted.to_string(), one.actual.to_string(), where, one.wanted.contains(one.actual));
  }
}

// Somebody's interrupt that may go to the VM's CPUs only, though the launch had cleared them.
void prove_foreign_interrupts(const Subject& subject, const std::vector<Interrupt>& ours, const CpuSet& own,
                              Rows& rows) {
  const bool cleared = std::any_of(subject.steps.begin(), subject.steps.end(), [](const Step& one) {
    const auto* step = std::get_if<ChangeFile>(&one);
    return step != nullptr && step->path.starts_with("/proc/irq/");
  });
  if (!cleared) return;
  std::string found;
  for (const std::string& number : subject.root.list("/proc/irq")) {
    const auto text = subject.root.read("/proc/irq/" + number + "/smp_affinity_list");
    const auto cpus = text ? CpuSet::parse(*text) : std::unexpected(std::string());
    if (!cpus || cpus->empty() || !own.contains(*cpus) || is_managed(subject, number)) continue;
    const bool passed = std::any_of(ours.begin(), ours.end(),
                                    [&](const Interrupt& one) { return std::to_string(one.number) == number; });
    if (!passed) found += fmt::format("{}{} on {}", found.empty() ? "" : ", ", number, cpus->to_string());
  }
  rows.judged("others' interrupts on CPUs " + own.to_string(), "none", found.empty() ? "none" : found, "/proc/irq",
              found.empty());
}

// A task that is nobody's of this VM, and that the VM's CPUs are to share with: bound to them, or before everybody there.
std::string foreigner(const Subject& subject, const std::string& tid, const CpuSet& own) {
  pid_t number = 0;
  std::from_chars(tid.data(), tid.data() + tid.size(), number);
  const auto cpus = topology::get_affinity(number);
  if (!cpus || (*cpus & own).empty()) return {};
  const int policy = sched_getscheduler(number);
  const bool first = policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE;
  if ((!first && !own.contains(*cpus)) || is_bound(subject, number)) return {};
  if (subject.root.read("/proc/" + tid + "/statm").value_or("0").starts_with("0 "))
    return {};  // the kernel's: interrupts have a row
  return fmt::format("{} ({}){} on {}", subject.root.read("/proc/" + tid + "/comm").value_or("?"), tid,
                     first ? ", real-time" : "", cpus->to_string());
}

// Those of users: of the kernel's own threads there are tens of thousands where there are thousands of CPUs.
std::vector<std::string> other_processes(const Subject& subject) {
  std::vector<pid_t> of_kernel = topology::kernel_threads(subject.root).value_or(std::vector<pid_t>{});
  std::ranges::sort(of_kernel);
  std::vector<std::string> processes = subject.root.list("/proc");
  std::erase_if(processes, [&](const std::string& name) {
    pid_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    return error != std::errc() || end != name.data() + name.size() || std::ranges::binary_search(of_kernel, number);
  });
  return processes;
}

// Most processes have one thread, and the number of links to this directory says so (proc(5) numbers a directory for each).
std::vector<std::string> tasks_of(const Subject& subject, const std::string& pid) {
  constexpr nlink_t with_one = 3;
  struct stat info {};
  const std::string dir = "/proc/" + pid + "/task";
  if (stat(subject.root.at(dir).c_str(), &info) == 0 && info.st_nlink == with_one) return {pid};
  return subject.root.list(dir);
}

void prove_foreign_tasks(const Subject& subject, const CpuSet& own, Rows& rows) {
  std::set<std::string> ours;
  for (const Thread& thread : subject.threads) ours.insert(std::to_string(thread.tid));
  std::string found;
  for (const std::string& pid : other_processes(subject)) {
    for (const std::string& tid : tasks_of(subject, pid)) {
      if (ours.contains(tid)) continue;
      const std::string who = foreigner(subject, tid, own);
      if (!who.empty()) found += (found.empty() ? "" : "; ") + who;
    }
  }
  rows.judged("others' tasks on CPUs " + own.to_string(), "none that is bound to them, or real-time",
              found.empty() ? "none" : found, "/proc/*/task", found.empty());
}

}  // namespace

std::vector<Row> prove_host(const Subject& subject) {
  Rows rows("host");
  for (const Step& step : subject.steps) std::visit(Judge{subject, rows}, step);
  const std::vector<Interrupt> interrupts = interrupts_of(subject.plan.functions, subject.root);
  prove_interrupts(interrupts, rows);
  const CpuSet& own = subject.plan.placement.exclusive;
  if (subject.plan.pinned && !own.empty()) {
    prove_foreign_interrupts(subject, interrupts, own, rows);
    prove_foreign_tasks(subject, own, rows);
  }
  return rows.take();
}

}  // namespace launcher::proof
