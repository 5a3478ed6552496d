// What the guest's nodes ([[numa]]) rule out of each other: each vCPU is of one, their sizes are all of the memory, and their
// distances are what a kernel takes for such (ACPI's SLIT).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "launcher/spec/rules_parts.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline spec {

namespace {

constexpr std::size_t most_cells = 128;  // QEMU's MAX_NODES
constexpr unsigned own_distance = 10, least_distance = 11, no_way = 255;

std::string key_of(std::size_t cell, const char* key) { return fmt::format("numa[{}].{}", cell, key); }

void check_vcpus(Rules& rules, const std::vector<NumaShare>& shares) {
  const std::vector<NumaSpec>& cells = rules.spec.numa;
  const unsigned count = rules.spec.cpu.count;
  std::map<unsigned, std::size_t> of;
  bool sound = true, automatic = false;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    automatic = automatic || !cells[i].vcpus;
    for (std::size_t at = 0; cells[i].vcpus && at < cells[i].vcpus->size(); ++at) {
      const unsigned vcpu = (*cells[i].vcpus)[at];
      const auto [before, fresh] = of.emplace(vcpu, i);
      if (fresh && vcpu < count) continue;
      sound = false;
      rules.add(fmt::format("{}[{}]", key_of(i, "vcpus"), at),
                vcpu >= count ? fmt::format("vCPU {} is beyond the guest's {}; wanted numbers from 0 to {}", vcpu,
                                            count_of(count, "vCPU"), count - 1)
                              : fmt::format("vCPU {} is in numa[{}] already; wanted each in one", vcpu, before->second),
                vcpu >= count ? fmt::format("set cpu.count = {}, or take it out", vcpu + 1)
                              : "take it out of one of the two");
    }
  }
  if (!sound) return;
  topology::CpuSet left;
  for (unsigned vcpu = 0; vcpu < count; ++vcpu)
    if (!of.contains(vcpu)) left.add(vcpu);
  if (!left.empty() && !automatic)
    rules.add(key_of(cells.size() - 1, "vcpus"),
              fmt::format("vCPU{} {} {} in none of [[numa]]; wanted each in one", left.size() == 1 ? "" : "s",
                          left.to_string(), left.size() == 1 ? "is" : "are"),
              "add to one of the lists, or remove vcpus from one: it gets those that the others leave");
  for (std::size_t i = 0; i < cells.size(); ++i)
    if (!cells[i].vcpus && shares[i].vcpus.empty())
      rules.add(key_of(i, "vcpus"), "the others leave no vCPU to this node; wanted one or more, or \"none\"",
                "set vcpus = \"none\" for a node of memory alone, or list fewer elsewhere");
}

void check_sizes(Rules& rules, const std::vector<NumaShare>& shares) {
  const std::vector<NumaSpec>& cells = rules.spec.numa;
  const MemorySpec& memory = rules.spec.memory;
  const bool sized = std::ranges::all_of(cells, [](const NumaSpec& one) { return one.size.has_value(); });
  topology::Bytes sum;
  for (const NumaSpec& one : cells) sum = sum + one.size.value_or(topology::Bytes{});
  if (memory.size.count == 0)
    return rules.add("memory.size",
                     sized ? "is missing, and no node of [[numa]] has memory; wanted some"
                           : "is missing, and so is the size of one of [[numa]]; wanted it, or all of those",
                     "add size = \"4G\" to [memory]");
  if (sized ? sum != memory.size : sum >= memory.size) {
    const std::string both = fmt::format("{}, and the sizes of [[numa]] make {}", topology::to_string(memory.size),
                                         topology::to_string(sum));
    return rules.add("memory.size",
                     both + (sized ? "; wanted their sum" : "; wanted more than that, for those without a size"),
                     sized ? fmt::format("set size = \"{}\", or remove it", topology::to_string(sum))
                           : "raise it, or set a smaller size there");
  }
  const topology::Bytes page = memory.page.value_or(topology::kib(4));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (shares[i].size.count % page.count != 0)
      rules.add(key_of(i, "size"),
                fmt::format("{} is not a multiple of {}; wanted whole pages", topology::to_string(shares[i].size),
                            topology::to_string(page)),
                fmt::format("set size = \"{}\"", topology::to_string(page * (shares[i].size.count / page.count + 1))));
    if (shares[i].size.count == 0 && shares[i].vcpus.empty() && cells[i].vcpus)
      rules.add(key_of(i, cells[i].size ? "size" : "vcpus"),
                "a node without vCPU and without memory; wanted one of the two",
                "give it some, or remove this [[numa]]");
  }
}

