// A journal of any bytes: reading it never throws, and what it yields can be described and written again.
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/steps/journal.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const launcher::JournalText journal = launcher::parse_journal({reinterpret_cast<const char*>(data), size});
  for (const auto& owed : journal.owed) {
    if (launcher::describe(owed.undo).empty()) std::abort();
    if (launcher::undo_from_json(launcher::to_json(owed.undo)) != owed.undo) std::abort();
  }
  for (const auto& what : journal.unreadable)
    if (what.empty()) std::abort();
  return 0;
}
