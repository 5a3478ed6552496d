// See walk.hpp.
#include "launcher/import/walk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "launcher/spec/read_spec.hpp"

namespace launcher::inline import {

const std::string& Leaf::value() const {
  static const std::string none;
  return value_ == nullptr ? none : *value_;
}

std::optional<std::uint64_t> Leaf::number() const { return there() ? number_of(value()) : std::nullopt; }

void Leaf::tell(Verb verb, const std::string& words) const {
  if (there()) walk_->tell(*element_, attribute_, verb, words);
}

void Leaf::tell_default(Verb verb, const std::string& words) const {
  there() ? tell(verb, words) : walk_->tell_missing(path_, verb, words);
}

Leaf Walk::at(const XmlElement& element, std::string_view way) {
  const std::size_t sign = way.rfind('@');
  const std::string attribute(sign == way.npos ? "" : way.substr(sign));
  const std::string path = &element == &root ? std::string(way)
                           : way.empty()     ? element.shown
                                             : fmt::format("{}/{}", element.shown, way);
  const XmlElement* found = element.find(sign == way.npos ? way : way.substr(0, sign == 0 ? 0 : sign - 1));
  if (found == nullptr) return {*this, nullptr, attribute, path, nullptr};
  return {*this, found, attribute, path, sign == way.npos ? &found->text : found->attribute(attribute.substr(1))};
}

void Walk::tell(const XmlElement& element, const std::string& attribute, Verb verb, const std::string& words) {
  const auto [place, fresh] = told_.emplace(std::pair(&element, attribute), Told{verb, words});
  if (!fresh && verb > place->second.verb) place->second = {verb, words};
}

void Walk::tell_missing(const std::string& path, Verb verb, const std::string& words) {
  missing_.push_back({path, 0, "", verb, words, true});
}

void Walk::tell_all(const XmlElement& element, Verb verb, const std::string& words) {
  told_.emplace(std::pair(&element, ""), Told{verb, words});
  for (const auto& [key, value] : element.attributes) told_.emplace(std::pair(&element, "@" + key), Told{verb, words});
  for (const XmlElement& child : element.children) tell_all(child, verb, words);
}

void Walk::collect(const XmlElement& element, Report& report) const {
  const bool top = &element == &root;
  const auto add = [&](const std::string& attribute, const std::string& value) {
    const auto below = [&](const std::string& path) {
      return attribute.empty() ? path : top ? attribute : path + "/" + attribute;
    };
    const auto found = told_.find({&element, attribute});
    ReportRow row{below(element.shown), element.line, attribute == "@passwd" ? "..." : value, Verb::dropped,
                  "unknown: vmrun's import has no word of it"};
    if (found != told_.end()) {
      row.verb = found->second.verb;
      row.words = found->second.words;
    } else if (const PathRow* known = find_path(below(element.path)); known != nullptr && *known->words != '\0') {
      row.verb = known->verb;
      row.words = known->words;
    }
    report.push_back(std::move(row));
  };
  const bool bare = element.children.empty() && std::ranges::all_of(element.attributes, [](const auto& one) {
                      return one.first.starts_with("xmlns");
                    });
  if (!element.text.empty() || (bare && !top)) add("", element.text);
  for (const auto& [key, value] : element.attributes)
    if (!key.starts_with("xmlns")) add("@" + key, value);
  for (const XmlElement& child : element.children) collect(child, report);
}

Report Walk::finish() {
  Report report;
  collect(root, report);
  report.insert(report.end(), missing_.begin(), missing_.end());
  for (ReportRow& row : report) row.words = spec.renamed(std::move(row.words));
  return report;
}

const PathRow* find_path(std::string_view path) {
  const PathRow* best = nullptr;
  std::size_t longest = 0;
  for (const PathRow& row : path_table()) {
    const std::string_view pattern = row.path;
    const bool below = pattern.ends_with("/**");
    const std::string_view head = below ? pattern.substr(0, pattern.size() - 3) : pattern;
    const bool fits = path == head || (below && path.starts_with(head) && path.substr(head.size()).starts_with('/'));
    if (!fits || (best != nullptr && head.size() < longest)) continue;
    if (best != nullptr && head.size() == longest && below) continue;
    best = &row;
    longest = head.size();
  }
  return best;
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  const int base = text.starts_with("0x") || text.starts_with("0X") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> scaled(std::uint64_t value, std::string_view unit) {
  if (unit.empty()) unit = "KiB";
  std::uint64_t factor = 1;
  if (unit != "b" && unit != "byte" && unit != "bytes") {
    constexpr std::string_view letters = "kmgtpe";
    const std::size_t power = letters.find(static_cast<char>(unit[0] | 0x20));
    const std::string rest = lowered(unit.substr(1));
    if (power == letters.npos || (!rest.empty() && rest != "b" && rest != "ib")) return std::nullopt;
    for (std::size_t i = 0; i <= power; ++i) factor *= rest == "b" ? 1000 : 1024;
  }
  if (value > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  return value * factor;
}

std::optional<std::uint64_t> size_of(const Leaf& value, const Leaf& unit) {
  const auto number = value.number();
  return number ? scaled(*number, unit.value()) : std::nullopt;
}

bool is_file_path(std::string_view path) { return path.starts_with('/'); }

bool is_interface_name(const std::string& name) {
  return !name.empty() && name.size() <= 15 && name.find_first_of("/: %\t\n") == std::string::npos;
}

void complete(Imported& imported, const SpecText& spec) {
  const SpecText::Line* name = spec.find("", "name");
  imported.name = name == nullptr ? "imported" : name->value.substr(1, name->value.size() - 2);
  imported.spec = spec.to_toml();
  const auto document = TomlDocument::parse(imported.spec, "/imported.toml");
  Problems problems = document ? Problems{} : document.error().problems;
  if (document) read_document(*document, problems);
  for (const Problem& problem : problems)
    imported.report.push_back({"spec " + problem.key, 0, "", Verb::refused, problem.what + "; " + problem.help});
  if (exit_code_of(imported.report) == 2) imported.spec.clear();
}

namespace {

void visit(Walk& walk, const XmlElement& element) {
  const PathRow* row = find_path(element.path);
  if (row != nullptr && row->function != nullptr && row->path == element.path) row->function(walk, element);
  for (const XmlElement& child : element.children) visit(walk, child);
}

}  // namespace

std::expected<Imported, std::string> import_domain(std::string_view xml, const ImportOptions& options) {
  const auto root = parse_xml(xml);
  if (!root) return std::unexpected(root.error());
  const XmlElement* domain = root->name == "domain" ? &*root : nullptr;
  if (domain == nullptr && root->name == "domstatus")
    return std::unexpected("a <domstatus> is libvirt's own record of a run; wanted what `virsh dumpxml` prints");
  if (domain == nullptr)
    return std::unexpected(fmt::format("the top is <{}>; wanted a <domain>, as `virsh dumpxml` prints it", root->name));
  Walk walk(*domain, options);
  walk.tcg = walk.at("@type").is("qemu");
  const Leaf vcpus = walk.at("vcpu"), current = walk.at("vcpu/@current");
  const std::uint64_t count = (current.number() ? current : vcpus).number().value_or(1);
  walk.vcpus = static_cast<unsigned>(std::clamp<std::uint64_t>(count, 1, 4096));
  for (const XmlElement& child : domain->children) visit(walk, child);
  import_defaults(walk);
  Imported result;
  result.report = walk.finish();
  if (const XmlElement* nvram = domain->find("os/nvram"); nvram != nullptr) {
    const std::string* file = nvram->find("source") ? nvram->find("source")->attribute("file") : nullptr;
    result.state.variables = file != nullptr ? *file : nvram->text;
  }
  if (const XmlElement* uuid = domain->find("uuid"); uuid != nullptr && domain->find("devices/tpm/backend") != nullptr)
    result.state.tpm = options.tpm_state.empty() ? "/var/lib/libvirt/swtpm/" + uuid->text + "/tpm2" : options.tpm_state;
  complete(result, walk.spec);
  return result;
}

}  // namespace launcher::import
