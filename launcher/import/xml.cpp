// See xml.hpp.
#include "launcher/import/xml.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <pugixml.hpp>
#include <sstream>

#include "launcher/text/printable.hpp"

namespace launcher::inline import {

namespace {

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == text.npos ? std::string() : std::string(text.substr(begin, end - begin + 1));
}

// Line of a byte, asked for in rising order.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {}
  unsigned at(std::ptrdiff_t offset) {
    const std::size_t end = std::min(static_cast<std::size_t>(std::max<std::ptrdiff_t>(offset, 0)), text_.size());
    if (end > seen_) {
      line_ += static_cast<unsigned>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(seen_),
                                                text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
      seen_ = end;
    }
    return line_;
  }

 private:
  std::string_view text_;
  std::size_t seen_ = 0;
  unsigned line_ = 1;
};

struct Copy {
  Lines lines;
  std::size_t elements = 0;
  std::string problem = {};

  // What is QEMU's own gets the prefix that libvirt writes, whatever the domain calls it. space: that of names without a prefix.
  static std::string name_of(const pugi::xml_node& node, std::string_view& space) {
    constexpr std::string_view qemu = "http://libvirt.org/schemas/domain/qemu/1.0";
    const std::string_view name = node.name();
    const std::size_t colon = name.find(':');
    if (const pugi::xml_attribute own = node.attribute("xmlns")) space = own.value();
    if (colon == name.npos) return space == qemu ? fmt::format("qemu:{}", name) : std::string(name);
    const std::string declared = fmt::format("xmlns:{}", name.substr(0, colon));
    for (pugi::xml_node up = node; up; up = up.parent())
      if (const pugi::xml_attribute found = up.attribute(declared.c_str()))
        return found.value() == qemu ? fmt::format("qemu:{}", name.substr(colon + 1)) : std::string(name);
    return std::string(name);
  }

  // depth is bounded, so this recursion is
  void element(const pugi::xml_node& from, XmlElement& to, std::size_t depth, std::string_view space = {}) {
    if (depth > deepest_xml || ++elements > most_elements) {
      problem = depth > deepest_xml ? fmt::format("elements within each other {} deep", depth)
                                    : fmt::format("more than {} elements", most_elements);
      return;
    }
    to.name = name_of(from, space);
    to.line = lines.at(from.offset_debug());
    for (const pugi::xml_attribute& one : from.attributes()) to.attributes.emplace_back(one.name(), one.value());
    std::map<std::string, unsigned> of_name, count;
    for (const pugi::xml_node& child : from.children())
      if (std::string_view inner = space; child.type() == pugi::node_element) ++of_name[name_of(child, inner)];
    for (const pugi::xml_node& child : from.children()) {
      if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) to.text += child.value();
      if (child.type() != pugi::node_element) continue;
      XmlElement& next = to.children.emplace_back();
      std::string_view inner = space;
      const std::string name = name_of(child, inner);
      const std::string number = of_name[name] > 1 ? fmt::format("[{}]", ++count[name]) : std::string();
      next.path = depth == 0 ? name : to.path + "/" + name;
      next.shown = (depth == 0 ? name : to.shown + "/" + name) + number;
      element(child, next, depth + 1, space);
      if (!problem.empty()) return;
    }
    to.text = trimmed(to.text);
  }
};

}  // namespace

const std::string* XmlElement::attribute(std::string_view key) const {
  const auto found = std::ranges::find(attributes, key, [](const auto& one) -> std::string_view { return one.first; });
  return found == attributes.end() ? nullptr : &found->second;
}

const XmlElement* XmlElement::find(std::string_view way) const {
  if (way.empty() || way.starts_with('@')) return this;
  const std::size_t slash = std::min(way.find('/'), way.size());
  const std::string_view rest = slash < way.size() ? way.substr(slash + 1) : std::string_view();
  for (const XmlElement& child : children)
    if (child.name == way.substr(0, slash)) return child.find(rest);
  return nullptr;
}

std::vector<const XmlElement*> XmlElement::all(std::string_view child) const {
  std::vector<const XmlElement*> found;
  for (const XmlElement& one : children)
    if (one.name == child) found.push_back(&one);
  return found;
}

std::expected<XmlElement, std::string> parse_xml(std::string_view text) {
  if (text.size() > most_xml) return std::unexpected(fmt::format("{} bytes; wanted at most {}", text.size(), most_xml));
  if (text.find('\0') != text.npos) return std::unexpected("there is a NUL byte in it; wanted XML in UTF-8");
  if (first_broken_utf8(text) != text.npos) return std::unexpected("it is not UTF-8 throughout");
  pugi::xml_document document;
  const pugi::xml_parse_result result =
      document.load_buffer(text.data(), text.size(), pugi::parse_default | pugi::parse_doctype, pugi::encoding_utf8);
  if (!result) return std::unexpected(fmt::format("line {}: {}", Lines(text).at(result.offset), result.description()));
  XmlElement root;
  Copy copy{Lines(text)};
  unsigned roots = 0;
  for (const pugi::xml_node& node : document.children()) {
    if (node.type() == pugi::node_doctype)
      return std::unexpected("it has a document type (<!DOCTYPE ...>), which could define entities; wanted none");
    if (node.type() != pugi::node_element) continue;
    if (++roots > 1) return std::unexpected("there are several elements at the top; wanted one");
    root.path = root.shown = node.name();
    copy.element(node, root, 0);
    if (!copy.problem.empty()) return std::unexpected(copy.problem);
  }
  if (roots == 0) return std::unexpected("there is no element in it");
  return root;
}

XmlElement& XmlElement::add(std::string child, std::string content) {
  XmlElement& made = children.emplace_back();
  made.name = std::move(child);
  made.text = std::move(content);
  return made;
}

XmlElement& XmlElement::set(std::string key, std::string value) {
  attributes.emplace_back(std::move(key), std::move(value));
  return *this;
}

namespace {

void write_below(pugi::xml_node parent, const XmlElement& element) {
  pugi::xml_node node = parent.append_child(element.name.c_str());
  for (const auto& [key, value] : element.attributes) node.append_attribute(key.c_str()) = value.c_str();
  if (!element.text.empty()) node.append_child(pugi::node_pcdata).set_value(element.text.c_str());
  for (const XmlElement& child : element.children) write_below(node, child);
}

}  // namespace

std::string write_xml(const XmlElement& root) {
  pugi::xml_document document;
  write_below(document, root);
  std::ostringstream out;
  document.save(out, "  ", pugi::format_default | pugi::format_no_declaration);
  return out.str();
}

}  // namespace launcher::import
