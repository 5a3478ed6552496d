// A lock or record of any bytes, as `replay` and `diff` are given them: refused with words, or it is written again as the same one, from
// which nothing differs; and what differs from another one can be told.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/record/drift.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto lock = launcher::lock_from_document({reinterpret_cast<const char*>(data), size});
  if (!lock) {
    if (lock.error().empty()) std::abort();
    return 0;
  }
  const auto again = launcher::lock_from_document(launcher::to_document(*lock));
  if (!again || !launcher::compare(*lock, *again).drifts.empty()) std::abort();
  const launcher::Comparison found = launcher::compare(launcher::LaunchLock{}, *lock);
  (void)launcher::drifts_text(found);
  (void)launcher::drifts_json(found.drifts);
  return 0;
}
