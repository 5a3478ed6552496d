// Huge-page pools: nr_hugepages of one node, by kernel files (Documentation/admin-guide/mm/hugetlbpage.rst).
#pragma once

#include <cstdint>

#include "topology/bytes.hpp"

namespace launcher::inline host {

class KernelFiles;

// Without surplus pages: those that somebody took out of the pool while they were in use. Throws where the node has no such pool.
std::uint64_t pool_total(KernelFiles& kernel, unsigned node, topology::Bytes page);
// What the kernel granted (read back): it may be fewer without an error.
std::uint64_t set_pool(KernelFiles& kernel, unsigned node, topology::Bytes page, std::uint64_t total);
void compact_memory(KernelFiles& kernel, unsigned node);  // a kernel without compaction has no such file: nothing

}  // namespace launcher::host
