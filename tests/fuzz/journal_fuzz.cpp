// A journal of any bytes: reading it never throws, and what it yields can be described and written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/steps/run_dir.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const auto& undo : launcher::parse_journal({reinterpret_cast<const char*>(data), size})) {
    if (launcher::describe(undo.step).empty()) std::abort();
    if (launcher::step_from_json(launcher::to_json(undo.step)) != undo.step) std::abort();
  }
  return 0;
}
