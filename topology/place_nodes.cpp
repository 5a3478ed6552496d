// Which nodes: one if any one has the cores and the memory, else the fewest and nearest together.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <tuple>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

constexpr std::size_t few_nodes = 8;  // up to here every combination is tried

// Is memory tied to the nodes of the vCPUs, so that they must be chosen together?
bool bound(const View& view) { return view.request.policy != MemoryPolicy::interleave; }

bool is_device_node(const View& view, unsigned node) { return std::ranges::count(view.homes, node) != 0; }

std::uint64_t all_free_bytes(const View& view, unsigned node) {
  const Room& room = view.rooms.at(node);
  std::uint64_t bytes = room.free.count;
  for (const auto& [page, pages] : room.in_pool) bytes += page * pages;
  return bytes;
}

// Nodes the vCPUs may sit on: those asked for, or all; where those asked for have no CPUs, the nearest that have.
std::vector<unsigned> candidates(const View& view) {
  if (view.request.nodes.empty()) return view.cpu_nodes;
  std::vector<unsigned> nodes;
  for (const unsigned node : memory_nodes(view))
    if (std::binary_search(view.cpu_nodes.begin(), view.cpu_nodes.end(), node)) nodes.push_back(node);
  return nodes;
}

// ---- one node

// 1G pages can hardly be had at run time, so a node whose pool has them goes before one that would have to make them.
bool gigantic_pages_ready(const View& view, unsigned node, const Memory& memory) {
  if (memory.page.page < gib(1)) return false;
  const auto& pools = view.rooms.at(node).in_pool;
  const auto pool = pools.find(memory.page.page.count);
  const auto need = memory.pages.find(node);
  return pool != pools.end() && need != memory.pages.end() && pool->second >= need->second;
}

}  // namespace

std::optional<Choice> on_one_node(const View& view, const CoreNeed& need, const std::vector<unsigned>& nodes,
                                  bool with_memory) {
  // isolated cores for it, devices here, page size, its 1G pages there already, memory left (in quarters of the most),
  // CPUs for its other threads, free cores; the first node among equals
  using Rank = std::tuple<unsigned, bool, std::uint64_t, bool, unsigned, std::pair<bool, unsigned>>;
  struct Candidate {
    unsigned node = 0, cores = 0;
    Memory memory;
    std::uint64_t left = 0;
  };
  const auto free_cores = cores_by_node(view, need);
  std::vector<Candidate> candidates;
  for (const unsigned node : nodes) {
    const auto count = free_cores.find(node);
    if (count == free_cores.end() || count->second < need.cores) continue;
    auto memory = with_memory ? memory_over(view, {node}) : Memory{};
    if (!memory) continue;
    std::uint64_t left = all_free_bytes(view, node);
    if (with_memory)
      left = room_in_pages(view, node, memory->page) * memory->page.page.count - view.request.memory.count;
    candidates.push_back({node, count->second, *std::move(memory), left});
  }
  std::uint64_t most = 0;
  for (const Candidate& one : candidates) most = std::max(most, one.left);
  std::optional<Rank> best_rank;
  const Candidate* best = nullptr;
  for (const Candidate& one : candidates) {
    const std::pair near(has_housekeeping(view, one.node), one.cores);
    const Rank rank{isolated_cores(view, need, one.node), is_device_node(view, one.node),
                    one.memory.page.page.count,           gigantic_pages_ready(view, one.node, one.memory),
                    in_quarters(one.left, most),          near};
    if (best != nullptr && rank <= *best_rank) continue;
    best_rank = rank;
    best = &one;
  }
  if (best == nullptr) return std::nullopt;
  return Choice{need, {{best->node, need.cores}}, best->memory, {}, {}};
}

// ---- several

