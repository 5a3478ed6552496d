// Guest nodes by hand: their memory, their distances, and why they have no place.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

constexpr unsigned own_distance = 10, least_distance = 11;

std::string key_of(std::size_t cell) { return fmt::format("numa[{}]", cell); }

void check_cell_nodes(const View& view, Problems& problems) {
  std::vector<unsigned> known;
  for (const Node& node : view.host.nodes) known.push_back(node.id);
  const auto& cells = view.request.cells;
  for (std::size_t i = 0; i < cells.size(); ++i)
    for (const unsigned id : cells[i].nodes)
      if (view.host.node(id) == nullptr)
        problems.push_back({key_of(i) + ".nodes",
                            fmt::format("this host has no node {}; it has {}", id, numbers(known)),
                            {},
                            "name nodes that it has, or remove nodes: vmrun then chooses"});
}

// The pages of a part that its nodes have room for, and of policy preferred what lies elsewhere. nullopt: too little.
std::optional<std::map<unsigned, std::uint64_t>> pages_of(const View& view, const std::vector<unsigned>& nodes,
                                                          std::uint64_t pages,
                                                          const std::map<unsigned, std::uint64_t>& left) {
  std::vector<std::uint64_t> caps;
  for (const unsigned node : nodes) caps.push_back(left.at(node));
  std::map<unsigned, std::uint64_t> taken;
  if (const auto shares = spread(pages, caps)) {
    for (std::size_t i = 0; i < nodes.size(); ++i) taken[nodes[i]] = (*shares)[i];
    return taken;
  }
  if (view.request.policy != MemoryPolicy::preferred) return std::nullopt;
  std::vector<unsigned> all;
  for (const auto& [node, room] : left) all.push_back(node);
  for (const unsigned node : by_distance(view, nodes, all)) {
    taken[node] = std::min(pages, left.at(node));
    pages -= taken[node];
  }
  return pages == 0 ? std::optional(taken) : std::nullopt;
}

std::optional<Memory> in_pages_of(const View& view, const std::vector<std::vector<unsigned>>& nodes,
                                  const PageKind& kind) {
  const auto& cells = view.request.cells;
  std::map<unsigned, std::uint64_t> left;
  for (const auto& [node, room] : view.rooms) left[node] = room_in_pages(view, node, kind);
  Memory memory{.parts = {}, .page = kind, .pages = {}, .notes = {}};
  for (std::size_t i = 0; i < cells.size(); ++i) memory.parts.push_back({nodes[i], cells[i].size});
  std::vector<std::size_t> order(cells.size());  // those with a choice last
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return nodes[i].size(); });
  for (const std::size_t i : order) {
    const auto taken = pages_of(view, nodes[i], cells[i].size.count / kind.page.count, left);
    if (!taken) return std::nullopt;
    std::uint64_t elsewhere = 0;
    for (const auto& [node, pages] : *taken) {
      left[node] -= pages;
      if (pages != 0) memory.pages[node] += pages;
      if (std::ranges::count(nodes[i], node) == 0) elsewhere += pages;
    }
    if (elsewhere != 0)
      memory.notes.push_back(fmt::format(
          "memory.policy = preferred: {} of the guest's node {} does not fit on node {} and will lie elsewhere",
          to_string(kind.page * elsewhere), i, numbers(nodes[i])));
  }
  return memory;
}

}  // namespace

bool cells_keep_cores(const PlacementRequest& request, unsigned threads) {
  std::map<unsigned, std::size_t> cell_of;
  for (std::size_t i = 0; i < request.cells.size() && threads > 1; ++i)
    for (const unsigned vcpu : request.cells[i].vcpus) cell_of[vcpu] = i;
  return std::ranges::all_of(cell_of, [&](const auto& one) {
    const auto first = cell_of.find(one.first - one.first % threads);
    return first != cell_of.end() && first->second == one.second;
  });
}

