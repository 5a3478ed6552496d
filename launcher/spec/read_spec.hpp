// spec.toml -> Spec, all problems at once.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/facts/host_config.hpp"
#include "launcher/spec/spec.hpp"
#include "launcher/text/problem.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline spec {

struct SpecFile {
  Spec spec;
  TomlDocument document;  // for the positions of problems found later
};

// Shape only: types, ranges, unknown keys, cross-field rules that need no host (topology product, page multiple, queues
// against vCPUs, duplicate MACs/serials, ...). On error the document comes along (if it parsed) so problems can be printed.
struct SpecErrors {
  Problems problems;
  std::optional<TomlDocument> document;
};
Spec read_document(const TomlDocument& document, Problems& problems);  // the second half: a parsed text, and the rules
std::expected<SpecFile, SpecErrors> read_spec(const std::filesystem::path& file,
                                              const std::vector<std::string>& overrides);

// Every readable key, from running the readers over nothing. Source of the JSON schema and of the reference test.
std::vector<KeyInfo> spec_keys();
std::string json_schema();  // draft 2020-12, for editor completion

}  // namespace launcher::spec
