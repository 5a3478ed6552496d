// CpuSet::parse on any bytes: it never crashes, and what it reads comes back from its own text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/cpu_set.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto set = topology::CpuSet::parse({reinterpret_cast<const char*>(data), size});
  if (!set) {
    if (set.error().empty()) std::abort();
    return 0;
  }
  const auto again = topology::CpuSet::parse(set->to_string());
  if (!again || *again != *set) std::abort();
  if (set->to_vector().size() != set->size()) std::abort();
  return 0;
}
