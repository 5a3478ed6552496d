// A plan for a person, and for a program.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "launcher/plan/json.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline plan {

namespace {

using Lines = std::string;

// "0-3,8", however many there are
std::string numbers(const std::vector<unsigned>& list) {
  topology::CpuSet set;
  for (unsigned number : list) set.add(number);
  return set.to_string();
}

std::string joined(const std::vector<unsigned>& numbers) { return fmt::format("{}", fmt::join(numbers, ",")); }

void show_head(Lines& out, const LaunchPlan& plan) {
  const topology::GuestTopology& guest = plan.placement.guest;
  out += fmt::format("VM {}  ({})\n", plan.name, plan.uuid);
  out += fmt::format("  QEMU      {} {}, {}{}\n", printable(plan.qemu), plan.qemu_version,
                     plan.accel == "kvm" ? "KVM" : "TCG (emulation)",
                     plan.uid ? fmt::format(", as uid {}", *plan.uid) : std::string());
  out += fmt::format("  vCPUs     {}: {} socket{} x {} die{} x {} core{} x {} thread{}\n", plan.placement.vcpus.size(),
                     guest.sockets, guest.sockets == 1 ? "" : "s", guest.dies, guest.dies == 1 ? "" : "s", guest.cores,
                     guest.cores == 1 ? "" : "s", guest.threads, guest.threads == 1 ? "" : "s");
}

void show_seats(Lines& out, const LaunchPlan& plan, const topology::HostTopology& host) {
  for (const topology::VcpuSeat& seat : plan.placement.vcpus) {
    const topology::Pu* pu = seat.cpu ? host.pu(*seat.cpu) : nullptr;
    if (pu == nullptr) {
      out += fmt::format("    vCPU {:<3} not pinned\n", seat.vcpu);
      continue;
    }
    out += fmt::format("    vCPU {:<3} CPU {:<4} core {:<4} L3 {:<3} node {}\n", seat.vcpu, pu->cpu, pu->core, pu->l3,
                       pu->node);
  }
  if (!plan.placement.emulator.empty())
    out += fmt::format("  emulator  CPUs {}\n", plan.placement.emulator.to_string());
  for (const IothreadPin& pin : plan.iothreads)
    out += fmt::format("  iothread  {} on CPUs {}\n", pin.id, pin.cpus.to_string());
  if (plan.vhost_workers > 0)
    out += fmt::format("  vhost     {} worker{} on CPUs {}\n", plan.vhost_workers, plan.vhost_workers == 1 ? "" : "s",
                       plan.placement.vhost.to_string());
  if (plan.vcpu_fifo > 0) out += fmt::format("  schedule  vCPUs SCHED_FIFO {}\n", plan.vcpu_fifo);
  if (plan.iothread_fifo > 0) out += fmt::format("  schedule  iothreads SCHED_FIFO {}\n", plan.iothread_fifo);
  if (plan.core_cookie) out += "  schedule  nothing else on a core beside QEMU's threads (core scheduling)\n";
  for (const std::string& group : plan.groups) out += fmt::format("  group     {}\n", group);
  if (!plan.partition.empty()) out += fmt::format("  isolated  {}\n", plan.partition);
  if (!plan.placement.exclusive.empty())
    out += fmt::format("  owns      CPUs {}, for itself alone\n", plan.placement.exclusive.to_string());
}

void show_memory(Lines& out, const LaunchPlan& plan) {
  for (const topology::MemoryCell& cell : plan.placement.cells) {
    const std::string vcpus = cell.vcpus.empty() ? "no vCPU" : "vCPUs " + numbers(cell.vcpus);
    if (cell.size.count == 0) {
      out += fmt::format("  memory    none (guest node {}, {})\n", cell.guest_node, vcpus);
      continue;
    }
    const std::string policy = memory_policy(plan.placement, plan.args, cell.guest_node);
    out += fmt::format("  memory    {} in {} pages, {} node{} {} (guest node {}, {})\n", to_string(cell.size),
                       to_string(plan.placement.page),
                       policy == "preferred"    ? "preferably on"
                       : policy == "interleave" ? "interleaved over"
                                                : "strictly on",
                       cell.host_nodes.size() == 1 ? "" : "s", joined(cell.host_nodes), cell.guest_node, vcpus);
  }
  for (const topology::PageNeed& need : plan.placement.pages) {
    if (need.deficit > 0)
      out += fmt::format("            node {} needs {} pages of {}, its pool is raised by {}\n", need.node, need.pages,
                         to_string(need.page), need.deficit);
  }
}

// What becomes of a step that no other step undoes.
std::string end_of(const Step& step, const LaunchPlan& plan) {
  const auto in_a_group = [&](const std::string& path) {
    return std::ranges::any_of(plan.steps, [&](const PlannedStep& other) {
      const auto* group = std::get_if<MakeGroup>(&other.step);
      return group != nullptr && path.starts_with(group->path + "/");
    });
  };
  if (std::holds_alternative<StartQemu>(step)) return "end QEMU";
  if (std::holds_alternative<StartHelper>(step)) return "end it";
  if (std::holds_alternative<LimitRate>(step) || std::holds_alternative<TagPort>(step))
    return "goes with the interface";
  if (std::holds_alternative<Listen>(step) || std::holds_alternative<MakeDirectory>(step))
    return "goes with the VM's directory";
  if (const auto* image = std::get_if<MakeImage>(&step))
    return image->name.empty() ? "goes with QEMU" : "it has no name before the guest runs, and is kept then";
  if (const auto* control = std::get_if<ChangeFile>(&step))
    return in_a_group(control->path) ? "goes with the group" : "nothing: it stays on";
  if (const auto* kept = std::get_if<KeepDirectory>(&step))
    return kept->path.starts_with(plan.run_dir) ? "goes with the VM's directory" : "nothing: it is kept";
  if (std::holds_alternative<LoadModule>(step)) return "nothing: a module that is loaded stays";
  if (std::holds_alternative<SetVfMac>(step) || std::holds_alternative<SetVfPort>(step))
    return "goes with the function";
  if (std::holds_alternative<KeepText>(step) || std::holds_alternative<CopyOnce>(step) ||
      std::holds_alternative<OpenLog>(step) || std::holds_alternative<KeepSshKeys>(step))
    return "nothing: it is kept";
  return "nothing: what was opened closes with QEMU";
}

void show_steps(Lines& out, const LaunchPlan& plan, bool explain) {
  out += "\nsteps, and what undoes each\n";
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const PlannedStep& planned = plan.steps[i];
    std::string undo;
    for (const Undo& one : undo_of(planned.step)) undo += (undo.empty() ? "" : ", ") + printable(describe(one));
    out += fmt::format("  {:>2}. {}\n      undo: {}\n", i + 1, printable(describe(planned.step)),
                       undo.empty() ? end_of(planned.step, plan) : undo);
    if (explain) out += fmt::format("      why:  {} [{}]\n", printable(planned.why), printable(planned.origin));
  }
}

