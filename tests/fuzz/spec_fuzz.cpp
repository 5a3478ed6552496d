// Specs from anywhere: whatever the bytes, the reader ends in a spec or in problems, every problem says something,
// stands somewhere, and prints without a control character. What follows a NUL byte is taken as --set, one a line.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/spec/read_spec.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"

namespace {

void require(bool truth, std::source_location where = std::source_location::current()) {
  if (truth) return;
  std::fprintf(stderr, "%s:%u: not so\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

void check_text(std::string_view text) {
  require(launcher::first_broken_utf8(text) == text.npos);
  for (const char c : text) require(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t');
}

void check_problems(const launcher::Problems& problems, const launcher::TomlDocument& document) {
  for (const launcher::Problem& problem : problems) {
    require(!problem.what.empty() && !problem.help.empty());
    const launcher::Position at = document.position_of(problem);
    require(at.line == 0 || (at.column >= 1 && at.end_column > at.column));
    check_text(launcher::render(problem, &document, false));
  }
  check_text(launcher::render(problems, &document, false));
  check_text(launcher::problems_to_json(problems, &document));
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t nul = bytes.find('\0');
  const std::string_view text = bytes.substr(0, nul);
  const std::vector<std::string> overrides =
      nul == bytes.npos ? std::vector<std::string>() : lines_of(bytes.substr(nul + 1));
  // No file of this directory exists: an include is a problem.
  const auto document = launcher::TomlDocument::parse(text, "/nonexistent/fuzz.toml", overrides);
  if (!document) {
    require(!document.error().problems.empty());
    check_problems(document.error().problems, document.error().document);
    return 0;
  }
  launcher::Problems problems;
  const launcher::Spec spec = launcher::read_document(*document, problems);
  check_problems(problems, *document);
  if (problems.empty()) {
    require(!spec.name.empty() && spec.name.size() <= 63 && spec.name.find('/') == spec.name.npos);
    require(spec.cpu.count >= 1 && spec.memory.size >= topology::mib(1) && !spec.devices.empty());
  }
  return 0;
}
