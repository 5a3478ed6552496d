#include "launcher/steps/ledger.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "launcher/steps/vm_dir.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline steps {

namespace fs = std::filesystem;

namespace {

// A ledger beside our own: root's (for a user), or one user's (for root).
struct Foreign {
  fs::path base;
  uid_t uid = 0;
};

// One given by $VMRUN_RUN_DIR stands alone.
std::vector<Foreign> other_ledgers(const fs::path& base) {
  std::vector<Foreign> others;
  if (std::getenv("VMRUN_RUN_DIR") != nullptr || base != run_base()) return others;  // a world of its own
  std::vector<fs::path> candidates{"/run/vmrun"};
  std::error_code error;
  for (const auto& user : fs::directory_iterator("/run/user", error)) candidates.push_back(user.path() / "vmrun");
  for (const fs::path& candidate : candidates) {
    struct stat info {};
    if (candidate != base && lstat(candidate.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
      others.push_back({candidate, info.st_uid});
  }
  return others;
}

// Pages that a process has touched, of each size that is claimed.
topology::PageCounts touched_pages(const std::optional<ProcessId>& qemu,
                                   const std::vector<topology::PageClaim>& claims) {
  if (!qemu || claims.empty()) return {};
  const topology::PageClaim& first = claims.front();
  const bool one_pool =
      first.huge() && std::ranges::all_of(claims, [&](const auto& one) { return one.page == first.page; });
  const auto ranges = one_pool ? topology::read_huge_pages(qemu->pid, first.page) : topology::read_numa_maps(qemu->pid);
  return ranges ? topology::count_pages(*ranges) : topology::PageCounts{};
}

// The same of a VM that may be starting: what its vmrun fills is there before its QEMU has mapped it.
topology::PageCounts touched_pages(const VmDir& dir, const State& state,
                                   const std::vector<topology::PageClaim>& claims) {
  topology::PageCounts touched = touched_pages(state.qemu, claims);
  if (const auto owner = dir.owner(); owner && is_alive(*owner))
    for (const auto& [where, pages] : filled_pages(owner->pid)) touched[where] = std::max(touched[where], pages);
  return touched;
}

// CPUs that a process has one thread alone for: what pinning looks like. A mask of several says nothing of who has them.
topology::CpuSet pinned_cpus(pid_t pid) {
  topology::CpuSet cpus;
  std::error_code error;
  for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    const auto mask = topology::get_affinity(static_cast<pid_t>(std::atol(task.path().filename().c_str())));
    if (mask && mask->size() == 1) cpus = cpus | *mask;
  }
  return cpus;
}

bool runs_as(const std::optional<ProcessId>& process, uid_t uid) {
  struct stat info {};
  return process && is_alive(*process) && stat(fmt::format("/proc/{}", process->pid).c_str(), &info) == 0 &&
         info.st_uid == uid;
}

// What another user's record says of a VM, as far as the process that it names, which has to be that user's, really has it.
topology::Reservation confirmed(const VmDir& dir) {
  topology::Reservation held = dir.reservation();
  const State state = dir.read_state();
  held.cpus = state.qemu ? held.cpus & pinned_cpus(state.qemu->pid) : topology::CpuSet{};
  topology::PageCounts touched = touched_pages(state.qemu, held.pages);
  for (topology::PageClaim& claim : held.pages)
    claim.pages = std::min(claim.pages, touched[{claim.node, claim.page.count}]);
  return held;
}

// What is promised and still counted as free.
void subtract(topology::HostTopology& host, const topology::PageClaim& claim, std::uint64_t pending) {
  for (topology::Node& node : host.nodes) {
    if (node.id != claim.node) continue;
    if (!claim.huge()) node.memory_free.count -= std::min(node.memory_free.count, pending * claim.page.count);
    for (topology::HugePagePool& pool : node.pools)
      if (pool.page == claim.page) pool.free -= std::min(pool.free, pending);
  }
}

}  // namespace

// A file costs its owner one name more, and whoever reads it all of it: so many directories and bytes, and no more.
std::vector<topology::Reservation> reservations_of_others(const fs::path& base, uid_t uid) {
  constexpr unsigned most_vms = 256;
  constexpr std::uintmax_t most_bytes = 32 << 20;
  std::vector<topology::Reservation> held;
  std::uintmax_t bytes = 0;
  for (const VmDir& dir : VmDir::all(base)) {
    if (!runs_as(dir.owner(), uid)) continue;
    for (const char* name : {"state.json", "plan.json"}) {
      std::error_code none;
      const std::uintmax_t size = fs::file_size(dir.path() / name, none);
      bytes += none ? 0 : size;
    }
    if (held.size() == most_vms || bytes > most_bytes) break;
    if (uid == 0)
      held.push_back(dir.reservation());  // root's word
    else if (runs_as(dir.read_state().qemu, uid))
      held.push_back(confirmed(dir));
  }
  return held;
}

topology::Reservations read_reservations(const fs::path& base) {
  topology::Reservations taken;
  for (const VmDir& dir : VmDir::all(base)) {
    if (const std::vector<std::string> bad = dir.unreadable(); !bad.empty())
      throw std::runtime_error(fmt::format(
          "what VM {} has cannot be read, so nothing can be given to another: {} (`vmrun recover` tells more)",
          dir.name(), bad.front()));
    taken.vms.push_back(dir.reservation());
  }
  for (const Foreign& other : other_ledgers(base))
    for (topology::Reservation& one : reservations_of_others(other.base, other.uid))
      taken.vms.push_back(std::move(one));
  return taken;
}

void subtract_pending(topology::HostTopology& host, const fs::path& base) {
  for (const VmDir& dir : VmDir::all(base)) {
    const State state = dir.read_state();
    // ordinary memory is never held for good: a balloon gives it back, and the guest takes it again
    std::vector<topology::PageClaim> open = dir.reservation().pages;
    std::erase_if(open, [&](const topology::PageClaim& claim) { return claim.huge() && state.pages_held; });
    if (open.empty()) continue;
    topology::PageCounts touched = touched_pages(dir, state, open);
    for (const topology::PageClaim& claim : open) {
      const std::uint64_t has = touched[{claim.node, claim.page.count}];
      if (claim.pages > has) subtract(host, claim, claim.pages - has);
    }
  }
}

std::set<std::string> makers_of_vfs(const fs::path& base) {
  std::set<std::string> physical;
  for (const VmDir& dir : VmDir::all(base))
    for (const Owed& owed : dir.journal().read().owed)
      if (const auto* remove = std::get_if<RemoveVfs>(&owed.undo)) physical.insert(remove->physical);
  return physical;
}

bool others_have(const fs::path& base, const std::string& except, const Undo& undo) {
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.name() == except) continue;
    for (const Owed& owed : dir.journal().read().owed)
      if (owed.undo == undo) return true;
  }
  return false;
}

}  // namespace launcher::steps