void show_args(Lines& out, const LaunchPlan& plan, bool explain) {
  if (!explain) {
    out += "\ncommand line\n" + shell_line(argv_of(plan.qemu, plan.args));
    return;
  }
  out += "\narguments\n";
  for (const Arg& arg : plan.args) {
    out += fmt::format("  {}{}{}\n      {} [{}]\n", printable(arg.option), arg.value.empty() ? "" : " ",
                       printable(arg.value), printable(arg.why), printable(arg.origin));
  }
}

}  // namespace

std::string to_text(const LaunchPlan& plan, const topology::HostTopology& host, bool explain) {
  Lines out;
  show_head(out, plan);
  show_seats(out, plan, host);
  show_memory(out, plan);
  if (!plan.notes.empty()) out += "\nnotes\n";
  for (const std::string& note : plan.notes) out += "  - " + printable(note) + "\n";
  show_steps(out, plan, explain);
  show_args(out, plan, explain);
  if (std::any_of(plan.args.begin(), plan.args.end(), [](const Arg& arg) { return arg.origin == "extra_args"; }))
    out += explain ? "" : "(the last arguments are the spec's extra_args, passed on unchecked)\n";
  return out;
}

std::string to_json(const LaunchPlan& plan) { return boost::json::serialize(plan_json(plan)); }

boost::json::value plan_json(const LaunchPlan& plan) {
  boost::json::object out = topology::json::write(plan).as_object();
  boost::json::array steps;
  for (const PlannedStep& planned : plan.steps) {
    boost::json::array undo;
    for (const Undo& one : undo_of(planned.step)) undo.push_back(to_json(one));
    steps.push_back({{"step", to_json(planned.step)},
                     {"undo", undo},
                     {"text", describe(planned.step)},
                     {"why", planned.why},
                     {"origin", planned.origin}});
  }
  out["steps"] = steps;
  boost::json::array argv;
  for (const std::string& word : argv_of(plan.qemu, plan.args)) argv.push_back(boost::json::string(word));
  out["argv"] = argv;
  return out;
}

}  // namespace launcher::plan
