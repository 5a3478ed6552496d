// Guest nodes by hand: which of the host's each is on. All on one where that has the cores and the memory, else each on its own
// as far as there are nodes; what names its nodes is there and nowhere else.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

using Nodes = std::vector<unsigned>;

// Where its memory lies, if not where its vCPUs are: on nodes that it names; where memory.nodes have no CPUs, on those.
Nodes own_nodes(const View& view, const CellRequest& cell) {
  if (!cell.nodes.empty() || view.request.nodes.empty()) return cell.nodes;
  const bool with_cpus =
      std::ranges::any_of(view.request.nodes, [&](unsigned node) { return std::ranges::count(view.cpu_nodes, node); });
  return with_cpus ? Nodes{} : memory_nodes(view);
}

// Nodes one of which a cell's vCPUs (its memory, where it has none) may be on, best first.
Nodes candidates(const View& view, const CellRequest& cell) {
  const Nodes own = own_nodes(view, cell);
  Nodes nodes;
  if (own.empty())
    nodes = view.request.nodes.empty() && !cell.vcpus.empty() ? view.cpu_nodes : memory_nodes(view);
  else
    nodes = own;
  if (cell.vcpus.empty()) return nodes;
  std::erase_if(nodes, [&](unsigned node) { return std::ranges::count(view.cpu_nodes, node) == 0; });
  return nodes.empty() ? by_distance(view, own, view.cpu_nodes) : nodes;
}

// What the nodes have left to give.
struct Left {
  std::map<unsigned, unsigned> cores;
  std::map<unsigned, std::uint64_t> pages;
};

Left all_of(const View& view, const CoreNeed& need, const PageKind& kind) {
  Left left{cores_by_node(view, need), {}};
  for (const auto& [node, room] : view.rooms) left.pages[node] = room_in_pages(view, node, kind);
  return left;
}

struct Search {
  const View& view;
  const CoreNeed& need;
  std::optional<PageKind> kind;  // nullopt: memory is no matter
  std::vector<std::size_t> order;
  std::vector<std::optional<unsigned>> nodes = {};  // by cell
  unsigned tries = 20'000;
};

// What is left once the cell is there. nullopt: too little.
std::optional<Left> with_cell(const Search& search, const CellRequest& cell, unsigned node, Left left) {
  const auto cores = static_cast<unsigned>(cell.vcpus.size()) / search.need.threads;
  if (cores > 0 && left.cores[node] < cores) return std::nullopt;
  if (cores > 0) left.cores[node] -= cores;
  if (!search.kind) return left;
  Nodes beds = own_nodes(search.view, cell);
  if (beds.empty()) beds = {node};
  std::vector<std::uint64_t> caps;
  for (const unsigned bed : beds) caps.push_back(left.pages[bed]);
  const auto shares = spread(cell.size.count / search.kind->page.count, caps);
  if (!shares) return std::nullopt;
  for (std::size_t i = 0; i < beds.size(); ++i) left.pages[beds[i]] -= (*shares)[i];
  return left;
}

// A cell's candidates: the one before's while that has less than its part of the cells, then those that have fewest, of these
// the VM's devices' and the nearest to the others.
Nodes by_preference(const Search& search, std::size_t at) {
  const View& view = search.view;
  const CellRequest& cell = view.request.cells[search.order[at]];
  Nodes nodes = candidates(view, cell);
  const std::size_t part = (search.order.size() + nodes.size() - 1) / std::max<std::size_t>(nodes.size(), 1);
  std::map<unsigned, unsigned> cells;
  for (std::size_t before = 0; before < at; ++before) ++cells[*search.nodes[search.order[before]]];
  const std::optional<unsigned> last = at > 0 ? search.nodes[search.order[at - 1]] : std::nullopt;
  const auto rank = [&](unsigned node) {
    unsigned distance = 0;
    for (const auto& [other, count] : cells) distance += view.host.distance(other, node);
    const bool go_on = node == last && cells[node] < part;
    return std::tuple(!go_on, cells.contains(node) ? cells.at(node) : 0, std::ranges::count(view.homes, node) == 0,
                      distance);
  };
  std::ranges::stable_sort(nodes, {}, rank);
  return nodes;
}

