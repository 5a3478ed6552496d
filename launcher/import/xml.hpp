// An XML text as a tree of plain values. The rule: xml.cpp is the only file with pugixml, and what it hands on is bounded in size, depth
// and number; a document type, and so every entity of one's own, is refused, and nothing is ever fetched.
#pragma once

#include <cstddef>
#include <deque>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace launcher::inline import {

struct XmlElement {
  std::string name;   // "disk", with its prefix: "qemu:arg"
  std::string path;   // "devices/disk", below the root; the root's own name for the root
  std::string shown;  // "devices/disk[2]": numbered where there are several, from 1
  std::vector<std::pair<std::string, std::string>> attributes;
  std::string text;   // without the white space around it
  unsigned line = 0;  // from 1
  std::deque<XmlElement> children;

  // "driver/@cache", "source", "@type": the first of that name below; nullptr: none.
  const XmlElement* find(std::string_view way) const;
  const std::string* attribute(std::string_view key) const;
  std::vector<const XmlElement*> all(std::string_view child) const;

  // For writing: the new child, or this one.
  XmlElement& add(std::string child, std::string content = {});
  XmlElement& set(std::string key, std::string value);
};

constexpr std::size_t most_xml = 4 << 20, deepest_xml = 48, most_elements = 100'000;

std::expected<XmlElement, std::string> parse_xml(std::string_view text);
std::string write_xml(const XmlElement& root);

}  // namespace launcher::import
