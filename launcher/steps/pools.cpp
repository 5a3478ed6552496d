#include "launcher/steps/pools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "launcher/host/host.hpp"
#include "launcher/host/pools.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

std::string RaisePool::describe() const {
  return fmt::format("raise node {}'s pool of {} pages by {}", node, to_string(page), pages);
}

TrimPool RaisePool::precheck(PerformContext& context) const {
  TrimPool trim = undo();
  trim.before = pool_total(context.host.kernel, node, page);
  return trim;
}

void RaisePool::perform(PerformContext& context) const {
  KernelFiles& kernel = context.host.kernel;
  const std::uint64_t before = pool_total(kernel, node, page);
  const std::uint64_t wanted = before + pages;
  std::uint64_t granted = set_pool(kernel, node, page, wanted);
  for (int attempt = 0; granted < wanted && attempt < 3; ++attempt) {  // fragmented: compact, ask again
    compact_memory(kernel, node);
    granted = set_pool(kernel, node, page, wanted);
  }
  if (granted < wanted)
    throw std::runtime_error(
        fmt::format("node {} has no room for {} more {} pages: the kernel granted {} (memory is short or fragmented; "
                    "reserve at boot, or use smaller pages)",
                    node, pages, to_string(page), granted > before ? granted - before : 0));
}

std::string TrimPool::describe() const {
  return fmt::format("trim node {}'s pool of {} pages by {}", node, to_string(page), pages);
}

// A crash came between writing down that the pool is changed, and that it was; and others have changed it, too, so that its size does
// not say. Taking as much once more could take somebody else's.
std::string TrimPool::doubtful(std::uint64_t total, std::uint64_t kept) const {
  return fmt::format(
      "node {}'s pool of {} pages was changed by others while vmrun was killed {} its {}: it has {} pages, of which "
      "up to {} may be left over; what nobody needs is given back by writing the number that shall stay to "
      "/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages",
      node, to_string(page), kept == pages ? "giving back" : "adding", pages, total, kept, node, page.count / 1024);
}

void TrimPool::perform(UndoContext& context) const {
  const std::uint64_t total = pool_total(context.host.kernel, node, page);
  if (context.begun) {
    // Unless the pool still is what it was when this began, it was trimmed.
    if (total != *context.begun && total + pages != *context.begun)
      context.passed_over.push_back(doubtful(total, pages));
    if (total != *context.begun) return;
  } else {
    context.begin(total);
  }
  std::uint64_t raised = pages;
  if (!context.done && before) {
    raised = std::min(pages, total > *before ? total - *before : 0);
    if (total != *before && total != *before + pages && raised < pages)
      context.passed_over.push_back(doubtful(total, pages - raised));
  }
  if (raised = std::min(raised, total); raised > 0) set_pool(context.host.kernel, node, page, total - raised);
}

}  // namespace launcher::steps
