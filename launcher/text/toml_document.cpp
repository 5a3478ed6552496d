// Files, includes and --set -> one merged document that knows where every key stands.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <stdexcept>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_file.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t deepest_include = 16;
constexpr std::size_t most_files = 256;
constexpr std::size_t most_looks = 1024;  // at entries of include lists, of all files together
constexpr std::string_view set_option = "--set ";

using Kind = TomlNode::Kind;

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

class Loader {
 public:
  void load_main(const fs::path& file);
  void parse_main(std::string_view text, const std::string& file_name, std::optional<uid_t> reader = {});
  // Last; all problems that were found.
  Problems finish(const std::vector<std::string>& overrides, const std::vector<Profile>& profiles);

  std::unique_ptr<TomlDocument::Impl> impl = std::make_unique<TomlDocument::Impl>();

 private:
  void fail(Problem problem, TomlPlace place) { impl->broken.emplace_back(std::move(problem), place); }
  TomlNode read_source(const TomlFile& read, const std::string& name, const fs::path& file, bool shown_if_broken);
  void apply(const std::string& override_text);
  void apply_profile(const std::vector<Profile>& profiles);  // it fills what nobody else says
  void include(TomlNode& into, const TomlNode& entry, const std::string& key);
  std::optional<fs::path> find_include(const TomlNode& entry, const std::string& key);
  std::string named(const TomlNode& entry) const;  // as the user would name it
  void set(TomlNode value, const std::vector<TomlStep>& steps, unsigned source);
  void fill(TomlNode& into, const TomlNode& defaults, const std::string& key);
  TomlNode* step_into(TomlNode& parent, const TomlStep& step, bool to_list, const TomlPlace& place,
                      const std::string& key);

  std::vector<fs::path> open_;  // canonical: the main file and the includes that lead to the current one
  std::set<fs::path> seen_;
  std::size_t looks_ = 0;
  bool given_up_ = false;
};

void Loader::load_main(const fs::path& file) {
  std::expected<TomlFile, std::string> read = read_main_file(file);
  if (read) {
    parse_main(read->text, file.string(), read->reader);
    return;
  }
  impl->sources.push_back({file.string(), "", absolute_path(file).parent_path(), {}, {}});
  fail({"", fmt::format("cannot read the file: {}; wanted a TOML file", read.error()),
        "check the path, and that you may read it"},
       {0, {}});
}

void Loader::parse_main(std::string_view text, const std::string& file_name, std::optional<uid_t> reader) {
  const fs::path file = absolute_path(file_name);
  std::error_code ignored;
  const fs::path canonical = fs::weakly_canonical(file, ignored);
  seen_.insert(canonical);
  open_.push_back(canonical);
  impl->root = read_source({std::string(text), reader}, file_name, file, true);
  open_.pop_back();
}