void check_cells(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (r.cells.empty()) return;
  check_cell_nodes(view, problems);
  if (!problems.empty()) return;
  PlacementRequest alone = r;
  alone.cells.clear();
  bool fits = false, fits_alone = false;
  const unsigned least = r.siblings == Siblings::require ? 2 : 1;
  for (unsigned threads = r.threads.value_or(least); threads <= r.threads.value_or(view.threads_per_core); ++threads) {
    fits = fits || shape_fits(r, threads);
    fits_alone = fits_alone || shape_fits(alone, threads);
  }
  if (fits || !fits_alone) return;
  const char* key = r.threads ? "cpu.threads" : r.siblings == Siblings::require ? "cpu.siblings" : "cpu.cores";
  problems.push_back(
      {!r.threads && least == 1 && !r.cores ? "cpu.sockets" : key,
       "with it, vCPUs that are threads of one core are of two nodes of [[numa]]",
       {},
       "give each node whole cores, the vCPUs of a core being next to each other (0 and 1, 2 and 3), or remove it"});
}

std::vector<unsigned> nodes_named_by_cells(const View& view) {
  std::set<unsigned> named;
  for (const CellRequest& cell : view.request.cells) named.insert(cell.nodes.begin(), cell.nodes.end());
  return {named.begin(), named.end()};
}

std::optional<Memory> memory_of_cells(const View& view, const std::vector<std::vector<unsigned>>& nodes) {
  for (const PageKind& kind : page_kinds(view))
    if (auto memory = in_pages_of(view, nodes, kind)) return memory;
  return std::nullopt;
}

// Two on one node of the host are as near as a table of distances lets two nodes be.
std::vector<std::vector<unsigned>> cell_distances(const View& view, const Memory& memory) {
  std::vector<std::vector<unsigned>> table(memory.parts.size());
  const auto& cells = view.request.cells;
  for (std::size_t from = 0; from < table.size(); ++from) {
    if (!cells.empty() && !cells[from].distances.empty()) {
      table[from] = cells[from].distances;
      continue;
    }
    for (std::size_t to = 0; to < table.size(); ++to) {
      const unsigned distance = view.host.distance(memory.parts[from].nodes.front(), memory.parts[to].nodes.front());
      table[from].push_back(from == to ? own_distance : cells.empty() ? distance : std::max(distance, least_distance));
    }
  }
  return table;
}

Problems why_no_cells(const View& view) {
  const PageKind kind = page_kinds(view).back();
  std::optional<CoreNeed> need;
  if (const auto needs = core_needs(view); view.request.pinning == Pinning::automatic && !needs.empty())
    need = needs.back();
  const auto counts = need ? cores_by_node(view, *need) : std::map<unsigned, unsigned>{};
  const auto& cells = view.request.cells;
  Problems problems;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto cores = need ? static_cast<unsigned>(cells[i].vcpus.size()) / need->threads : 0;
    const auto nodes = !cells[i].nodes.empty() ? cells[i].nodes : memory_nodes(view);
    const std::uint64_t pages = cells[i].size.count / kind.page.count / std::max<std::size_t>(cells[i].nodes.size(), 1);
    Unplaceable why{
        key_of(i) + (cells[i].nodes.empty() ? "" : ".nodes"),
        fmt::format("{} vCPUs with {} in pages of {} fit on none of node{} {}", cells[i].vcpus.size(),
                    to_string(cells[i].size), page_name(kind.page), nodes.size() == 1 ? "" : "s", numbers(nodes)),
        {},
        "make it smaller, name other nodes, or stop a VM"};
    bool fits = false;
    for (const unsigned node : nodes) {
      const auto here = counts.find(node);
      const unsigned have = here != counts.end() ? here->second : 0;
      const std::uint64_t room = room_in_pages(view, node, kind);
      fits = fits || (have >= cores && room >= pages);
      if (cores > have)
        why.nodes.push_back(
            {node, "free cores", fmt::to_string(have), fmt::to_string(cores), who_holds_cpus(view, node)});
      if (room < pages)
        why.nodes.push_back(
            {node, "memory", to_string(mib((kind.page * room).count >> 20)), to_string(cells[i].size), ""});
    }
    if (!fits) problems.push_back(std::move(why));
  }
  if (problems.empty())
    problems.push_back(
        {"numa[0]",
         fmt::format("each of [[numa]] would fit on this host, but the {} do not together", cells.size()),
         {},
         "make them of sizes that its nodes have (`vmrun host`), name fewer to one node, or stop a VM"});
  return problems;
}

}  // namespace topology::parts
