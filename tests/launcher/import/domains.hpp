// Small domains for tests of the import, and what is checked of each: a row of its report, a line of its spec.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "launcher/import/walk.hpp"

namespace domains {

using launcher::Imported;
using launcher::ImportOptions;
using launcher::ReportRow;
using launcher::Verb;

inline Imported imported(const std::string& xml, const ImportOptions& options = {}) {
  auto result = launcher::import_domain(xml, options);
  REQUIRE_MESSAGE(result, (result ? "" : result.error()));
  return std::move(*result);
}

// A small domain with this below <domain>.
inline std::string domain(const std::string& inner, const std::string& devices = "") {
  return "<domain type='kvm'><name>a</name><memory>1048576</memory><vcpu>4</vcpu>"
         "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>" +
         inner + "<devices>" + devices + "</devices></domain>";
}

inline const ReportRow* row_of(const Imported& result, std::string_view path) {
  const auto found = std::ranges::find(result.report, path, &ReportRow::path);
  return found == result.report.end() ? nullptr : &*found;
}

// The verb of a path, and whether the spec has the line.
inline void check(const std::string& xml, std::string_view path, Verb verb, const std::string& line = "",
                  const ImportOptions& options = {}) {
  const Imported result = imported(xml, options);
  INFO(result.spec, launcher::to_text(result.report));
  const ReportRow* row = row_of(result, path);
  REQUIRE_MESSAGE(row != nullptr, path);
  CHECK_MESSAGE(row->verb == verb, path, ": ", name_of(row->verb), ", ", row->words);
  CHECK_MESSAGE(result.spec.find(line) != std::string::npos, line);
}

}  // namespace domains
