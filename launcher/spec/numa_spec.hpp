// [[numa]]: the guest's NUMA nodes, by hand. The rule: what one leaves out ("auto") is its even part of what the others leave.
#pragma once

#include <optional>
#include <vector>

#include "launcher/text/toml_reader.hpp"
#include "topology/bytes.hpp"
#include "topology/placement.hpp"

namespace launcher::inline spec {

struct Spec;

struct NumaSpec {
  std::optional<std::vector<unsigned>> vcpus;    // numa.vcpus: "auto" | "none" (empty) | "0-3" | [0, 1, 2, 3]
  std::optional<topology::Bytes> size;           // numa.size: "auto" | a size; 0: CPUs alone
  std::vector<unsigned> nodes;                   // numa.nodes, of the host; empty: "auto"
  std::optional<topology::MemoryPolicy> policy;  // numa.policy; "auto": memory.policy
  std::vector<unsigned> distances;  // numa.distances: to each of the guest's nodes; empty: as the host's are
  friend bool operator==(const NumaSpec&, const NumaSpec&) = default;
};

NumaSpec read_numa(TableReader& table);

// What each has of the guest's CPUs and of the memory that it starts with.
struct NumaShare {
  std::vector<unsigned> vcpus;  // ascending
  topology::Bytes size;
  friend bool operator==(const NumaShare&, const NumaShare&) = default;
};
std::vector<NumaShare> numa_shares(const Spec& spec);

}  // namespace launcher::spec
