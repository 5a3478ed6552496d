// Files, includes and --set -> one merged document that knows where every key stands.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t deepest_include = 16;
constexpr std::size_t most_files = 256;
constexpr std::streamsize longest_file = (1 << 20) + 1;  // parse_toml() refuses more than 1 MiB
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
  for (TomlNode& child : over.children) {
    TomlNode* mine = base.member(child.name);
    if (!mine) {
      base.children.push_back(std::move(child));
    } else if (mine->kind == Kind::table && child.kind == Kind::table) {
      merge(*mine, std::move(child));
    } else if (mine->of_tables && child.of_tables) {
      for (TomlNode& item : child.children) mine->children.push_back(std::move(item));
      mine->value_place = child.value_place;
      mine->name_place = child.name_place;
    } else {
      *mine = std::move(child);
    }
  }
}

std::expected<std::string, std::string> read_text(const fs::path& file) {
  std::error_code error;
  if (fs::is_directory(file, error)) return std::unexpected("it is a directory");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return std::unexpected(std::strerror(errno ? errno : EIO));
  std::string text;
  std::array<char, 8192> chunk{};
  while (text.size() < static_cast<std::size_t>(longest_file) && stream.good()) {
    stream.read(chunk.data(),
                std::min<std::streamsize>(chunk.size(), longest_file - static_cast<std::streamsize>(text.size())));
    text.append(chunk.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) return std::unexpected(std::strerror(errno ? errno : EIO));
  return text;
}

class Loader {
 public:
  void load_main(const fs::path& file);
  void parse_main(std::string_view text, const std::string& file_name);
  // Last; all problems that were found.
  Problems finish(const std::vector<std::string>& overrides, const std::vector<Profile>& profiles);

  std::unique_ptr<TomlDocument::Impl> impl = std::make_unique<TomlDocument::Impl>();

 private:
  void fail(Problem problem, TomlPlace place) { impl->broken.emplace_back(std::move(problem), place); }
  TomlNode read_source(std::string_view text, const std::string& name, const fs::path& file);
  void apply(const std::string& override_text);
  void apply_profile(const std::vector<Profile>& profiles);  // it fills what nobody else says
  void include(TomlNode& into, const TomlNode& entry, const std::string& key);
  void set(TomlNode value, const std::vector<TomlStep>& steps, unsigned source);
  void fill(TomlNode& into, const TomlNode& defaults, const std::string& key);
  TomlNode* step_into(TomlNode& parent, const TomlStep& step, bool to_list, const TomlPlace& place,
                      const std::string& key);

  std::vector<fs::path> open_;  // canonical: the main file and the includes that lead to the current one
  std::set<fs::path> seen_;
};

void Loader::load_main(const fs::path& file) {
  std::expected<std::string, std::string> text = read_text(file);
  if (text) {
    parse_main(*text, file.string());
    return;
  }
  impl->sources.push_back({file.string(), "", absolute_path(file).parent_path(), {}});
  fail({"", fmt::format("cannot read the file: {}; wanted a TOML file", text.error()),
        "check the path, and that you may read it"},
       {0, {}});
}

void Loader::parse_main(std::string_view text, const std::string& file_name) {
  const fs::path file = absolute_path(file_name);
  std::error_code ignored;
  const fs::path canonical = fs::weakly_canonical(file, ignored);
  seen_.insert(canonical);
  open_.push_back(canonical);
  impl->root = read_source(text, file_name, file);
  open_.pop_back();
}

// The file with everything it includes.
TomlNode Loader::read_source(std::string_view text, const std::string& name, const fs::path& file) {
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  impl->sources.push_back({name, "", file.parent_path(), split_lines(text)});
  std::expected<TomlNode, TomlSyntaxError> own = parse_toml(text, source);
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
  TomlNode all;
  for (std::size_t i = 0; i < includes->children.size(); ++i)
    include(all, includes->children[i], fmt::format("include[{}]", i));
  merge(all, std::move(*own));
  return all;
}

void Loader::include(TomlNode& into, const TomlNode& entry, const std::string& key) {
  if (entry.kind != Kind::text || entry.text.empty() || entry.text.find('\0') != entry.text.npos)
    return fail(
        {key, (entry.kind == Kind::text ? shown(entry.text) + " names no file" : found(entry)) + "; wanted a file name",
         "for example include = [\"base.toml\"]"},
        entry.value_place);
  const TomlSource& from = impl->sources[entry.value_place.source];
  const std::string named = (fs::path(from.file).parent_path() / entry.text).lexically_normal().string();
  std::error_code error;
  const fs::path file = fs::canonical(from.directory / entry.text, error);
  if (std::find(open_.begin(), open_.end(), file) != open_.end()) {
    std::string circle;
    for (auto at = std::find(open_.begin(), open_.end(), file); at != open_.end(); ++at)
      circle += at->filename().string() + " -> ";
    return fail({key,
                 fmt::format("the files include each other in a circle ({}{}); wanted an end", printable(circle),
                             printable(file.filename().string())),
                 "remove this include"},
                entry.value_place);
  }
  if (seen_.contains(file)) return;
  if (open_.size() > deepest_include || seen_.size() >= most_files)
    return fail({key,
                 fmt::format("the includes go more than {} files deep, or are more than {}; wanted fewer",
                             deepest_include, most_files),
                 "include the common parts directly"},
                entry.value_place);
  const bool regular = !error && fs::is_regular_file(file, error);
  std::expected<std::string, std::string> text = std::unexpected(error ? error.message() : "it is not a regular file");
  if (regular) text = read_text(file);
  if (!text)
    return fail({key, fmt::format("cannot read {}: {}; wanted a TOML file", shown(named), text.error()),
                 "the path is relative to the directory of the file that includes it"},
                entry.value_place);
  seen_.insert(file);
  open_.push_back(file);
  TomlNode included = read_source(*text, named, file);
  open_.pop_back();
  std::erase_if(included.children, [](const TomlNode& child) { return child.name == "include"; });
  merge(into, std::move(included));
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
  impl->sources.push_back({"", origin, here.empty() ? fs::path("/") : here, {origin}});
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
    if (mine == nullptr) into.children.push_back(one);
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
  impl->sources.push_back({fmt::format("profile {}", profile->name), "", "/", split_lines(profile->text)});
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
