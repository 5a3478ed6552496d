// The guest's nodes of whatever is imported, on their way to [[numa]]. The rule: a table for each, in order of their numbers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/import/spec_text.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline import {

struct ImportedCell {
  topology::CpuSet vcpus = {};
  std::uint64_t size = 0;       // bytes
  topology::CpuSet nodes = {};  // of the host; empty: vmrun's choice
  std::string policy = {};      // "strict", "preferred", "interleave"; "": memory.policy
};
// The distance from one to another, where it was given.
using ImportedDistances = std::vector<std::vector<std::optional<unsigned>>>;

// All of them and memory.size, their sum; what is not given of the distances is as the other way is, else as all others have it.
void write_cells(SpecText& spec, const std::vector<ImportedCell>& cells, const ImportedDistances& distances);
// To what its size is rounded up: whole pages, and what memory.max is given in.
std::uint64_t step_of_cells(const SpecText& spec);

}  // namespace launcher::import