void check_host_nodes(Rules& rules) {
  const std::vector<NumaSpec>& cells = rules.spec.numa;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::vector<unsigned>& nodes = cells[i].nodes;
    for (std::size_t at = 0; at < nodes.size(); ++at)
      if (std::find(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(at), nodes[at]) !=
          nodes.begin() + static_cast<std::ptrdiff_t>(at))
        rules.add(fmt::format("{}[{}]", key_of(i, "nodes"), at),
                  fmt::format("node {} is listed twice; wanted each node once", nodes[at]), "remove one of the two");
    if (!nodes.empty() && rules.spec.memory.nodes && rules.sound("memory.nodes"))
      rules.add(key_of(i, "nodes"), "given beside memory.nodes; wanted one of the two",
                "remove memory.nodes and name nodes in each [[numa]], or remove it here");
  }
}

// What is wrong with the distance from one of the guest's nodes to another.
std::optional<std::string> wrong_distance(unsigned value, bool own) {
  if (own && value != own_distance) return fmt::format("{} to itself; wanted {}", value, own_distance);
  if (!own && (value < least_distance || value > no_way))
    return fmt::format("{} to another node; wanted {} to {}, or {}: no way there", value, least_distance, no_way - 1,
                       no_way);
  return std::nullopt;
}

void check_distances(Rules& rules) {
  const std::vector<NumaSpec>& cells = rules.spec.numa;
  const bool any = std::ranges::any_of(cells, [](const NumaSpec& one) { return !one.distances.empty(); });
  for (std::size_t i = 0; i < cells.size() && any; ++i) {
    const std::vector<unsigned>& row = cells[i].distances;
    if (row.size() != cells.size())
      rules.add(key_of(i, "distances"),
                row.empty() ? fmt::format("is missing, and another of [[numa]] has it; wanted {} in each", cells.size())
                            : fmt::format("{} for {}; wanted one to each, itself included",
                                          count_of(static_cast<unsigned>(row.size()), "distance"),
                                          count_of(static_cast<unsigned>(cells.size()), "node")),
                "write one line of the table in each, such as distances = [10, 21], or none: then the host's are told");
    for (std::size_t to = 0; to < row.size() && row.size() == cells.size(); ++to)
      if (const auto wrong = wrong_distance(row[to], to == i))
        rules.add(fmt::format("{}[{}]", key_of(i, "distances"), to), *wrong,
                  fmt::format("set it to {}", to == i ? own_distance : 20));
  }
}

}  // namespace

void check_numa(Rules& rules) {
  const std::vector<NumaSpec>& cells = rules.spec.numa;
  if (cells.empty() || !rules.sound("numa")) return;
  if (cells.size() > most_cells)
    return rules.add(fmt::format("numa[{}]", most_cells),
                     fmt::format("{} nodes; wanted at most {}", cells.size(), most_cells), "remove some");
  const std::vector<NumaShare> shares = numa_shares(rules.spec);
  if (rules.sound("cpu.count")) check_vcpus(rules, shares);
  if (rules.sound("memory.size") && rules.sound("memory.page")) check_sizes(rules, shares);
  check_host_nodes(rules);
  check_distances(rules);
}

}  // namespace launcher::spec
