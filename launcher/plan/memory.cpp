// What is behind the guest's memory.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <numeric>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

const char* qemu_word(topology::MemoryPolicy policy) {
  static constexpr const char* words[] = {"bind", "preferred", "interleave"};
  return words[static_cast<int>(policy)];
}

// For preallocation: the VM's own CPUs, which nobody uses yet; on their node the pages are local. Empty: it has none of its own.
std::vector<unsigned> own_cpus_of(const Draft& draft, const topology::MemoryCell& cell) {
  // a partition's CPUs are not to be had before the vCPUs' threads are moved there
  if (draft.isolation == Isolation::beside || draft.isolation == Isolation::within)
    return draft.plan.placement.emulator.to_vector();
  std::vector<unsigned> cpus;
  for (const topology::VcpuSeat& seat : draft.plan.placement.vcpus)
    if (seat.cpu && seat.guest_node == cell.guest_node) cpus.push_back(*seat.cpu);
  return cpus;
}

std::uint64_t threads_for(const topology::MemoryCell& cell) {
  return std::clamp<std::uint64_t>(cell.vcpus.size(), 1, 16);
}

boost::json::object thread_context(const Draft& draft, const topology::MemoryCell& cell, const std::string& id) {
  boost::json::object context{{"qom-type", "thread-context"}, {"id", id}};
  const std::vector<unsigned> cpus = own_cpus_of(draft, cell);
  if (cpus.empty())
    context["node-affinity"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
  else
    context["cpu-affinity"] = boost::json::array(cpus.begin(), cpus.end());
  return context;
}

// Pages of one node that count for the group vmrun is in, as QEMU's do.
bool can_be_filled_early(const Draft& draft, const topology::MemoryCell& cell, const boost::json::object& ram) {
  const ScheduleSpec& schedule = draft.spec.schedule;
  const bool own_group = draft.isolation != Isolation::none || schedule.weight || schedule.quota;
  return cell.host_nodes.size() == 1 && !own_group && ram.at("policy").as_string() != "interleave";
}

// vmrun makes the file that QEMU would have made, and fills it while QEMU still loads.
void fill_early(Draft& draft, const topology::MemoryCell& cell, boost::json::object& ram) {
  const topology::Placement& placement = draft.plan.placement;
  const int fd = draft.fds.take("memory of " + std::string(ram.at("id").as_string()));
  ram["qom-type"] = "memory-backend-file";
  ram["mem-path"] = fmt::format("/proc/self/fd/{}", fd);
  ram["share"] = true;  // else QEMU would write to copies
  ram.erase("hugetlb");
  ram.erase("hugetlbsize");
  const std::vector<unsigned> own = own_cpus_of(draft, cell);
  MakeGuestMemory made;
  made.id = ram.at("id").as_string();
  made.size = {ram.at("size").to_number<std::uint64_t>()};
  made.page = placement.page;
  made.node = cell.host_nodes.front();
  if (ram.at("policy").as_string() == "preferred") made.policy = topology::MemoryPolicy::preferred;
  for (const unsigned cpu : own) made.cpus.add(cpu);
  if (own.empty()) made.cpus = placement.emulator;
  made.threads = static_cast<unsigned>(threads_for(cell));
  if ((placement.emulator - made.cpus).empty())  // QEMU itself starts on one of them
    made.threads = std::clamp<unsigned>(static_cast<unsigned>(made.cpus.size()) - 1, 1, made.threads);
  made.fd = fd;
  draft.steps.push_back(
      {std::move(made), "QEMU's own start and the kernel's clearing of pages take place at once", "default"});
}

void check_memlock(Draft& draft) {
  const bool locked = draft.spec.memory.lock == MemorySpec::Lock::on;
  if (!(locked || draft.needs.locked_memory) || draft.facts.root || !draft.facts.memlock ||
      *draft.facts.memlock >= memlock_need(draft))
    return;
  draft.problem(
      "memory.lock",
      fmt::format("needs a memlock limit of {}, this user has {}", to_string(topology::Bytes{memlock_need(draft)}),
                  to_string(topology::Bytes{*draft.facts.memlock})),
      "raise it in /etc/security/limits.d, run as root, or set lock = false");
}

// What a process may map bounds QEMU, which maps all of the guest's memory beside its own libraries, heaps and stacks (300 MiB of it).
void check_address_space(Draft& draft) {
  const std::uint64_t need = draft.spec.memory.size.count + topology::mib(256).count;
  if (!draft.facts.address_space || *draft.facts.address_space >= need) return;
  draft.problem("memory.size",
                fmt::format("{} do not fit into the {} of address space that a process may have here",
                            to_string(draft.spec.memory.size), to_string(topology::Bytes{*draft.facts.address_space})),
                "take the limit off (`ulimit -v unlimited`, LimitAS=infinity in a unit)");
}

}  // namespace

