#include "launcher/life/thread_report.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iterator>

#include "launcher/life/pin.hpp"
#include "launcher/plan/json.hpp"
#include "launcher/steps/step.hpp"
#include "topology/page_location.hpp"
#include "topology/placement_json.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline life {

namespace {

topology::Placement placement_of(const VmDir& dir) {
  try {
    return topology::json::read<topology::Placement>(dir.read_plan().value_or(nullptr).at("placement"));
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

std::vector<ThreadReport> report_threads(const VmDir& dir) {
  std::vector<ThreadReport> report;
  const State state = dir.read_state();
  if (!state.qemu || !is_alive(*state.qemu)) return report;
  const topology::Placement placement = placement_of(dir);
  std::vector<Thread> threads = threads_of(*state.qemu, state.threads, true);
  std::ranges::move(threads_of(state.helpers), std::back_inserter(threads));
  for (const Thread& thread : threads) {
    const auto actual = topology::get_affinity(thread.tid);
    if (!actual) continue;  // it ended meanwhile
    const WantedThread wanted = wanted_of(thread, state.threads, placement);
    report.push_back(
        {thread.tid, thread.name, thread.role, wanted.cpus, *actual, wanted.fifo, fifo_priority(thread.tid)});
  }
  return report;
}

std::vector<ControlReport> report_controls(const VmDir& dir) {
  std::vector<ControlReport> report;
  const auto plan = dir.read_plan();
  const boost::json::object* object = plan ? plan->if_object() : nullptr;
  const boost::json::value* steps = object != nullptr ? object->if_contains("steps") : nullptr;
  if (steps == nullptr || !steps->is_array()) return report;
  for (const boost::json::value& planned : steps->get_array()) {
    const auto* one = planned.if_object() != nullptr ? planned.get_object().if_contains("step") : nullptr;
    const auto step = one != nullptr ? step_from_json(*one) : std::unexpected(std::string());
    const auto* written = step ? std::get_if<ChangeFile>(&*step) : nullptr;
    if (const auto wanted = written != nullptr ? wanted_of(written->change) : std::nullopt)
      report.push_back({written->path, *wanted, topology::Sysfs{}.read(written->path).value_or("")});
  }
  return report;
}

std::vector<MemoryReport> report_memory(const VmDir& dir) {
  const State state = dir.read_state();
  if (!state.qemu) return {};
  const auto ranges = topology::read_numa_maps(state.qemu->pid);
  if (!ranges) return {};
  const topology::PageCounts sums = topology::count_pages(*ranges);
  std::vector<MemoryReport> report;
  report.reserve(sums.size());
  for (const auto& [key, pages] : sums) report.push_back({key.first, topology::Bytes{key.second}, pages});
  return report;
}

std::vector<Interrupt> report_interrupts(const VmDir& dir) {
  try {
    const boost::json::value plan = dir.read_plan().value_or(nullptr);
    return interrupts_of(topology::json::read<std::vector<PassedFunction>>(plan.at("functions")), topology::Sysfs{});
  } catch (const std::exception&) {
    return {};  // no plan yet, or one without functions
  }
}

boost::json::value interrupt_report_json(const VmDir& dir) {
  boost::json::array out;
  for (const Interrupt& one : report_interrupts(dir))
    out.push_back({{"irq", one.number},
                   {"name", one.name},
                   {"wanted", one.wanted.to_string()},
                   {"actual", one.actual.to_string()}});
  return out;
}

boost::json::value thread_report_json(const VmDir& dir) {
  boost::json::array out;
  for (const ThreadReport& thread : report_threads(dir)) {
    out.push_back({{"tid", thread.tid},
                   {"name", thread.name},
                   {"role", thread.role},
                   {"wanted", thread.wanted.to_string()},
                   {"actual", thread.actual.to_string()},
                   {"fifo_wanted", thread.wanted_fifo},
                   {"fifo", thread.fifo},
                   {"as_wanted", thread.as_wanted()}});
  }
  return out;
}

boost::json::value control_report_json(const VmDir& dir) {
  boost::json::array out;
  for (const ControlReport& control : report_controls(dir))
    out.push_back({{"path", control.path}, {"wanted", control.wanted}, {"actual", control.actual}});
  return out;
}

boost::json::value memory_report_json(const VmDir& dir) {
  boost::json::array out;
  for (const MemoryReport& part : report_memory(dir)) {
    out.push_back({{"node", part.node},
                   {"page", to_string(part.page)},
                   {"pages", part.pages},
                   {"bytes", part.page.count * part.pages}});
  }
  return out;
}

}  // namespace launcher::life