bool seat_from(Search& search, std::size_t at, const Left& left) {
  if (at == search.order.size()) return true;
  const std::size_t cell = search.order[at];
  for (const unsigned node : by_preference(search, at)) {
    if (search.tries == 0) return false;
    --search.tries;
    const auto after = with_cell(search, search.view.request.cells[cell], node, left);
    if (!after) continue;
    search.nodes[cell] = node;
    if (seat_from(search, at + 1, *after)) return true;
  }
  return false;
}

// One that each of them may be on, with room for all.
std::optional<Nodes> on_one(const Search& search, const Left& all) {
  const auto& cells = search.view.request.cells;
  for (const unsigned node : candidates(search.view, cells.front())) {
    std::optional<Left> left = all;
    for (const CellRequest& cell : cells)
      if (left && std::ranges::count(candidates(search.view, cell), node) != 0)
        left = with_cell(search, cell, node, *std::move(left));
      else
        left = std::nullopt;
    if (left) return Nodes(cells.size(), node);
  }
  return std::nullopt;
}

// In their order; where that does not come out, those that name nodes first, then the largest.
std::optional<Nodes> on_several(const View& view, const CoreNeed& need, std::optional<PageKind> kind) {
  const auto& cells = view.request.cells;
  std::vector<std::size_t> order(cells.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const Left left = all_of(view, need, kind.value_or(page_kinds(view).back()));
  if (auto one = on_one({view, need, kind, order}, left)) return one;
  for (const bool by_size : {false, true}) {
    if (by_size)
      std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) {
        return std::tuple(!cells[i].nodes.empty(), cells[i].vcpus.size(), cells[i].size);
      });
    Search search{view, need, kind, order};
    search.nodes.resize(cells.size());
    if (!seat_from(search, 0, left)) continue;
    Nodes nodes;
    for (const auto& node : search.nodes) nodes.push_back(*node);
    return nodes;
  }
  return std::nullopt;
}

std::vector<Share> shares_by_cells(const View& view, const CoreNeed& need, const Nodes& cell_nodes) {
  std::map<unsigned, unsigned> cores;
  for (std::size_t i = 0; i < cell_nodes.size(); ++i)
    if (const auto& vcpus = view.request.cells[i].vcpus; !vcpus.empty())
      cores[cell_nodes[i]] += static_cast<unsigned>(vcpus.size()) / need.threads;
  std::vector<Share> shares;
  for (const auto& [node, count] : cores) shares.push_back({node, count});
  return shares;
}

std::string why_several(const View& view, const Choice& choice) {
  std::set<unsigned> nodes;
  for (std::size_t i = 0; i < choice.cell_nodes.size(); ++i) {
    const Nodes own = own_nodes(view, view.request.cells[i]);
    nodes.insert(own.begin(), own.end());
    if (own.empty() || !view.request.cells[i].vcpus.empty()) nodes.insert(choice.cell_nodes[i]);
  }
  if (nodes.size() < 2) return "";
  const std::string crossed = fmt::format("the VM crosses nodes {}: ", numbers({nodes.begin(), nodes.end()}));
  const Nodes named = nodes_named_by_cells(view);
  if (named.size() > 1) return crossed + "so do the nodes that [[numa]] names";
  if (!named.empty()) return crossed + fmt::format("node {}, which [[numa]] names, has not the room for all", named[0]);
  return crossed +
         fmt::format("no node alone has {} {} and {} of free memory, so each of [[numa]] is on one that has its part",
                     choice.need.cores, free_ones(view, choice.need), to_string(view.request.memory));
}

