// The steps in their order: pools, what the parts have added, and QEMU itself.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

void raise_pools(Draft& draft) {
  for (const topology::PageNeed& need : draft.plan.placement.pages) {
    if (need.deficit == 0 || need.page == draft.host.base_page) continue;
    draft.plan.steps.push_back(
        {RaisePool{need.node, need.page, need.deficit},
         fmt::format("{} pages needed, {} free in the pool", need.pages, need.pages - need.deficit),
         "spec memory.size"});
  }
}

// Whose it is, for whoever finds it in /proc.
std::string mark_of(const Draft& draft) { return "VMRUN_VM=" + draft.plan.run_dir; }

StartQemu start_of(const Draft& draft) {
  StartQemu start;
  start.child.argv = draft.args.argv(draft.qemu.binary);
  start.child.uid = draft.plan.uid;
  start.child.environment = {mark_of(draft)};
  start.child.affinity = draft.plan.placement.emulator;
  std::set<unsigned> nodes;
  for (const topology::MemoryCell& cell : draft.plan.placement.cells)
    nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  // QEMU's own memory follows the guest's, but only as a wish: its heap must not fail on a full node
  start.child.policy = topology::MemoryPolicy::preferred;
  if (draft.host.nodes.size() > 1) start.child.memory_nodes.assign(nodes.begin(), nodes.end());
  if (draft.needs.locked_memory && draft.facts.root)
    start.child.memlock =
        RLIM_INFINITY;  // vfio counts guest memory beside mlock, some kernels the device's own as well
  else if (draft.spec.memory.lock != MemorySpec::Lock::off && draft.facts.root)
    start.child.memlock = memlock_need(draft);
  start.child.group = draft.kvm_group;
  start.child.cgroup = draft.cgroup;
  start.child.cache_group = draft.cache_group;
  start.child.own_core_cookie = draft.plan.core_cookie;
  start.child.private_nodes = draft.private_nodes;
  if (!draft.private_nodes.empty()) start.child.private_dev = draft.plan.run_dir;  // the mount is seen by QEMU alone
  start.monitor_fd = draft.monitor_fd;
  start.log = draft.plan.run_dir + "/qemu.log";
  return start;
}

}  // namespace

void add_steps(Draft& draft) {
  raise_pools(draft);
  for (PlannedStep& step : draft.steps)
    if (auto* helper = std::get_if<StartHelper>(&step.step)) {
      helper->child.cgroup = draft.cgroup;
      helper->child.environment = {mark_of(draft)};
    }
  for (PlannedStep& step : draft.steps) draft.plan.steps.push_back(std::move(step));
  draft.plan.steps.push_back(
      {start_of(draft), "memory policy and CPUs are set before exec, so no thread is ever elsewhere", "default"});
}

}  // namespace launcher::parts
