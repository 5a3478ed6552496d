// spec.toml -> Spec, all problems at once; and how problems are printed.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/host_config.hpp"
#include "launcher/problem.hpp"
#include "launcher/spec.hpp"
#include "launcher/toml_reader.hpp"

namespace launcher {

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
std::vector<KeyInfo> host_config_keys();
std::string json_schema();  // draft 2020-12, for editor completion

// The message a person reads (colour only when asked), in the form DESIGN.md shows; document may be null.
std::string render(const Problem& problem, const TomlDocument* document, bool colour);
std::string render(const Problems& problems, const TomlDocument* document, bool colour);
// [{"key":..,"what":..,"help":..,"file":..,"line":..,"column":..}, ...]
std::string problems_to_json(const Problems& problems, const TomlDocument* document);

// User text made safe for a terminal: control characters, bidi overrides and broken UTF-8 as \x1b, \u{202e}, \xff.
std::string printable(std::string_view text);

// "did you mean": the closest candidate within a third of the word's length, "" if none.
std::string closest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace launcher