std::optional<Choice> search_nodes(const View& view, bool with_memory) {
  const auto needs = core_needs(view);
  const auto& cells = view.request.cells;
  const bool free = std::ranges::all_of(cells, [&](const CellRequest& cell) { return own_nodes(view, cell).empty(); });
  for (const CoreNeed& need : needs) {
    if (!free) break;
    auto choice = on_one_node(view, need, candidates(view, {.vcpus = {0}}), with_memory);
    if (!choice) continue;
    choice->cell_nodes.assign(cells.size(), choice->shares.front().node);
    return choice;
  }
  std::vector<std::optional<PageKind>> kinds{std::nullopt};
  if (with_memory) {
    const auto all = page_kinds(view);
    kinds.assign(all.begin(), all.end());
  }
  for (const CoreNeed& need : needs)
    for (const auto& kind : kinds)
      if (auto nodes = on_several(view, need, kind)) {
        Choice choice{need, shares_by_cells(view, need, *nodes), {}, {}, *nodes};
        if (auto note = why_several(view, choice); !note.empty()) choice.notes.push_back(std::move(note));
        return choice;
      }
  return std::nullopt;
}

}  // namespace

std::optional<Choice> choose_for_cells(const View& view) {
  const MemoryPolicy policy = view.request.policy;
  std::optional<Choice> choice;
  if (policy != MemoryPolicy::interleave) choice = search_nodes(view, true);
  if (!choice && policy != MemoryPolicy::strict) choice = search_nodes(view, false);
  if (!choice) return std::nullopt;
  std::vector<Nodes> nodes;
  for (std::size_t i = 0; i < choice->cell_nodes.size(); ++i) {
    nodes.push_back(own_nodes(view, view.request.cells[i]));
    if (nodes.back().empty() && policy == MemoryPolicy::interleave) nodes.back() = memory_nodes(view);
    if (nodes.back().empty()) nodes.back() = {choice->cell_nodes[i]};
  }
  auto memory = memory_of_cells(view, nodes);
  if (!memory) return std::nullopt;
  choice->memory = *std::move(memory);
  if (const Choice& found = *choice;
      found.need.kind && view.request.kind == CpuKindChoice::automatic && *found.need.kind != view.kinds.front())
    choice->notes.push_back(why_slower(view, found.need));
  return choice;
}

std::optional<Memory> memory_of_seated(const View& view, const Seats& seats) {
  std::set<unsigned> all;
  for (const auto cpu : seats.cpus) all.insert(view.host.pu(*cpu)->node);
  std::vector<Nodes> nodes;
  for (const CellRequest& cell : view.request.cells) {
    std::set<unsigned> here;
    for (const unsigned vcpu : cell.vcpus) here.insert(view.host.pu(*seats.cpus[vcpu])->node);
    nodes.push_back(cell.nodes);
    if (nodes.back().empty() && (!view.request.nodes.empty() || view.request.policy == MemoryPolicy::interleave))
      nodes.back() = memory_nodes(view);
    if (nodes.back().empty())
      nodes.back().assign(here.empty() ? all.begin() : here.begin(), here.empty() ? all.end() : here.end());
  }
  return memory_of_cells(view, nodes);
}

std::optional<Memory> memory_of_unseated(const View& view, const std::vector<unsigned>& nodes) {
  std::vector<Nodes> each;
  for (const CellRequest& cell : view.request.cells) each.push_back(cell.nodes.empty() ? nodes : cell.nodes);
  return memory_of_cells(view, each);
}

std::vector<std::optional<unsigned>> in_order_of_vcpus(const View& view, const Choice& choice,
                                                       const std::vector<std::optional<unsigned>>& cpus) {
  std::map<unsigned, Nodes> vcpus;  // by node, cell by cell
  for (std::size_t i = 0; i < choice.cell_nodes.size(); ++i)
    for (const unsigned vcpu : view.request.cells[i].vcpus) vcpus[choice.cell_nodes[i]].push_back(vcpu);
  std::vector<std::optional<unsigned>> seats(cpus.size());
  std::size_t next = 0;
  for (const auto& [node, here] : vcpus)
    for (const unsigned vcpu : here) seats[vcpu] = cpus[next++];
  return seats;
}

}  // namespace topology::parts
