// What --host means: a description, an hwloc XML export or our own JSON. The rule: a file of others' cannot hurt vmrun; XML is
// parsed in a child, since a broken attribute can end libhwloc by a signal.
#include <fmt/format.h>

#include "topology/in_child.hpp"
#include "topology/read_host.hpp"
#include "topology/read_host_now.hpp"
#include "topology/text_file.hpp"

namespace topology {

namespace {

// "3.0" of <topology version="3.0">; "" where there is none.
std::string_view xml_version(std::string_view text) {
  const auto element = text.find("<topology");
  if (element == text.npos) return "";
  const std::string_view tag = text.substr(element, text.find('>', element) - element);
  constexpr std::string_view key = " version=\"";
  const auto at = tag.find(key);
  if (at == tag.npos) return "";
  const std::string_view value = tag.substr(at + key.size());
  return value.substr(0, std::min(value.find('"'), std::size_t{12}));
}

std::expected<HostTopology, std::string> read_xml_text(std::string_view name, const std::string& text) {
  const std::string version(xml_version(text));
  if (!version.empty() && version[0] >= '3' && version[0] <= '9')
    return std::unexpected(
        fmt::format("{} is hwloc XML of version {}, this vmrun reads 2.x: export it again with `lstopo "
                    "--export-xml-flags v2 FILE.xml`",
                    name, version));
  const auto json = in_child([&text]() -> std::expected<std::string, std::string> {
    const auto host = load_hwloc_xml(text);
    if (!host) return std::unexpected(host.error());
    return to_json(*host);
  });
  if (!json && json.error().starts_with("ended by signal"))
    return std::unexpected(fmt::format("{} is broken: libhwloc {} over it", name, json.error()));
  if (!json) return std::unexpected(fmt::format("{} {}", name, json.error()));
  auto host = host_from_json(*json);
  if (!host) return std::unexpected(fmt::format("{}: {}", name, host.error()));
  return host;
}

}  // namespace

std::expected<HostTopology, std::string> read_host_argument(std::string_view argument) {
  constexpr std::string_view synthetic = "synthetic:";
  if (argument.starts_with(synthetic)) return read_synthetic(argument.substr(synthetic.size()));
  const auto read = read_text_file(argument);
  if (!read) return std::unexpected(fmt::format("cannot read {}: {}", argument, read.error()));
  const std::string& text = *read;
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != text.npos && text[first] == '<') return read_xml_text(argument, text);
  auto host = host_from_json(text);
  if (!host) return std::unexpected(fmt::format("{}: {}", argument, host.error()));
  return host;
}

}  // namespace topology
