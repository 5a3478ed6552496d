// Domains and command lines from anywhere: whatever the bytes, the import ends in words or in a report, and what it writes is a spec
// that reads.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/import/argv.hpp"
#include "launcher/import/walk.hpp"
#include "launcher/spec/read_spec.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const int way : {0, 1, 2}) {
    launcher::ImportOptions options;
    options.replace_pins = options.adopt_state = way == 1;
    const auto imported = way == 2 ? launcher::import_argv(bytes, options) : launcher::import_domain(bytes, options);
    if (!imported) {
      if (imported.error().empty()) std::abort();
      continue;
    }
    for (const launcher::ReportRow& row : imported->report)
      if (row.words.empty() || row.path.empty()) std::abort();
    if (launcher::exit_code_of(imported->report) == 2) continue;
    const auto document = launcher::TomlDocument::parse(imported->spec, "/fuzz.toml");
    if (!document) std::abort();
    launcher::Problems problems;
    launcher::read_document(*document, problems);
    if (!problems.empty()) std::abort();
  }
  return 0;
}
