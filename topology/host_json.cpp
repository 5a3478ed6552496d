// JSON -> HostTopology, version 1 (written by host_json_text.cpp). The rule: what comes in may be hostile; every number has a bound, every reference
// is checked, and nothing throws.
//
//   {"version": 1, "cpu": {"vendor": "GenuineIntel", "model": "..."}, "base_page": 4096, "isolated": "4-7",
//    "cores": [{"core": 0, "cpus": "0,4", "l3": 0, "package": 0, "node": 0, "kind": 0}, ...],
//    "nodes": [{"id": 0, "memory_total": N, "memory_free": N, "distances": [10, 20],
//               "pools": [{"page": 2097152, "total": 0, "free": 0}]}, ...],
//    "devices": [{"address": "0000:31:00.0", "name": "", "class": "0200", "node": 0, "os_devices": ["eth0"]}, ...],
//    and where there are any: "id": "6f9619ff-...", "kinds": ["E-cores", "P-cores"], "caches": [{"l3": 0, "size": N}],
//    "allowed": {"by": ["CPUs 0-3: ..."], "cpus": "0-3", "nodes": "0", "memory": N,
//                "pages": [{"page": 2097152, "left": N}]}}
//
// Sizes are bytes. Unknown members are passed over, so that a newer writer can be read.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <limits>

#include "topology/host_topology.hpp"

namespace topology {

namespace json = boost::json;

namespace {

constexpr std::uint64_t largest_number = 1u << 20;                // cores, caches, packages, nodes, kinds, distances
constexpr std::uint64_t largest_memory = std::uint64_t{1} << 56;  // bytes of a node: 64 PiB
constexpr std::size_t most_nodes = 1024;                          // the kernel's MAX_NUMNODES
constexpr std::size_t most_devices = 65536;

// Reads members of one JSON object; remembers the first refusal and goes on with harmless values after it.
class Reader {
 public:
  Reader(const json::value& value, std::string where, std::string& refusal)
      : object_(value.if_object()), where_(std::move(where)), refusal_(refusal) {
    if (object_ == nullptr) refuse("", "is not an object");
  }

  std::uint64_t number(std::string_view key, std::uint64_t most, std::optional<std::uint64_t> absent = {}) {
    const json::value* value = member(key);
    if (value == nullptr) return absent ? *absent : (refuse(key, "is missing"), 0);
    return bounded(*value, key, most);
  }

  std::string text(std::string_view key) {
    const json::value* value = member(key);
    if (value == nullptr) return {};
    if (const auto* string = value->if_string()) return std::string(*string);
    refuse(key, "is not a string");
    return {};
  }

  CpuSet cpus(std::string_view key) {
    auto set = CpuSet::parse(text(key));
    if (set) return *std::move(set);
    refuse(key, set.error());
    return {};
  }

  const json::array& array(std::string_view key) {
    static const json::array none;
    const json::value* value = member(key);
    if (value == nullptr) return none;
    if (const auto* found = value->if_array()) return *found;
    refuse(key, "is not an array");
    return none;
  }

  const json::value* member(std::string_view key) const {
    return object_ != nullptr ? object_->if_contains(key) : nullptr;
  }

  std::uint64_t bounded(const json::value& value, std::string_view key, std::uint64_t most) {
    std::uint64_t got = 0;
    if (const auto* u = value.if_uint64())
      got = *u;
    else if (const auto* i = value.if_int64(); i != nullptr && *i >= 0)
      got = static_cast<std::uint64_t>(*i);
    else
      return refuse(key, "is not a whole number of zero or more"), 0;
    if (got > most) return refuse(key, fmt::format("is {}, more than {}", got, most)), 0;
    return got;
  }

  void refuse(std::string_view key, std::string_view why) {
    if (refusal_.empty())
      refusal_ = fmt::format("{}{}{} {}", where_, key.empty() || where_.empty() ? "" : ".", key, why);
  }