boost::json::object backend(const Draft& draft, const topology::MemoryCell& cell, const std::string& id,
                            std::uint64_t size) {
  const topology::Placement& placement = draft.plan.placement;
  const bool huge = placement.page > draft.host.base_page;
  const bool shared = draft.spec.memory.shared || draft.needs.shared_memory;
  boost::json::object ram{
      {"qom-type", huge || shared ? "memory-backend-memfd" : "memory-backend-ram"}, {"id", id}, {"size", size}};
  if (huge) {
    ram["hugetlb"] = true;
    ram["hugetlbsize"] = placement.page.count;
  }
  if (shared) ram["share"] = true;
  if (!cell.host_nodes.empty()) {
    ram["host-nodes"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
    const bool by_hand = cell.guest_node < draft.spec.numa.size();
    const topology::MemoryPolicy policy =
        by_hand ? draft.spec.numa[cell.guest_node].policy.value_or(placement.policy) : placement.policy;
    ram["policy"] = qemu_word(policy);
  }
  return ram;
}

// mlockall() covers guest memory and QEMU's own: heap, stacks, and TCG's translation buffer. vfio counts the guest's memory
// again, behind an IOMMU of the guest's once for each function.
std::uint64_t memlock_need(const Draft& draft) {
  const MemorySpec& memory = draft.spec.memory;
  const auto passed = static_cast<std::uint64_t>(
      std::ranges::count_if(draft.devices, [](const PlannedDevice& one) { return one.needs.locked_memory; }));
  const std::uint64_t times = (needs_remapping(draft) ? passed : std::min<std::uint64_t>(passed, 1)) +
                              (memory.lock == MemorySpec::Lock::off ? 0 : 1);
  return memory.max.value_or(memory.size).count * times + topology::gib(draft.kvm() ? 1 : 2).count;
}

namespace {

// How much there is, and how much address space for what comes beside it: virtio-mem and NVDIMMs, each aligned.
void add_size(Draft& draft) {
  const MemorySpec& memory = draft.spec.memory;
  Opts size(fmt::format("{}k", memory.size.count / 1024));
  const topology::Bytes hot = {memory.max ? memory.max->count - memory.size.count : 0};
  if (hot.count != 0 || draft.needs.memory_slots != 0) {
    const topology::Bytes most = memory.size + hot + draft.needs.more_memory;
    size.set("maxmem", fmt::format("{}k", most.count / 1024));
    if (draft.needs.memory_slots != 0) size.set("slots", draft.needs.memory_slots);
  }
  draft.args.add("-m", size, "the guest's memory", "spec memory.size");
}

void check_memory_kind(Draft& draft) {
  const MemorySpec& memory = draft.spec.memory;
  if (memory.transparent && draft.facts.transparent_pages != "always" && draft.facts.transparent_pages != "madvise")
    draft.problem("memory.page",
                  fmt::format("\"transparent\", but this host {}; wanted \"always\" or \"madvise\"",
                              draft.facts.transparent_pages.empty()
                                  ? std::string("has no transparent huge pages")
                                  : fmt::format("has them set to \"{}\"", draft.facts.transparent_pages)),
                  "write madvise to /sys/kernel/mm/transparent_hugepage/enabled, or set page = \"2M\"");
  if (memory.lock == MemorySpec::Lock::on_fault && !draft.qemu.has("overcommit.on-fault"))
    draft.problem(
        "memory.lock",
        fmt::format("\"on-fault\", but QEMU {} locks all memory or none; wanted one that knows it", draft.qemu.version),
        "set lock = true, or another qemu in /etc/vmrun/host.toml");
}

}  // namespace

void add_memory(Draft& draft) {
  const topology::Placement& placement = draft.plan.placement;
  check_memory_kind(draft);
  check_file_memory(draft);
  add_size(draft);
  const bool huge = placement.page > draft.host.base_page;
  const bool prealloc = draft.spec.memory.prealloc.value_or(huge);
  const bool shared = draft.spec.memory.shared || draft.needs.shared_memory;
  // one that lies on several nodes comes last: it would else touch the pages that those of one node need there
  std::vector<std::size_t> order(placement.cells.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return placement.cells[i].host_nodes.size(); });
  for (const std::size_t i : order) {
    const topology::MemoryCell& cell = placement.cells[i];
    if (cell.size.count == 0) continue;
    const std::string id = fmt::format("ram{}", cell.guest_node);
    boost::json::object ram = backend(draft, cell, id, cell.size.count - hot_part(draft, i).count);
    if (prealloc) {
      if (huge && can_be_filled_early(draft, cell, ram)) fill_early(draft, cell, ram);
      ram["prealloc"] = true;
      ram["prealloc-threads"] = threads_for(cell);
      if (draft.qemu.has("thread-context") && draft.qemu.has("memory-backend-memfd.prealloc-context")) {
        const std::string context = fmt::format("prealloc{}", cell.guest_node);
        draft.args.add("-object", thread_context(draft, cell, context),
                       draft.isolation == Isolation::none ? "preallocation runs on the VM's own CPUs, near the pages"
                                                          : "preallocation runs on CPUs near the pages",
                       "default");
        ram["prealloc-context"] = context;
      }
    }
    draft.args.add("-object", ram,
                   huge     ? fmt::format("{} pages of node {}, without a hugetlbfs mount", to_string(placement.page),
                                          fmt::join(cell.host_nodes, ","))
                   : shared ? std::string("base pages that another process may map")
                            : std::string("base pages; transparent huge pages where the host has them on"),
                   draft.spec.memory.page ? "spec memory.page" : "host");
  }
  if (draft.has_guest_nodes()) add_guest_nodes(draft);
  add_hot_memory(draft);
  add_overcommit(draft);
  check_memlock(draft);
  check_address_space(draft);
}

}  // namespace launcher::parts

namespace launcher::inline plan {

std::string memory_policy(const topology::Placement& placement, const std::vector<Arg>& args, unsigned guest_node) {
  for (const Arg& arg : args) {
    if (arg.option != "-object" || !arg.value.starts_with('{')) continue;
    const Members members = members_of(arg.value);
    if (member(members, "id") != fmt::format("ram{}", guest_node)) continue;
    if (const std::string policy = member(members, "policy"); !policy.empty()) return policy;
  }
  return parts::qemu_word(placement.policy);
}

bool is_all_bound(const topology::Placement& placement, const std::vector<Arg>& args) {
  if (placement.cells.empty()) return placement.policy == topology::MemoryPolicy::strict;
  return std::ranges::all_of(placement.cells, [&](const topology::MemoryCell& cell) {
    return memory_policy(placement, args, cell.guest_node) == "bind";
  });
}

}  // namespace launcher::plan