namespace {

std::uint64_t total_distance(const View& view, const std::vector<unsigned>& nodes) {
  std::uint64_t sum = 0;
  for (const unsigned a : nodes)
    for (const unsigned b : nodes) sum += view.host.distance(a, b);
  return sum;
}

// These nodes and all of them.
std::optional<Choice> on_all_of(const View& view, const CoreNeed& need, const std::vector<unsigned>& nodes,
                                bool with_memory, const std::map<unsigned, unsigned>& free_cores) {
  std::vector<std::uint64_t> caps, isolated;
  for (const unsigned node : nodes) {
    const auto count = free_cores.find(node);
    caps.push_back(count != free_cores.end() ? count->second : 0);
    isolated.push_back(isolated_cores(view, need, node));
  }
  const auto shares = shares_of(need.cores, caps, isolated);
  if (!shares) return std::nullopt;
  auto memory = with_memory ? memory_over(view, nodes) : Memory{};
  if (!memory) return std::nullopt;
  Choice choice{need, {}, *std::move(memory), {}, {}};
  for (std::size_t i = 0; i < nodes.size(); ++i)
    choice.shares.push_back({nodes[i], static_cast<unsigned>((*shares)[i])});
  return choice;
}

bool every_node_used(const Choice& choice) {
  return std::ranges::none_of(choice.shares, [](const Share& share) { return share.cores == 0; });
}

// 0 when all parts are alike, else by how much the largest exceeds the smallest.
std::uint64_t unevenness(const Choice& choice) {
  const auto [least, most] = std::ranges::minmax(choice.shares, {}, &Share::cores);
  return most.cores - least.cores;
}

// neighbours: of each node in turn, all of them, nearest first; used where there are many.
std::vector<std::vector<unsigned>> combinations(const std::vector<unsigned>& nodes, unsigned size,
                                                const std::vector<std::vector<unsigned>>& neighbours) {
  std::vector<std::vector<unsigned>> sets;
  if (nodes.size() <= few_nodes) {
    for (unsigned mask = 0; mask < 1u << nodes.size(); ++mask) {
      if (std::popcount(mask) != static_cast<int>(size)) continue;
      auto& set = sets.emplace_back();
      for (unsigned i = 0; i < nodes.size(); ++i)
        if ((mask >> i & 1) != 0) set.push_back(nodes[i]);
    }
  } else {
    for (const auto& near : neighbours) {
      std::vector<unsigned> set(near.begin(), near.begin() + std::min<std::ptrdiff_t>(size, std::ssize(near)));
      std::sort(set.begin(), set.end());
      sets.push_back(std::move(set));
    }
    std::sort(sets.begin(), sets.end());
    sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  }
  return sets;
}

std::optional<Choice> on_fewest_nodes(const View& view, const CoreNeed& need, const std::vector<unsigned>& all,
                                      bool with_memory) {
  // isolated cores, how near to each other, how even, devices; the first nodes among equals
  using Rank = std::tuple<long, std::uint64_t, std::uint64_t, long, std::vector<unsigned>>;
  std::vector<unsigned> nodes;  // a node without a free core is of no use
  const auto free_cores = cores_by_node(view, need);
  for (const unsigned node : all)
    if (free_cores.contains(node)) nodes.push_back(node);
  std::vector<std::vector<unsigned>> neighbours;
  for (const unsigned start : nodes)
    if (nodes.size() > few_nodes) neighbours.push_back(by_distance(view, {start}, nodes));
  for (unsigned size = least_nodes(free_cores, nodes, need.cores); size <= nodes.size(); ++size) {
    std::optional<Rank> best_rank;
    std::optional<Choice> best;
    for (const auto& set : combinations(nodes, size, neighbours)) {
      auto choice = on_all_of(view, need, set, with_memory, free_cores);
      if (!choice || !every_node_used(*choice)) continue;
      const long devices = std::ranges::count_if(set, [&view](unsigned node) { return is_device_node(view, node); });
      long isolated = 0;
      for (const Share& share : choice->shares)
        isolated += std::min(share.cores, isolated_cores(view, need, share.node));
      Rank rank{-isolated, total_distance(view, set), unevenness(*choice), -devices, set};
      if (best_rank && rank >= *best_rank) continue;
      best_rank = std::move(rank);
      best = std::move(choice);
    }
    if (best) return best;
  }
  return std::nullopt;
}

std::string why_several(const View& view, const Choice& choice, bool with_memory) {
  unsigned most_cores = 0, on = choice.shares.front().node;
  const auto free_cores = cores_by_node(view, choice.need);
  for (const auto& [node, count] : free_cores)
    if (count > most_cores) most_cores = count, on = node;
  std::vector<unsigned> nodes;
  std::string split;
  for (const Share& share : choice.shares) {
    nodes.push_back(share.node);
    split += fmt::format("{}{}", split.empty() ? "" : "+", share.cores * choice.need.threads);
  }
  if (most_cores < choice.need.cores || !with_memory)
    return fmt::format("the VM crosses nodes {} ({} vCPUs): no node has {} {} (most: node {} with {})", numbers(nodes),
                       split, choice.need.cores, free_ones(view, choice.need), on, most_cores);
  return fmt::format("the VM crosses nodes {} ({} vCPUs): no node with {} {} has {} of free memory too", numbers(nodes),
                     split, choice.need.cores, free_ones(view, choice.need), to_string(view.request.memory));
}

std::vector<unsigned> nodes_of(const Choice& choice) {
  std::vector<unsigned> nodes;
  for (const Share& share : choice.shares)
    if (share.cores != 0) nodes.push_back(share.node);
  return nodes;
}

// All nodes the user listed: the memory on every one of them, the vCPUs on those that have CPUs.
std::optional<Choice> on_listed_nodes(const View& view, const CoreNeed& need, bool with_memory) {
  const auto wanted = memory_nodes(view);
  const auto with_cpus = candidates(view);
  auto choice = with_cpus.empty() ? std::nullopt : on_all_of(view, need, with_cpus, false, cores_by_node(view, need));
  if (with_cpus.empty())  // memory-only nodes: the nearest CPUs serve them
    for (const unsigned node : by_distance(view, wanted, view.cpu_nodes)) {
      choice = on_one_node(view, need, {node}, false);
      if (choice) break;
    }
  if (!choice) return std::nullopt;
  if (with_memory) {
    auto memory = memory_over(view, wanted);
    if (!memory) return std::nullopt;
    choice->memory = *std::move(memory);
  }
  std::vector<unsigned> without;
  std::set_difference(wanted.begin(), wanted.end(), with_cpus.begin(), with_cpus.end(), std::back_inserter(without));
  const bool all = without.empty() && every_node_used(*choice);
  const std::string how = all               ? ", and so are the vCPUs"
                          : without.empty() ? fmt::format("; the vCPUs sit on node {}", numbers(nodes_of(*choice)))
                                            : "";
  if (wanted.size() > 1)
    choice->notes.push_back(
        fmt::format("memory.nodes = {}: the memory is spread over exactly these{}", numbers(wanted), how));
  if (!without.empty())
    choice->notes.push_back(fmt::format("node{} {} {} no CPUs; the vCPUs sit on node {}",
                                        without.size() == 1 ? "" : "s", numbers(without),
                                        without.size() == 1 ? "has" : "have", numbers(nodes_of(*choice))));
  return choice;
}

std::optional<Choice> search(const View& view, bool with_memory) {
  const auto needs = core_needs(view);
  const bool listed = !view.request.nodes.empty() && bound(view);
  const auto nodes = candidates(view).empty() ? view.cpu_nodes : candidates(view);
  std::optional<Choice> choice;
  for (const bool each : {true, false}) {  // of those listed: with vCPUs on each of them, if any need is met so
    for (const CoreNeed& need : needs) {
      if (choice || (!each && !listed)) break;
      choice = listed ? on_listed_nodes(view, need, with_memory) : on_one_node(view, need, nodes, with_memory);
      if (choice && listed && each && !every_node_used(*choice)) choice.reset();
    }
  }
  for (const CoreNeed& need : needs) {
    if (choice || listed) break;
    choice = on_fewest_nodes(view, need, nodes, with_memory);
    if (choice) choice->notes.push_back(why_several(view, *choice, with_memory));
  }
  if (choice && choice->need.kind && view.request.kind == CpuKindChoice::automatic &&
      *choice->need.kind != view.kinds.front())
    choice->notes.push_back(why_slower(view, choice->need));
  return choice;
}

}  // namespace

std::vector<unsigned> by_distance(const View& view, const std::vector<unsigned>& from, std::vector<unsigned> nodes) {
  const auto nearest = [&](unsigned node) {
    unsigned least = std::numeric_limits<unsigned>::max();
    for (const unsigned start : from) least = std::min(least, view.host.distance(start, node));
    return least;
  };
  std::sort(nodes.begin(), nodes.end(), [&](unsigned a, unsigned b) {
    const unsigned to_a = nearest(a), to_b = nearest(b);
    return to_a != to_b ? to_a < to_b : a < b;
  });
  return nodes;
}

std::optional<Choice> choose_nodes(const View& view) {
  if (bound(view))
    if (auto choice = search(view, true)) return choice;
  if (view.request.policy == MemoryPolicy::strict) return std::nullopt;
  auto choice = search(view, false);
  if (!choice) return std::nullopt;
  auto memory = bound(view)
                    ? memory_preferred(view, view.request.nodes.empty() ? nodes_of(*choice) : memory_nodes(view))
                    : memory_together(view, memory_nodes(view));
  if (!memory) return std::nullopt;
  choice->memory = *std::move(memory);
  return choice;
}

}  // namespace topology::parts
