// Why a request has no place: what is lacking on each node, in numbers, and who has it.
#include <fmt/format.h>

#include <algorithm>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

std::vector<unsigned> asked_nodes(const View& view) {
  return view.request.nodes.empty() ? view.cpu_nodes : memory_nodes(view);
}

unsigned count_on(const std::map<unsigned, unsigned>& counts, unsigned node) {
  const auto found = counts.find(node);
  return found != counts.end() ? found->second : 0;
}

// The need that comes nearest to being met: the one with the most free cores per core needed.
CoreNeed nearest_need(const View& view) {
  const auto needs = core_needs(view);
  const auto lacking = [&view](const CoreNeed& need) {
    unsigned have = 0;
    for (const auto& [node, count] : cores_by_node(view, need)) have += count;
    return static_cast<long>(need.cores * need.threads) - static_cast<long>(std::min(have, need.cores) * need.threads);
  };
  return *std::min_element(needs.begin(), needs.end(),
                           [&](const CoreNeed& a, const CoreNeed& b) { return lacking(a) < lacking(b); });
}

std::optional<Unplaceable> too_few_cores(const View& view, bool short_of_memory) {
  const CoreNeed need = nearest_need(view);
  const auto counts = cores_by_node(view, need);
  const auto nodes = asked_nodes(view);
  unsigned have = 0;
  for (const unsigned node : nodes) have += count_on(counts, node);
  const bool no_cpus = std::none_of(nodes.begin(), nodes.end(), [&](unsigned node) {
    return std::binary_search(view.cpu_nodes.begin(), view.cpu_nodes.end(), node);
  });
  if (have >= need.cores || no_cpus) return std::nullopt;
  const std::string each =
      need.filled ? "" : fmt::format(" ({} thread{} each)", need.threads, need.threads == 1 ? "" : "s");
  Unplaceable problem{"cpu.count",
                      fmt::format("{} vCPUs need {} {}{}; {} {} free{}", view.request.vcpus, need.cores,
                                  free_ones(view, need), each, have, have == 1 ? "is" : "are",
                                  view.request.nodes.empty() ? "" : fmt::format(" on node {}", numbers(nodes))),
                      {},
                      ""};
  for (const unsigned node : nodes)
    problem.nodes.push_back({node, need.filled ? "free threads" : "free cores", fmt::to_string(count_on(counts, node)),
                             fmt::to_string(need.cores), who_holds_cpus(view, node)});
  problem.help = help_for_cores(view, have, need.threads, short_of_memory);
  if (need.threads == 1 && view.threads_per_core > 1 && view.request.vcpus % view.threads_per_core != 0 &&
      !view.request.threads)
    problem.help += fmt::format("; a multiple of {} needs fewer cores", view.threads_per_core);
  return problem;
}

// The kind of page the complaint is about: the one asked for, or the last resort of "auto".
PageKind blamed_page(const View& view) { return page_kinds(view).back(); }

Unplaceable too_little_memory(const View& view, const std::vector<unsigned>& nodes, std::string what) {
  const PageKind kind = blamed_page(view);
  const bool huge = kind.page != view.host.base_page;
  const std::uint64_t need = view.request.memory.count / kind.page.count;
  Unplaceable problem{huge                       ? "memory.page"
                      : view.request.starts_with ? "memory.max"
                                                 : "memory.size",
                      std::move(what),
                      {},
                      ""};
  for (const unsigned node : nodes) {
    const std::uint64_t have = room_in_pages(view, node, kind);
    problem.nodes.push_back(
        {node,
         huge ? fmt::format("{} {} pages", kind.may_raise ? "free or addable" : "free", page_name(kind.page))
              : "memory",
         huge ? fmt::to_string(have) : to_string(mib((kind.page * have).count >> 20)),
         huge ? fmt::to_string(need) : to_string(view.request.memory), who_holds_pages(view, node, kind)});
  }
  return problem;
}

}  // namespace

std::string numbers(const std::vector<unsigned>& sorted) { return fmt::format("{}", fmt::join(sorted, ",")); }

