// What kinds of cores a machine has: by what a core is, never by the clock it may boost to. For read_host*.cpp.
#pragma once

#include <string>
#include <vector>

#include "topology/host_topology.hpp"

namespace topology {

enum class CoreType { unknown, core, atom, low_power };  // Intel's names for the first three of its kinds

struct KindClue {  // what is known of some CPUs
  CpuSet cpus;
  CoreType type = CoreType::unknown;
  unsigned max_mhz = 0;  // 0: not known
};

// Do the cores differ in SMT or in their cache? Where they do not, clocks tell no kinds and need not be read.
bool cores_differ_in_shape(const HostTopology& host);

// Sets Pu::kind and kind_names. Types decide where some CPUs have one; else cores are of two kinds only if their clocks
// are far apart and their caches or SMT differ as well (AMD's dense cores).
void set_kinds(const std::vector<KindClue>& clues, HostTopology& host);

}  // namespace topology
