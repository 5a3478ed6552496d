// Files with all they include -> one merged document that knows where every key stands.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <stdexcept>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_loader.hpp"

namespace launcher::inline text {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t deepest_include = 16;
constexpr std::size_t most_files = 256;
constexpr std::size_t most_looks = 1024;  // at entries of include lists, of all files together

fs::path absolute_path(const fs::path& path) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(path, ignored);
  return ignored ? fs::path("/") / path : whole;
}

// What `over` says wins; tables are merged, arrays of tables appended to.
void merge(TomlNode& base, TomlNode&& over) {
  base.value_place = over.value_place;
  base.name_place = over.name_place;
  std::vector<TomlNode> all;  // both are in order
  all.reserve(base.children.size() + over.children.size());
  auto mine = base.children.begin();
  for (TomlNode& child : over.children) {
    while (mine != base.children.end() && mine->name < child.name) all.push_back(std::move(*mine++));
    if (mine == base.children.end() || mine->name != child.name) {
      all.push_back(std::move(child));
      continue;
    }
    TomlNode& both = all.emplace_back(std::move(*mine++));
    if (both.kind == Kind::table && child.kind == Kind::table) {
      merge(both, std::move(child));
    } else if (both.of_tables && child.of_tables) {
      for (TomlNode& item : child.children) both.children.push_back(std::move(item));
      both.value_place = child.value_place;
      both.name_place = child.name_place;
    } else {
      both = std::move(child);
    }
  }
  std::move(mine, base.children.end(), std::back_inserter(all));
  base.children = std::move(all);
}

constexpr const char* include_help = "the path is relative to the directory of the file that includes it";

std::string cannot_read(const std::string& file, const std::string& why) {
  return fmt::format("cannot read {}: {}; wanted a TOML file", shown(file), why);
}

}  // namespace

void TomlLoader::load_main(const fs::path& file) {
  std::expected<TomlFile, std::string> read = read_main_file(file);
  if (read) {
    parse_main(read->text, file.string(), read->reader);
    return;
  }
  impl->sources.push_back({file.string(), "", absolute_path(file).parent_path(), {}, {}});
  std::error_code none;
  const std::string meant = file.string() + ".toml";  // whoever gives a VM's name
  fail({"", fmt::format("cannot read the file: {}; wanted a TOML file", read.error()),
        fs::is_regular_file(meant, none) ? fmt::format("did you mean {}?", printable(meant))
                                         : "check the path, and that you may read it"},
       {0, {}});
}

void TomlLoader::parse_main(std::string_view text, const std::string& file_name, std::optional<uid_t> reader) {
  const fs::path file = absolute_path(file_name);
  std::error_code ignored;
  const fs::path canonical = fs::weakly_canonical(file, ignored);
  seen_.insert(canonical);
  open_.push_back(canonical);
  impl->root = read_source({std::string(text), reader}, file_name, file, true);
  open_.pop_back();
}

// The file with everything it includes.
TomlNode TomlLoader::read_source(const TomlFile& read, const std::string& name, const fs::path& file,
                                 bool shown_if_broken) {
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  std::string_view text = read.text;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  impl->sources.push_back({name, "", file.parent_path(), split_lines(text), read.reader});
  std::expected<TomlNode, TomlSyntaxError> own = parse_toml(text, source);
  if (!own && !shown_if_broken) {
    impl->sources.back().lines.clear();
    fail({"", "this file is not TOML; wanted key = value, and headers such as [cpu]",
          "what it has there is not shown, as it is included and not called *.toml"},
         {source, own.error().span});
    return {};
  }
  if (!own) {
    fail(std::move(own.error().problem), {source, own.error().span});
    return {};
  }
  const TomlNode* includes = own->member("include");
  if (!includes) return std::move(*own);
  if (includes->kind != Kind::list) {
    const bool text_given = includes->kind == Kind::text;
    fail({"include", found(*includes) + "; wanted a list of file names",
          fmt::format("write include = [{}]", text_given ? shown(includes->text) : "\"base.toml\"")},
         includes->value_place);
    return std::move(*own);
  }
  if (includes->children.size() > most_files) {
    fail({"include", fmt::format("{} files; wanted at most {}", includes->children.size(), most_files),
          "include the common parts directly"},
         includes->value_place);
    return std::move(*own);
  }
  TomlNode all;
  for (std::size_t i = 0; i < includes->children.size() && !given_up_; ++i)
    include(all, includes->children[i], fmt::format("include[{}]", i));
  merge(all, std::move(*own));
  return all;
}

