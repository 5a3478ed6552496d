// Memory: which page, how much on which node, and how far the pools must grow for it.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

bool is_base(const View& view, const PageKind& kind) { return kind.page == view.host.base_page; }

// Base pages that are not bound strictly may come from anywhere: then a node's room says nothing about the whole.
bool host_has_room(const View& view, const PageKind& kind, const std::vector<unsigned>& nodes) {
  std::uint64_t pages = 0;
  for (const unsigned node : nodes) pages += room_in_pages(view, node, kind);
  return pages >= view.request.memory.count / kind.page.count;
}

std::vector<std::uint64_t> caps_of(const View& view, const std::vector<unsigned>& nodes, const PageKind& kind) {
  const std::uint64_t pages = granule(view, kind).count / kind.page.count;
  std::vector<std::uint64_t> caps;
  caps.reserve(nodes.size());
  for (const unsigned node : nodes) caps.push_back(room_in_pages(view, node, kind) / pages);
  return caps;
}

Memory one_part_per_node(const View& view, const std::vector<unsigned>& nodes, const PageKind& kind,
                         const std::vector<std::uint64_t>& granules) {
  const Bytes unit = granule(view, kind);
  Memory memory{.parts = {}, .page = kind, .pages = {}, .notes = {}};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    memory.parts.push_back({{nodes[i]}, unit * granules[i]});
    memory.pages[nodes[i]] = granules[i] * (unit.count / kind.page.count);
  }
  return memory;
}

// total in proportion to weights, in whole granules; what rounding leaves goes to the first.
std::vector<std::uint64_t> in_proportion(std::uint64_t total, const std::vector<std::uint64_t>& weights) {
  const auto all = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
  std::vector<std::uint64_t> shares;
  std::uint64_t given = 0;
  for (const auto weight : weights) {
    shares.push_back(total / all * weight + total % all * weight / all);
    given += shares.back();
  }
  for (std::size_t i = 0; given < total; i = (i + 1) % shares.size()) {
    if (weights[i] == 0) continue;
    ++shares[i];
    ++given;
  }
  return shares;
}

// Does the cgroup leave so many pages of this size?
bool may_have(const View& view, Bytes page) {
  return view.request.memory <= view.whole.allowed.left_of(page).value_or(view.request.memory);
}

}  // namespace

std::string page_name(Bytes page) { return to_string(page); }

unsigned in_quarters(std::uint64_t left, std::uint64_t most) {
  const std::uint64_t kilobytes = std::max<std::uint64_t>(1, most / 1024);  // which leaves room to multiply
  return most == 0 ? 4 : static_cast<unsigned>((left / 1024 * 8 / kilobytes + 1) / 2);
}

std::optional<Bytes> odd_size(const View& view, Bytes page) {
  if (view.request.memory.count % page.count != 0) return view.request.memory;
  for (const CellRequest& cell : view.request.cells)
    for (const Bytes size : {cell.size, cell.later})
      if (size.count % page.count != 0) return size;
  return std::nullopt;
}

std::vector<PageKind> page_kinds(const View& view) {
  const auto& r = view.request;
  const Bytes base = view.host.base_page;
  if (r.page) return {{*r.page, r.may_reserve_pages && *r.page != base}};
  std::vector<PageKind> kinds;
  // 1G pages can hardly be had at run time: only those that somebody reserved already.
  if (!odd_size(view, gib(1)) && r.memory >= gib(8) && may_have(view, gib(1))) kinds.push_back({gib(1), false});
  if (!odd_size(view, mib(2)) && may_have(view, mib(2))) kinds.push_back({mib(2), r.may_reserve_pages});
  const auto& limit = view.whole.allowed.memory;  // mostly huge pages are not charged to it
  if (kinds.empty() || !limit || r.memory + qemus_own <= *limit) kinds.push_back({base, false});
  return kinds;
}

// Guest nodes begin at round addresses even on base pages, where the whole is round.
Bytes granule(const View& view, const PageKind& kind) {
  return kind.page < mib(2) && view.request.memory.count % mib(2).count == 0 ? mib(2) : kind.page;
}

std::uint64_t room_in_pages(const View& view, unsigned node, const PageKind& kind) {
  const Room& room = view.rooms.at(node);
  if (is_base(view, kind)) return room.free.count / kind.page.count;
  const auto pool = room.in_pool.find(kind.page.count);
  if (pool == room.in_pool.end()) return 0;
  return pool->second + (kind.may_raise ? room.free.count / kind.page.count : 0);
}

std::optional<std::vector<std::uint64_t>> spread(std::uint64_t total, const std::vector<std::uint64_t>& caps) {
  // Smallest cap first, each takes an equal part of what is left; among equals the last first, so that the remainder
  // ends at the first.
  std::vector<std::size_t> order(caps.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&caps](std::size_t a, std::size_t b) { return caps[a] != caps[b] ? caps[a] < caps[b] : a > b; });
  // Where the caps allow an even spread, their differences must not move the remainder.
  const std::uint64_t even = caps.empty() ? 0 : total / caps.size() + (total % caps.size() != 0);
  if (!caps.empty() && caps[order[0]] >= even) std::sort(order.rbegin(), order.rend());
  std::vector<std::uint64_t> shares(caps.size());
  std::uint64_t left = total, places = caps.size();
  for (const std::size_t i : order) {
    shares[i] = std::min(caps[i], left / places);
    left -= shares[i];
    --places;
  }
  if (left != 0) return std::nullopt;
  return shares;
}

std::optional<Memory> memory_over(const View& view, const std::vector<unsigned>& nodes) {
  for (const PageKind& kind : page_kinds(view)) {
    const auto total = view.request.memory.count / granule(view, kind).count;
    if (total < nodes.size()) continue;
    const auto shares = spread(total, caps_of(view, nodes, kind));
    if (shares && std::find(shares->begin(), shares->end(), 0u) == shares->end())
      return one_part_per_node(view, nodes, kind, *shares);
  }
  return std::nullopt;
}