std::string who_holds_cpus(const View& view, unsigned node) {
  const CpuSet here = view.host.cpus_of_node(node);
  std::string text;
  for (const Reservation& vm : view.taken.vms)
    if (const CpuSet cpus = vm.cpus & here; !cpus.empty())
      text += fmt::format("{}{} ({})", text.empty() ? "held by " : ", ", vm.owner, cpus.to_string());
  if (const CpuSet kept = view.housekeeping & here; !kept.empty())
    text += fmt::format("{}housekeeping {}", text.empty() ? "" : ", ", kept.to_string());
  if (const CpuSet others = view.request.emulator.value_or(CpuSet{}) & here; !others.empty())
    text += fmt::format("{}cpu.emulator {}", text.empty() ? "" : ", ", others.to_string());
  return text;
}

std::string who_holds_pages(const View& view, unsigned node, const PageKind& kind) {
  std::string text;
  const auto add = [&text](const std::string& owner, const std::string& amount) {
    text += fmt::format("{}{} ({})", text.empty() ? "held by " : ", ", owner, amount);
  };
  for (const Reservation& vm : view.taken.vms) {
    std::uint64_t pages = 0;
    Bytes ordinary;
    for (const PageClaim& claim : vm.pages) {
      if (claim.node != node) continue;
      if (claim.page == view.host.base_page)
        ordinary = ordinary + claim.page * claim.pages;
      else if (claim.page == kind.page)
        pages += claim.pages;
    }
    if (pages != 0) add(vm.owner, fmt::to_string(pages));
    if (ordinary.count != 0 && (kind.page == view.host.base_page || kind.may_raise))
      add(vm.owner, to_string(mib(ordinary.count >> 20)));
  }
  return text;
}

Problems why_no_memory(const View& view, const std::vector<unsigned>& nodes, bool short_of_cores) {
  if (view.trying) return {Unplaceable{}};
  const PageKind kind = blamed_page(view);
  std::uint64_t have = 0;
  for (const unsigned node : nodes) have += room_in_pages(view, node, kind);
  Unplaceable problem = too_little_memory(
      view, nodes,
      nodes.empty() ? fmt::format("{} of memory do not fit: no node has any to give", to_string(view.request.memory))
                    : fmt::format("{} of memory in pages of {} do not fit on node{} {}: {} can be had there",
                                  to_string(view.request.memory), page_name(kind.page), nodes.size() == 1 ? "" : "s",
                                  numbers(nodes), to_string(mib((kind.page * have).count >> 20))));
  problem.help = help_for_memory(view, nodes, kind, short_of_cores);
  return {std::move(problem)};
}

Problems why_not(const View& view) {
  if (view.trying) return {Unplaceable{}};
  Problems problems;
  const auto nodes = view.request.nodes.empty() ? memory_nodes(view) : asked_nodes(view);
  const PageKind kind = blamed_page(view);
  std::uint64_t have = 0;
  for (const unsigned node : nodes) have += room_in_pages(view, node, kind);
  const bool short_of_memory = have < view.request.memory.count / kind.page.count;
  if (auto cores = too_few_cores(view, short_of_memory)) problems.push_back(*std::move(cores));
  if (short_of_memory) {
    problems.push_back(why_no_memory(view, nodes, !problems.empty()).front());
  } else if (problems.empty() && !view.request.cells.empty()) {
    return why_no_cells(view);
  } else if (problems.empty()) {
    auto both = too_little_memory(
        view, nodes,
        fmt::format("no node, nor several together, have both the cores for {} vCPUs and {} of memory in pages of {}",
                    view.request.vcpus, to_string(view.request.memory), page_name(kind.page)));
    const CoreNeed need = nearest_need(view);
    const auto counts = cores_by_node(view, need);
    unsigned most = 0;
    for (const unsigned node : asked_nodes(view)) most += count_on(counts, node);
    for (const unsigned node : asked_nodes(view))
      both.nodes.push_back({node, "free cores", fmt::to_string(count_on(counts, node)), fmt::to_string(need.cores),
                            who_holds_cpus(view, node)});
    both.key = "cpu.count";
    both.help = help_for_cores(view, most, need.threads, false);
    problems.push_back(std::move(both));
  }
  return problems;
}

std::string why_slower(const View& view, const CoreNeed& need) {
  const auto free_cores = cores_by_node(view, {.cores = need.cores, .kind = view.kinds.front()});
  unsigned free = 0;
  for (const auto& [ignored, count] : free_cores) free += count;
  return fmt::format("the vCPUs get {}, not {}: of those only {} whole ones are free", cores_of_kind(view, need.kind),
                     cores_of_kind(view, view.kinds.front()), free);
}

}  // namespace topology::parts
