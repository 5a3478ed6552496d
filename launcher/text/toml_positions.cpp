// Where things stand: key path -> node -> file, line and column.
#include <algorithm>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

const TomlNode* TomlDocument::Impl::find(std::string_view key) const {
  if (key.empty()) return &root;
  const std::expected<std::vector<TomlStep>, std::string> steps = split_key_path(key);
  const TomlNode* at = &root;
  for (std::size_t i = 0; steps && at && i < steps->size(); ++i) {
    const TomlStep& step = (*steps)[i];
    if (at->kind == Kind::list)
      at = step.index && *step.index < at->children.size() ? &at->children[*step.index] : nullptr;
    else
      at = at->member(step.name);
  }
  return steps ? at : nullptr;
}

TomlDocument::TomlDocument(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TomlDocument::TomlDocument(TomlDocument&&) noexcept = default;
TomlDocument& TomlDocument::operator=(TomlDocument&&) noexcept = default;
TomlDocument::~TomlDocument() = default;

namespace {

Position to_position(const TomlDocument::Impl& impl, const TomlPlace& place) {
  const TomlSource& source = impl.sources[place.source];
  Position position{source.file,           place.span.line, place.span.column,
                    place.span.end_column, source.origin,   place.source};
  if (!source.origin.empty()) position.line = 0;
  if (place.span.end_line != place.span.line &&
      place.span.line > 0) {  // what goes on over several lines is marked on its first
    std::string_view line =
        source.lines.size() >= place.span.line ? std::string_view(source.lines[place.span.line - 1]) : "";
    while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
    position.end_column = 1 + static_cast<unsigned>(count_code_points(line));
  }
  position.end_column = std::max(position.end_column, position.column + 1);
  return position;
}

// The key's node or the nearest parent that exists; nullptr for the document itself.
const TomlNode* nearest(const TomlDocument::Impl& impl, std::string_view key) {
  for (std::string_view path = key; !path.empty();
       path = path.substr(0, path.find_last_of(".[") == path.npos ? 0 : path.find_last_of(".[")))
    if (const TomlNode* node = impl.find(path)) return node;
  return nullptr;
}

}  // namespace

Position TomlDocument::position_of(std::string_view key) const {
  const TomlNode* node = nearest(*impl_, key);
  if (node) return to_position(*impl_, node->value_place);
  return {file(), 0, 0, 0, "", 0};
}

Position TomlDocument::position_of(const Problem& problem) const {
  for (const auto& [broken, place] : impl_->broken)
    if (broken == problem) return to_position(*impl_, place);
  const TomlNode* node = problem.on_name ? impl_->find(problem.key) : nullptr;
  return node ? to_position(*impl_, node->name_place) : position_of(std::string_view(problem.key));
}

std::optional<std::string> TomlDocument::source_line(const Position& position) const {
  if (position.rank >= impl_->sources.size()) return {};
  const TomlSource& source = impl_->sources[position.rank];
  if (!position.origin.empty()) return source.origin;
  if (position.line == 0 || position.line > source.lines.size()) return {};
  return source.lines[position.line - 1];
}

std::filesystem::path TomlDocument::directory_of(std::string_view key) const {
  const TomlNode* node = nearest(*impl_, key);
  return impl_->sources[node ? node->value_place.source : 0].directory;
}

std::string TomlDocument::file() const { return impl_->sources.front().file; }

}  // namespace launcher::text