std::optional<Memory> memory_by_weight(const View& view, const std::vector<unsigned>& nodes,
                                       const std::vector<std::uint64_t>& weights) {
  for (const PageKind& kind : page_kinds(view)) {
    const auto total = view.request.memory.count / granule(view, kind).count;
    if (total < nodes.size()) continue;
    const auto shares = in_proportion(total, weights);
    const auto caps = caps_of(view, nodes, kind);
    bool fits = true;
    for (std::size_t i = 0; i < caps.size(); ++i) fits = fits && shares[i] <= caps[i] && shares[i] > 0;
    if (fits) return one_part_per_node(view, nodes, kind, shares);
  }
  return std::nullopt;
}

std::optional<Memory> memory_together(const View& view, const std::vector<unsigned>& nodes) {
  for (const PageKind& kind : page_kinds(view)) {
    const auto total = view.request.memory.count / kind.page.count;
    std::vector<std::uint64_t> caps;
    caps.reserve(nodes.size());
    for (const unsigned node : nodes) caps.push_back(room_in_pages(view, node, kind));
    const auto shares = spread(total, caps);
    if (!shares) continue;
    Memory memory{.parts = {{nodes, view.request.memory}}, .page = kind, .pages = {}, .notes = {}};
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if ((*shares)[i] != 0) memory.pages[nodes[i]] = (*shares)[i];
    return memory;
  }
  return std::nullopt;
}

std::optional<Memory> memory_preferred(const View& view, const std::vector<unsigned>& nodes) {
  std::vector<unsigned> all;
  all.reserve(view.host.nodes.size());
  for (const Node& node : view.host.nodes) all.push_back(node.id);
  for (const PageKind& kind : page_kinds(view)) {
    if (!host_has_room(view, kind, all)) continue;
    const Bytes unit = granule(view, kind);
    const auto total = view.request.memory.count / unit.count;
    if (total < nodes.size()) continue;
    const auto even =
        spread(total, std::vector<std::uint64_t>(nodes.size(), std::numeric_limits<std::uint64_t>::max()));
    Memory memory = one_part_per_node(view, nodes, kind, *even);
    std::uint64_t missing = 0;
    for (auto& [node, pages] : memory.pages) {
      const auto room = room_in_pages(view, node, kind);
      missing += pages > room ? pages - room : 0;
      pages = std::min(pages, room);
    }
    const std::uint64_t elsewhere = missing;
    for (const unsigned node : by_distance(view, nodes, all)) {
      auto& pages = memory.pages[node];
      const auto more = std::min(missing, room_in_pages(view, node, kind) - pages);
      pages += more;
      missing -= more;
      if (pages == 0) memory.pages.erase(node);
    }
    if (elsewhere != 0)
      memory.notes.push_back(
          fmt::format("memory.policy = preferred: {} of {} does not fit on node {} and will lie elsewhere",
                      to_string(kind.page * elsewhere), to_string(view.request.memory), numbers(nodes)));
    return memory;
  }
  return std::nullopt;
}

std::vector<unsigned> memory_nodes(const View& view) {
  auto nodes = view.request.nodes;
  if (nodes.empty())
    for (const Node& node : view.host.nodes)
      if (node.memory_total.count != 0 &&  // one without CPUs is never chosen by itself
          std::binary_search(view.cpu_nodes.begin(), view.cpu_nodes.end(), node.id))
        nodes.push_back(node.id);
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

std::vector<PageNeed> page_needs(const View& view, const Memory& memory) {
  const bool base = is_base(view, memory.page);
  std::vector<PageNeed> needs;
  for (const auto& [node, pages] : memory.pages) {
    if (pages == 0) continue;
    const auto& pools = view.rooms.at(node).in_pool;
    const auto pool = pools.find(memory.page.page.count);
    const std::uint64_t free = pool != pools.end() ? pool->second : 0;
    needs.push_back({node, memory.page.page, pages, base || pages <= free ? 0 : pages - free});
  }
  return needs;
}

std::string page_note(const View& view, const Memory& memory) {
  const auto& r = view.request;
  if (r.page) return "";
  std::uint64_t deficit = 0;
  for (const PageNeed& need : page_needs(view, memory)) deficit += need.deficit;
  const Bytes page = memory.page.page;
  if (!is_base(view, memory.page)) {
    const std::string how =
        deficit == 0 ? "all free in the pool already" : fmt::format("{} of them to be added to the pool", deficit);
    return fmt::format("memory.page = \"auto\" became {}: {} pages, {}", page_name(page), r.memory.count / page.count,
                       how);
  }
  std::string why = fmt::format("no node has {} of 2M pages, free or to be had", to_string(r.memory));
  const auto has_pool = [](const Node& node) {
    return std::any_of(node.pools.begin(), node.pools.end(),
                       [](const HugePagePool& pool) { return pool.page == mib(2); });
  };
  if (const auto odd = odd_size(view, mib(2)))
    why = fmt::format("{} is not a multiple of 2M", to_string(*odd));
  else if (std::none_of(view.host.nodes.begin(), view.host.nodes.end(), has_pool))
    why = "this host has no pool of 2M pages";
  else if (!may_have(view, mib(2)))
    why = fmt::format("vmrun was allowed {} in pages of 2M", to_string(*view.whole.allowed.left_of(mib(2))));
  else if (!r.may_reserve_pages)
    why = "too few 2M pages are free in the pools, and only root can add some";
  return fmt::format("memory.page = \"auto\" became {} (no huge pages): {}", page_name(page), why);
}

}  // namespace topology::parts