 private:
  const json::object* object_;
  std::string where_;
  std::string& refusal_;
};

std::vector<Pu> read_pus(Reader& host, std::string& refusal) {
  std::vector<Pu> pus;
  CpuSet seen;
  std::size_t index = 0;
  for (const json::value& value : host.array("cores")) {
    Reader row(value, fmt::format("cores[{}]", index++), refusal);
    const auto small = [&row](std::string_view key, std::optional<std::uint64_t> absent = {}) {
      return static_cast<unsigned>(row.number(key, largest_number, absent));
    };
    const CpuSet cpus = row.cpus("cpus");
    Pu pu{.core = small("core"),
          .l3 = small("l3"),
          .package = small("package", 0),
          .node = small("node", 0),
          .kind = small("kind", 0)};
    if (cpus.empty()) row.refuse("cpus", "is empty");
    if (cpus.intersects(seen)) row.refuse("cpus", fmt::format("names CPU {} a second time", (cpus & seen).first()));
    if (!refusal.empty()) return {};
    seen |= cpus;
    for (const unsigned cpu : cpus.to_vector()) {
      pu.cpu = cpu;
      pus.push_back(pu);
    }
  }
  std::sort(pus.begin(), pus.end(), [](const Pu& a, const Pu& b) { return a.cpu < b.cpu; });
  return pus;
}

Bytes read_page(Reader& from, std::string_view key, std::optional<std::uint64_t> absent) {
  const Bytes page{from.number(key, gib(1024).count, absent)};
  if (!std::has_single_bit(page.count)) from.refuse(key, "is not a power of two");
  return page;
}

Node read_node(const json::value& value, std::size_t index, std::string& refusal) {
  Reader row(value, fmt::format("nodes[{}]", index), refusal);
  Node node{.id = static_cast<unsigned>(row.number("id", largest_number)),
            .memory_total = Bytes{row.number("memory_total", largest_memory, 0)},
            .memory_free = Bytes{row.number("memory_free", largest_memory, 0)},
            .pools = {},
            .distances = {}};
  for (const json::value& distance : row.array("distances"))
    node.distances.push_back(static_cast<unsigned>(row.bounded(distance, "distances", largest_number)));
  std::size_t number = 0;
  for (const json::value& entry : row.array("pools")) {
    Reader pool(entry, fmt::format("nodes[{}].pools[{}]", index, number++), refusal);
    const Bytes page = read_page(pool, "page", std::nullopt);
    const std::uint64_t most = page.count != 0 ? largest_memory / page.count : 0;
    node.pools.push_back({page, pool.number("total", most), pool.number("free", most)});
    if (node.pools.size() > 1 && !(node.pools[node.pools.size() - 2].page < page))
      pool.refuse("page", "is not larger than that of the pool before it");
    if (!refusal.empty()) break;
  }
  return node;
}

std::vector<Node> read_nodes(Reader& host, std::string& refusal) {
  std::vector<Node> nodes;
  for (const json::value& value : host.array("nodes")) {
    nodes.push_back(read_node(value, nodes.size(), refusal));
    if (nodes.size() > most_nodes) host.refuse("nodes", fmt::format("has more than {} entries", most_nodes));
    if (!refusal.empty()) return {};
    if (nodes.size() > 1 && nodes[nodes.size() - 2].id >= nodes.back().id) {
      host.refuse("nodes", "is not in ascending order of id");
      return {};
    }
  }
  for (const Node& node : nodes)
    if (!node.distances.empty() && node.distances.size() != nodes.size())
      host.refuse("nodes",
                  fmt::format("gives node {} {} distances for {} nodes", node.id, node.distances.size(), nodes.size()));
  return nodes;
}

std::vector<PciDevice> read_devices(Reader& host, std::string& refusal) {
  std::vector<PciDevice> devices;
  for (const json::value& value : host.array("devices")) {
    Reader row(value, fmt::format("devices[{}]", devices.size()), refusal);
    PciDevice device{.address = row.text("address"),
                     .name = row.text("name"),
                     .class_id = row.text("class"),
                     .node = -1,
                     .os_devices = {}};
    const json::value* node = row.member("node");
    const bool unknown = node == nullptr || (node->if_int64() != nullptr && *node->if_int64() == -1);
    device.node = unknown ? -1 : static_cast<int>(row.number("node", largest_number));
    for (const json::value& name : row.array("os_devices")) {
      if (const auto* string = name.if_string())
        device.os_devices.emplace_back(*string);
      else
        row.refuse("os_devices", "holds something that is not a string");
    }
    devices.push_back(std::move(device));
    if (devices.size() > most_devices) host.refuse("devices", "has too many entries");
    if (!refusal.empty()) return {};
  }
  return devices;
}

std::vector<std::string> read_words(Reader& from, std::string_view key) {
  std::vector<std::string> words;
  for (const json::value& value : from.array(key)) {
    if (const auto* string = value.if_string())
      words.emplace_back(*string);
    else
      from.refuse(key, "holds something that is not a string");
  }
  return words;
}

std::vector<Cache> read_caches(Reader& host, std::string& refusal) {
  std::vector<Cache> caches;
  for (const json::value& value : host.array("caches")) {
    Reader row(value, fmt::format("caches[{}]", caches.size()), refusal);
    caches.push_back({.l3 = static_cast<unsigned>(row.number("l3", largest_number)),
                      .size = Bytes{row.number("size", largest_memory)}});
    if (!refusal.empty()) return {};
  }
  return caches;
}

Allowed read_allowed_part(Reader& host, std::string& refusal) {
  Allowed allowed;
  const json::value* member = host.member("allowed");
  if (member == nullptr) return allowed;
  Reader row(*member, "allowed", refusal);
  if (row.member("cpus") != nullptr) allowed.cpus = row.cpus("cpus");
  if (row.member("nodes") != nullptr) allowed.nodes = row.cpus("nodes");
  if (row.member("memory") != nullptr) allowed.memory = Bytes{row.number("memory", largest_memory)};
  const json::value* counted = row.member("huge_pages_count");
  allowed.huge_pages_count = counted != nullptr && counted->is_bool() && counted->get_bool();
  for (const json::value& value : row.array("pages")) {
    Reader limit(value, fmt::format("allowed.pages[{}]", allowed.pages.size()), refusal);
    allowed.pages.push_back({Bytes{limit.number("page", largest_memory)}, Bytes{limit.number("left", largest_memory)}});
    if (!refusal.empty()) return {};
  }
  allowed.by = read_words(row, "by");
  return allowed;
}

}  // namespace

std::expected<HostTopology, std::string> host_from_json(std::string_view text) {
  json::error_code error;
  const json::value root = json::parse(text, error);
  if (error) return std::unexpected(fmt::format("not JSON: {}", error.message()));
  const json::value* inner = root.is_object() ? root.get_object().if_contains("host") : nullptr;
  std::string refusal;
  Reader reader(inner != nullptr ? *inner : root, "", refusal);
  if (!refusal.empty()) return std::unexpected("the host is not a JSON object");
  const auto version = reader.number("version", std::numeric_limits<std::uint64_t>::max());
  if (refusal.empty() && version != 1)
    return std::unexpected(fmt::format("version is {}, this vmrun reads version 1", version));

  HostTopology host;
  if (const json::value* cpu = reader.member("cpu")) {
    Reader names(*cpu, "cpu", refusal);
    host.cpu_vendor = names.text("vendor");
    host.cpu_model = names.text("model");
  }
  host.own_id = reader.text("id");
  host.base_page = read_page(reader, "base_page", kib(4).count);
  host.isolated = reader.cpus("isolated");
  host.nodes = read_nodes(reader, refusal);
  host.pus = read_pus(reader, refusal);
  host.devices = read_devices(reader, refusal);
  host.kind_names = read_words(reader, "kinds");
  host.caches = read_caches(reader, refusal);
  host.allowed = read_allowed_part(reader, refusal);
  if (host.pus.empty()) reader.refuse("cores", "names no CPU");
  if (host.nodes.empty()) reader.refuse("nodes", "is empty");
  for (const Pu& pu : host.pus)
    if (host.node(pu.node) == nullptr)
      reader.refuse("cores", fmt::format("puts CPU {} on node {}, which nodes does not list", pu.cpu, pu.node));
  if (!refusal.empty()) return std::unexpected(refusal);
  return host;
}

}  // namespace topology