// What an entry of a list names, unless it is read already or cannot be.
std::optional<fs::path> TomlLoader::find_include(const TomlNode& entry, const std::string& key) {
  const TomlSource& from = impl->sources[entry.value_place.source];
  const auto refuse = [&](std::string what, std::string help) {
    fail({key, std::move(what), std::move(help)}, entry.value_place);
    return std::nullopt;
  };
  if (entry.kind != Kind::text || entry.text.empty() || entry.text.find('\0') != entry.text.npos)
    return refuse(
        (entry.kind == Kind::text ? shown(entry.text) + " names no file" : found(entry)) + "; wanted a file name",
        "for example include = [\"base.toml\"]");
  const std::expected<fs::path, std::string> file = canonical_for(from.directory / entry.text, from.reader);
  const auto circle_start = file ? std::find(open_.begin(), open_.end(), *file) : open_.end();
  if (circle_start != open_.end()) {
    std::string circle;
    for (auto at = circle_start; at != open_.end(); ++at) circle += at->filename().string() + " -> ";
    return refuse(fmt::format("the files include each other in a circle ({}{}); wanted an end", printable(circle),
                              printable(file->filename().string())),
                  "remove this include");
  }
  if (file && seen_.contains(*file)) return std::nullopt;
  given_up_ = seen_.size() >= most_files || ++looks_ > most_looks;
  if (given_up_ || open_.size() > deepest_include)
    return refuse(fmt::format("the includes go more than {} files deep, or are more than {}; wanted fewer",
                              deepest_include, most_files),
                  "include the common parts directly");
  if (!file) return refuse(cannot_read(named(entry), file.error()), include_help);
  return *file;
}

void TomlLoader::include(TomlNode& into, const TomlNode& entry, const std::string& key) {
  const std::optional<fs::path> file = find_include(entry, key);
  if (!file) return;
  const std::expected<TomlFile, std::string> read =
      read_included_file(*file, impl->sources[entry.value_place.source].reader);
  if (!read) return fail({key, cannot_read(named(entry), read.error()), include_help}, entry.value_place);
  seen_.insert(*file);
  open_.push_back(*file);
  TomlNode included = read_source(*read, named(entry), *file, file->extension() == ".toml");
  open_.pop_back();
  std::erase_if(included.children, [](const TomlNode& child) { return child.name == "include"; });
  merge(into, std::move(included));
}

std::string TomlLoader::named(const TomlNode& entry) const {
  const TomlSource& from = impl->sources[entry.value_place.source];
  return (fs::path(from.file).parent_path() / entry.text).lexically_normal().string();
}

Problems TomlLoader::finish(const std::vector<std::string>& overrides, const std::vector<Profile>& profiles) {
  if (impl->broken.empty())
    for (const std::string& override_text : overrides) apply(override_text);
  apply_profile(profiles);
  Problems problems;
  for (const auto& [problem, place] : impl->broken) problems.push_back(problem);
  return problems;
}

std::expected<TomlDocument, TomlErrors> TomlDocument::load(const fs::path& file,
                                                           const std::vector<std::string>& overrides,
                                                           const std::vector<Profile>& profiles) {
  TomlLoader loader;
  loader.load_main(file);
  Problems problems = loader.finish(overrides, profiles);
  TomlDocument document(std::move(loader.impl));
  if (!problems.empty()) return std::unexpected(TomlErrors{std::move(problems), std::move(document)});
  return document;
}

std::expected<TomlDocument, TomlErrors> TomlDocument::parse(std::string_view text, const std::string& file_name,
                                                            const std::vector<std::string>& overrides,
                                                            const std::vector<Profile>& profiles) {
  TomlLoader loader;
  loader.parse_main(text, file_name);
  Problems problems = loader.finish(overrides, profiles);
  TomlDocument document(std::move(loader.impl));
  if (!problems.empty()) return std::unexpected(TomlErrors{std::move(problems), std::move(document)});
  return document;
}

}  // namespace launcher::text
