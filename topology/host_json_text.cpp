// HostTopology -> JSON, version 1, compact where machines are large; the shape is told in host_json.cpp. The rule: what
// the machine does not have (kinds, limits) is left out, and reading it back gives the same HostTopology.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <map>
#include <tuple>

#include "topology/host_topology.hpp"

namespace topology {

namespace json = boost::json;

namespace {

std::string in_quotes(std::string_view text) { return json::serialize(json::string(text)); }

// PUs that differ in nothing but their CPU number are one row.
std::string cores_text(const HostTopology& host) {
  using Row = std::tuple<unsigned, unsigned, unsigned, unsigned, unsigned>;
  std::map<Row, CpuSet> rows;
  for (const Pu& p : host.pus) rows[{p.core, p.l3, p.package, p.node, p.kind}].add(p.cpu);
  std::string text;
  for (const auto& [row, cpus] : rows) {
    const auto& [core, l3, package, node, kind] = row;
    text += fmt::format(
        "{}\n    {{\"core\": {}, \"cpus\": \"{}\", \"l3\": {}, \"package\": {}, \"node\": {}, \"kind\": {}}}",
        text.empty() ? "" : ",", core, cpus.to_string(), l3, package, node, kind);
  }
  return text;
}

std::string nodes_text(const HostTopology& host) {
  std::string text;
  for (const Node& n : host.nodes) {
    std::string pools;
    for (const HugePagePool& p : n.pools)
      pools += fmt::format("{}{{\"page\": {}, \"total\": {}, \"free\": {}}}", pools.empty() ? "" : ", ", p.page.count,
                           p.total, p.free);
    text += fmt::format(
        "{}\n    {{\"id\": {}, \"memory_total\": {}, \"memory_free\": {}, \"distances\": [{}], \"pools\": [{}]}}",
        text.empty() ? "" : ",", n.id, n.memory_total.count, n.memory_free.count, fmt::join(n.distances, ", "), pools);
  }
  return text;
}

std::string devices_text(const HostTopology& host) {
  std::string text;
  for (const PciDevice& d : host.devices) {
    std::string names;
    for (const auto& name : d.os_devices) names += (names.empty() ? "" : ", ") + in_quotes(name);
    text += fmt::format("{}\n    {{\"address\": {}, \"name\": {}, \"class\": {}, \"node\": {}, \"os_devices\": [{}]}}",
                        text.empty() ? "" : ",", in_quotes(d.address), in_quotes(d.name), in_quotes(d.class_id), d.node,
                        names);
  }
  return text;
}

std::string words_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + in_quotes(word);
  return text;
}

// What most machines have not.
std::string extras_text(const HostTopology& host) {
  std::string text, caches;
  if (!host.own_id.empty()) text += fmt::format(",\n  \"id\": {}", in_quotes(host.own_id));
  if (!host.kind_names.empty()) text += fmt::format(",\n  \"kinds\": [{}]", words_text(host.kind_names));
  for (const Cache& c : host.caches)
    caches += fmt::format("{}{{\"l3\": {}, \"size\": {}}}", caches.empty() ? "" : ", ", c.l3, c.size.count);
  if (!caches.empty()) text += fmt::format(",\n  \"caches\": [{}]", caches);
  if (host.allowed == Allowed{}) return text;
  text += fmt::format(",\n  \"allowed\": {{\"by\": [{}]", words_text(host.allowed.by));
  if (host.allowed.cpus) text += fmt::format(", \"cpus\": \"{}\"", host.allowed.cpus->to_string());
  if (host.allowed.nodes) text += fmt::format(", \"nodes\": \"{}\"", host.allowed.nodes->to_string());
  if (host.allowed.memory) text += fmt::format(", \"memory\": {}", host.allowed.memory->count);
  if (host.allowed.huge_pages_count) text += ", \"huge_pages_count\": true";
  std::string limits;
  for (const PageLimit& one : host.allowed.pages)
    limits +=
        fmt::format("{}{{\"page\": {}, \"left\": {}}}", limits.empty() ? "" : ", ", one.page.count, one.left.count);
  if (!limits.empty()) text += fmt::format(", \"pages\": [{}]", limits);
  return text + "}";
}

}  // namespace

std::string to_json(const HostTopology& host) {
  return fmt::format(
      "{{\"version\": 1,\n  \"cpu\": {{\"vendor\": {}, \"model\": {}}},\n  \"base_page\": {},\n  \"isolated\": "
      "\"{}\",\n"
      "  \"cores\": [{}],\n  \"nodes\": [{}],\n  \"devices\": [{}]{}}}",
      in_quotes(host.cpu_vendor), in_quotes(host.cpu_model), host.base_page.count, host.isolated.to_string(),
      cores_text(host), nodes_text(host), devices_text(host), extras_text(host));
}

}  // namespace topology
