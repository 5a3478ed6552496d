// memory.max: a virtio-mem device for each of the guest's nodes. The rule: the pages of all that the guest may ever be
// given are reserved and claimed at its start, so that no page is promised twice.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

topology::Bytes block_of(const Draft& draft) { return std::max(draft.plan.placement.page, topology::mib(2)); }

void add_device(Draft& draft, const topology::MemoryCell& cell, std::size_t index, bool several) {
  const std::string id = fmt::format("hot{}", cell.guest_node);
  const bool huge = draft.plan.placement.page > draft.host.base_page;
  const topology::Bytes size = hot_part(draft, index);
  boost::json::object ram = backend(draft, cell, id + "-ram", size.count);
  if (!huge) ram["reserve"] = false;  // swap space is not set aside for what may never be used
  draft.args.add(
      "-object", ram,
      huge ? "its pages are set aside now, and touched when the guest gets them" : "touched when the guest gets it",
      "spec memory.max");
  constexpr std::size_t functions = 8;
  Opts device("virtio-mem-pci");
  device.set("id", id).set("memdev", id + "-ram").set("node", cell.guest_node);
  device.set("block-size", block_of(draft).count).set("requested-size", 0);
  if (huge) device.set("prealloc", true);  // a shortage refuses the block, and does not kill the guest
  device.set("addr", fmt::format("{:02x}.{}", slots::memory + index / functions, index % functions));
  if (several && index % functions == 0) device.set("multifunction", true);
  draft.args.add("-device", device, fmt::format("up to {} more for guest node {}", to_string(size), cell.guest_node),
                 "spec memory.max");
  if (!huge) return;
  for (const unsigned node : cell.host_nodes)
    draft.plan.spare.push_back({node, draft.plan.placement.page, size.count / draft.plan.placement.page.count});
}

}  // namespace

// In proportion to the cells, in whole blocks; what is left over is the last one's.
topology::Bytes hot_part(const Draft& draft, std::size_t index) {
  const MemorySpec& memory = draft.spec.memory;
  if (!memory.max) return {};
  const std::vector<topology::MemoryCell>& cells = draft.plan.placement.cells;
  if (!draft.spec.numa.empty()) return asked_cells(draft.spec)[index].later;
  const std::uint64_t block = block_of(draft).count, blocks = (memory.max->count - memory.size.count) / block;
  std::uint64_t given = 0;
  for (std::size_t i = 0; i + 1 < cells.size(); ++i) {
    const auto part =
        static_cast<std::uint64_t>(static_cast<__uint128_t>(blocks) * cells[i].size.count / memory.max->count);
    if (i == index) return {part * block};
    given += part;
  }
  return {(blocks - given) * block};
}

void add_hot_memory(Draft& draft) {
  if (!draft.spec.memory.max) return;
  constexpr std::size_t most = 16;  // two slots of eight functions
  const std::vector<topology::MemoryCell>& cells = draft.plan.placement.cells;
  if (!draft.qemu.has("virtio-mem-pci.prealloc"))
    draft.problem("memory.max", fmt::format("QEMU {} has no virtio-mem", draft.qemu.version),
                  "remove max, or set another qemu in /etc/vmrun/host.toml");
  if (cells.size() > most)
    draft.problem("memory.max", fmt::format("the guest has {} nodes; virtio-mem is for {} here", cells.size(), most),
                  "remove max, or choose fewer memory.nodes");
  draft.note(
      fmt::format("memory.max: the guest starts with {}; `vmrun set {} memory=SIZE` gives it up to {}, and the pages "
                  "of all that are "
                  "claimed now",
                  to_string(draft.spec.memory.size), draft.spec.name, to_string(*draft.spec.memory.max)));
  for (std::size_t i = 0; i < cells.size() && i < most; ++i)
    if (hot_part(draft, i).count != 0) add_device(draft, cells[i], i, cells.size() > 1);
}

}  // namespace launcher::parts
