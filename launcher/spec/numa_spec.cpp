// The keys of [[numa]], and what "auto" there comes to.
#include "launcher/spec/numa_spec.hpp"

#include <algorithm>
#include <set>

#include "launcher/spec/spec.hpp"

namespace launcher::inline spec {

NumaSpec read_numa(TableReader& table) {
  NumaSpec numa;
  if (table.is_text("vcpus", "none"))
    numa.vcpus.emplace();
  else
    numa.vcpus = table.numbers_or_auto("vcpus");
  if (!table.is_text("size", "auto")) {
    const topology::Bytes size = table.size("size", {0}, {0}, most_memory);
    if (table.has("size")) numa.size = size;
  }
  numa.nodes = table.numbers_or_auto("nodes").value_or(std::vector<unsigned>{});
  if (const std::size_t policy = table.choice("policy", {"auto", "strict", "preferred", "interleave"}, 0); policy > 0)
    numa.policy = static_cast<topology::MemoryPolicy>(policy - 1);
  numa.distances = table.numbers_or_auto("distances").value_or(std::vector<unsigned>{});
  return numa;
}

std::vector<NumaShare> numa_shares(const Spec& spec) {
  std::vector<NumaShare> shares(spec.numa.size());
  std::vector<std::size_t> open, unsized;
  std::set<unsigned> listed;
  topology::Bytes given;
  for (std::size_t i = 0; i < spec.numa.size(); ++i) {
    const NumaSpec& one = spec.numa[i];
    if (one.vcpus) {
      shares[i].vcpus = *one.vcpus;
      std::ranges::sort(shares[i].vcpus);
      listed.insert(one.vcpus->begin(), one.vcpus->end());
    } else {
      open.push_back(i);
    }
    if (one.size)
      given = given + (shares[i].size = *one.size);
    else
      unsized.push_back(i);
  }
  std::vector<unsigned> left;
  for (unsigned vcpu = 0; vcpu < spec.cpu.count && !open.empty(); ++vcpu)
    if (!listed.contains(vcpu)) left.push_back(vcpu);
  auto next = left.begin();
  for (std::size_t i = 0; i < open.size(); ++i) {
    const std::size_t part = left.size() / open.size() + (i < left.size() % open.size() ? 1 : 0);
    shares[open[i]].vcpus.assign(next, next + static_cast<std::ptrdiff_t>(part));
    next += static_cast<std::ptrdiff_t>(part);
  }
  if (unsized.empty() || spec.memory.size <= given) return shares;
  const topology::Bytes rest = spec.memory.size - given;
  topology::Bytes step = spec.memory.page.value_or(topology::mib(2));
  if (rest.count % step.count != 0) step = topology::kib(4);
  const std::uint64_t steps = rest.count / step.count;
  for (std::size_t i = 0; i < unsized.size(); ++i)
    shares[unsized[i]].size = step * (steps / unsized.size() + (i < steps % unsized.size() ? 1 : 0));
  return shares;
}

}  // namespace launcher::spec