// The file with everything it includes.
TomlNode Loader::read_source(const TomlFile& read, const std::string& name, const fs::path& file,
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
std::optional<fs::path> Loader::find_include(const TomlNode& entry, const std::string& key) {
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

void Loader::include(TomlNode& into, const TomlNode& entry, const std::string& key) {
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

std::string Loader::named(const TomlNode& entry) const {
  const TomlSource& from = impl->sources[entry.value_place.source];
  return (fs::path(from.file).parent_path() / entry.text).lexically_normal().string();
}

void move_to(TomlNode& node, unsigned source, unsigned shift) {
  for (TomlPlace* place : {&node.value_place, &node.name_place}) {
    place->source = source;
    place->span.column += shift;
    place->span.end_column += shift;
  }
  for (TomlNode& child : node.children) move_to(child, source, shift);
}

// The value after the '=' of a --set, at `column` of its origin: TOML, or else a bare string.
TomlNode override_value(std::string_view text, unsigned source, unsigned column) {
  constexpr std::string_view before = "v = ";
  const unsigned length = static_cast<unsigned>(count_code_points(text));
  std::expected<TomlNode, TomlSyntaxError> parsed = parse_toml(fmt::format("{}{}", before, text), source);
  if (parsed && text.find('\n') == text.npos && parsed->children.size() == 1) {
    TomlNode value = std::move(parsed->children[0]);
    const bool whole = value.value_place.span.end_column == before.size() + length + 1;
    move_to(value, source, column - static_cast<unsigned>(before.size()) - 1);
    if (whole && value.kind != Kind::date) return value;
  }
  TomlNode bare;
  bare.kind = Kind::text;
  bare.text = text;
  bare.value_place = {source, {1, column, 1, column + length}};
  return bare;
}

void Loader::apply(const std::string& override_text) {
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  const std::string origin = std::string(set_option) + override_text;
  std::error_code ignored;
  fs::path here = fs::current_path(ignored);
  impl->sources.push_back({"", origin, here.empty() ? fs::path("/") : here, {origin}, {}});
  const unsigned start = static_cast<unsigned>(set_option.size()) + 1;
  const auto span = [&](std::size_t from, std::size_t to) {
    const auto column = [&](std::size_t at) {
      return start + static_cast<unsigned>(count_code_points(std::string_view(override_text).substr(0, at)));
    };
    return TomlPlace{source, {1, column(from), 1, column(to)}};
  };
  const std::size_t equals = override_text.find('=');
  if (equals == override_text.npos)
    return fail(
        {"", fmt::format("{} has no '='; wanted key=value", shown(override_text)), "for example --set cpu.count=4"},
        span(0, override_text.size()));
  const std::string_view path = std::string_view(override_text).substr(0, equals);
  const std::expected<std::vector<TomlStep>, std::string> steps = split_key_path(path);
  if (!steps)
    return fail({"", fmt::format("{} is no key: {}", shown(path), steps.error()), "for example --set cpu.count=4"},
                span(0, equals));
  if (steps->front().name == "include")
    return fail({"include", "given by --set; wanted in a file: when a --set is looked at, all files are merged",
                 "put it into the spec"},
                span(0, equals));
  std::vector<TomlStep> placed = *steps;
  for (TomlStep& step : placed) step.column += start - 1, step.end_column += start - 1;
  set(override_value(std::string_view(override_text).substr(equals + 1), source,
                     span(equals + 1, equals + 1).span.column),
      placed, source);
}

// The child that a --set goes through, made where there is none; nullptr, with a problem, where there cannot be one.
TomlNode* Loader::step_into(TomlNode& parent, const TomlStep& step, bool to_list, const TomlPlace& place,
                            const std::string& key) {
  const bool of_list = parent.kind == Kind::list;
  if (of_list ? !step.index : parent.kind != Kind::table) {
    if (of_list)
      fail({key, fmt::format("a list has no \"{}\"; wanted an index first", step.name),
            fmt::format("name one: {}.0.{}=...", key, step.name)},
           place);
    else
      fail(
          {key, found(parent) + ", which has no keys; wanted a table", fmt::format("to replace it: --set {}=...", key)},
          place);
    return nullptr;
  }
  if (of_list && *step.index > parent.children.size()) {
    fail({fmt::format("{}[{}]", key, *step.index),
          fmt::format("there {} {} of these; wanted an index from 0 to {}", parent.children.size() == 1 ? "is" : "are",
                      parent.children.size(), parent.children.size()),
          fmt::format("--set {}.{}... adds one", key, parent.children.size())},
         place);
    return nullptr;
  }
  TomlNode* child = of_list ? (*step.index < parent.children.size() ? &parent.children[*step.index] : nullptr)
                            : parent.member(step.name);
  if (child) return child;
  TomlNode made;
  made.kind = to_list ? Kind::list : Kind::table;
  if (!of_list) made.name = step.name;
  made.of_tables = to_list;
  made.value_place = made.name_place = place;
  if (!of_list) return &parent.add_member(std::move(made));
  parent.children.push_back(std::move(made));
  return &parent.children.back();
}

void Loader::set(TomlNode value, const std::vector<TomlStep>& steps, unsigned source) {
  TomlNode* at = &impl->root;
  std::string key;
  TomlPlace place;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const TomlStep& step = steps[i];
    place = {source, {1, step.column, 1, step.end_column}};
    const bool to_list = i + 1 < steps.size() && steps[i + 1].index.has_value();
    TomlNode* next = step_into(*at, step, to_list, place, key);
    if (!next) return;
    key += at->kind == Kind::list ? fmt::format("[{}]", step.name) : (key.empty() ? "" : ".") + step.name;
    at = next;
  }
  value.name = at->name;
  value.name_place = place;
  *at = std::move(value);
}

// Takes from `defaults` what `into` has not.
void Loader::fill(TomlNode& into, const TomlNode& defaults, const std::string& key) {
  for (const TomlNode& one : defaults.children) {
    const std::string full = key.empty() ? one.name : key + "." + one.name;
    TomlNode* mine = into.member(one.name);
    if (mine != nullptr && mine->kind == Kind::table && one.kind == Kind::table) {
      fill(*mine, one, full);
      continue;
    }
    if (mine == nullptr) into.add_member(one);
    if (one.kind != Kind::table) impl->from_profile.push_back({full, mine == nullptr});
    if (mine == nullptr && one.kind == Kind::table)
      for (const TomlNode& inner : one.children) impl->from_profile.push_back({full + "." + inner.name, true});
  }
}

void Loader::apply_profile(const std::vector<Profile>& profiles) {
  const TomlNode* named = impl->root.member("profile");
  if (named == nullptr || named->kind != Kind::text) return;  // a wrong kind is the reader's to tell
  const auto profile = std::ranges::find(profiles, named->text, &Profile::name);
  if (profile == profiles.end()) return;  // likewise
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  impl->sources.push_back({fmt::format("profile {}", profile->name), "", "/", split_lines(profile->text), {}});
  const std::expected<TomlNode, TomlSyntaxError> parsed = parse_toml(profile->text, source);
  if (!parsed) throw std::logic_error(fmt::format("profile {} is no TOML", profile->name));
  TomlNode defaults = *parsed;
  if (const TomlNode* each = defaults.member("each")) {
    for (const TomlNode& kind : each->children) {
      TomlNode* items = impl->root.member(kind.name);
      if (items == nullptr || !items->of_tables) continue;
      for (std::size_t i = 0; i < items->children.size(); ++i)
        fill(items->children[i], kind, fmt::format("{}[{}]", kind.name, i));
    }
  }
  std::erase_if(defaults.children, [](const TomlNode& child) { return child.name == "each"; });
  fill(impl->root, defaults, "");
}

Problems Loader::finish(const std::vector<std::string>& overrides, const std::vector<Profile>& profiles) {
  if (impl->broken.empty())
    for (const std::string& override_text : overrides) apply(override_text);
  apply_profile(profiles);
  Problems problems;
  for (const auto& [problem, place] : impl->broken) problems.push_back(problem);
  return problems;
}

}  // namespace

std::expected<TomlDocument, TomlErrors> TomlDocument::load(const fs::path& file,
                                                           const std::vector<std::string>& overrides,
                                                           const std::vector<Profile>& profiles) {
  Loader loader;
  loader.load_main(file);
  Problems problems = loader.finish(overrides, profiles);
  TomlDocument document(std::move(loader.impl));
  if (!problems.empty()) return std::unexpected(TomlErrors{std::move(problems), std::move(document)});
  return document;
}

std::expected<TomlDocument, TomlErrors> TomlDocument::parse(std::string_view text, const std::string& file_name,
                                                            const std::vector<std::string>& overrides,
                                                            const std::vector<Profile>& profiles) {
  Loader loader;
  loader.parse_main(text, file_name);
  Problems problems = loader.finish(overrides, profiles);
  TomlDocument document(std::move(loader.impl));
  if (!problems.empty()) return std::unexpected(TomlErrors{std::move(problems), std::move(document)});
  return document;
}

std::string TomlDocument::profile_story() const {
  const TomlNode* named = impl_->root.member("profile");
  if (named == nullptr || impl_->from_profile.empty()) return "";
  std::vector<std::string> set, kept;
  for (const auto& [key, used] : impl_->from_profile) (used ? set : kept).push_back(key);
  std::string story = fmt::format("profile \"{}\" sets {}", named->text, fmt::join(set, ", "));
  if (!kept.empty()) story += fmt::format("; the spec's own value is kept for {}", fmt::join(kept, ", "));
  return story;
}

}  // namespace launcher::inline text
