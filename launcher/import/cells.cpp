// The guest's NUMA nodes of a domain: a [[numa]] for each <cell>, with its <memnode>.
#include "launcher/import/cells.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

std::uint64_t step_of_cells(const SpecText& spec) {
  const SpecText::Line* page = spec.find("memory", "page");
  if (page != nullptr && page->value == "\"1G\"") return 1024 * mebi;
  return spec.find("memory", "max") != nullptr || (page != nullptr && page->value == "\"2M\"") ? 2 * mebi : mebi;
}

void write_cells(SpecText& spec, const std::vector<ImportedCell>& cells, const ImportedDistances& distances) {
  constexpr unsigned own = 10, least = 11, other = 20;
  std::uint64_t sum = 0;
  for (std::size_t from = 0; from < cells.size(); ++from) {
    const ImportedCell& cell = cells[from];
    const std::string handle = spec.add("numa");
    spec.text(handle, "vcpus", cell.vcpus.empty() ? "none" : cell.vcpus.to_string());
    spec.text(handle, "size", cell.size == 0 ? "0" : toml_size(cell.size).substr(1, toml_size(cell.size).size() - 2));
    if (!cell.nodes.empty()) spec.text(handle, "nodes", cell.nodes.to_string());
    if (!cell.policy.empty()) spec.text(handle, "policy", cell.policy);
    sum += cell.size;
    std::vector<unsigned> row;
    for (std::size_t to = 0; to < distances.size(); ++to)
      row.push_back(to == from ? own
                               : std::max(least, distances[from][to].value_or(distances[to][from].value_or(other))));
    if (!row.empty()) spec.set(handle, "distances", fmt::format("[{}]", fmt::join(row, ", ")));
  }
  spec.set("memory", "size", toml_size(sum));
}

namespace {

std::vector<const XmlElement*> cells_of(const Walk& walk) {
  const XmlElement* numa = walk.root.find("cpu/numa");
  std::vector<const XmlElement*> cells = numa == nullptr ? std::vector<const XmlElement*>{} : numa->all("cell");
  std::ranges::stable_sort(cells, {}, [](const XmlElement* cell) {
    const std::string* id = cell->attribute("id");
    return id == nullptr ? 0 : number_of(*id).value_or(0);
  });
  return cells;
}

topology::CpuSet set_of(const Leaf& leaf) {
  const auto set = topology::CpuSet::parse(leaf.value());
  return leaf.there() && set ? *set : topology::CpuSet{};
}

// The host's nodes by <memnode>; where there are any, those of <memory> for the others.
void bind_cells(Walk& walk, std::vector<ImportedCell>& cells) {
  const XmlElement* tune = walk.root.find("numatune");
  if (tune == nullptr || tune->all("memnode").empty()) return;
  for (ImportedCell& cell : cells) cell.nodes = set_of(walk.at(*tune, "memory/@nodeset"));
  for (const XmlElement* node : tune->all("memnode"))
    if (const auto id = walk.at(*node, "@cellid").number(); id && *id < cells.size()) {
      cells[*id].nodes = set_of(walk.at(*node, "@nodeset"));
      const Leaf mode = walk.at(*node, "@mode");
      const SpecText::Line* all = walk.spec.find("memory", "policy");
      if (is_memory_policy(mode.value()) && toml_text(mode.value()) != (all == nullptr ? "\"strict\"" : all->value))
        cells[*id].policy = mode.value();
    }
}

// A DIMM, and what is plugged of virtio-mem, is memory of its node from the start.
void add_dimms(Walk& walk, std::vector<ImportedCell>& cells) {
  const XmlElement* devices = walk.root.find("devices");
  if (devices == nullptr) return;
  for (const XmlElement* one : devices->all("memory")) {
    const bool dimm = walk.at(*one, "@model").is("dimm"), virtio = walk.at(*one, "@model").is("virtio-mem");
    const std::string way = dimm ? "target/size" : "target/requested";
    if (dimm || virtio)
      cells[std::min<std::uint64_t>(walk.at(*one, "target/node").number().value_or(0), cells.size() - 1)].size +=
          size_of(walk.at(*one, way), walk.at(*one, way + "/@unit")).value_or(0);
  }
}

ImportedDistances distances_of(Walk& walk, const std::vector<const XmlElement*>& cells) {
  ImportedDistances table(cells.size(), std::vector<std::optional<unsigned>>(cells.size()));
  bool any = false;
  for (std::size_t from = 0; from < cells.size(); ++from) {
    const XmlElement* distances = cells[from]->find("distances");
    if (distances == nullptr) continue;
    for (const XmlElement* sibling : distances->all("sibling")) {
      const auto to = walk.at(*sibling, "@id").number(), value = walk.at(*sibling, "@value").number();
      if (to && value && *to < cells.size() && *value <= 255)
        table[from][*to] = static_cast<unsigned>(*value), any = true;
    }
    walk.tell_all(*distances, Verb::kept, fmt::format("numa[{}].distances", from));
  }
  return any ? table : ImportedDistances{};
}

void tell_cell(Walk& walk, const XmlElement& cell, std::size_t index, bool shared, bool grown) {
  const std::string table = fmt::format("numa[{}]", index);
  walk.at(cell, "@id").kept(table);
  walk.at(cell, "@cpus").kept(table + ".vcpus");
  for (const char* key : {"@memory", "@unit"})
    walk.at(cell, key).tell(grown ? Verb::changed : Verb::kept, table + (grown ? ".size: whole pages" : ".size"));
  const Leaf access = walk.at(cell, "@memAccess");
  const bool same = access.is("shared") == shared;
  access.tell(same ? Verb::kept : Verb::changed,
              same ? "memory.shared" : "memory.shared: of all nodes, as another wants it");
  walk.at(cell, "@discard").tell(Verb::kept, "no file holds this memory: what was in it is gone with QEMU");
}

}  // namespace

bool has_cells(const Walk& walk) { return cells_of(walk).size() > 1; }

void import_cells(Walk& walk) {
  const std::vector<const XmlElement*> elements = cells_of(walk);
  const XmlElement* numa = walk.root.find("cpu/numa");
  bool shared = walk.spec.find("memory", "shared") != nullptr;
  for (const XmlElement* cell : elements) shared = shared || walk.at(*cell, "@memAccess").is("shared");
  if (shared && !elements.empty()) walk.spec.flag("memory", "shared", true);
  if (elements.size() < 2) {
    for (const XmlElement* cell : elements) walk.at(*cell, "@memAccess").kept("memory.shared");
    if (numa != nullptr) walk.tell_all(*numa, Verb::kept, "one node is what a guest on one node of the host sees");
    return;
  }
  std::vector<ImportedCell> cells(elements.size());
  topology::CpuSet all, listed;
  for (unsigned vcpu = 0; vcpu < walk.vcpus; ++vcpu) all.add(vcpu);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    cells[i].vcpus = set_of(walk.at(*elements[i], "@cpus")) & all;  // without those that are not there at the start
    listed |= cells[i].vcpus;
    cells[i].size = size_of(walk.at(*elements[i], "@memory"), walk.at(*elements[i], "@unit")).value_or(0);
  }
  cells[0].vcpus |= all - listed;  // as libvirt has it
  bind_cells(walk, cells);
  add_dimms(walk, cells);
  const std::uint64_t step = step_of_cells(walk.spec);
  std::vector<bool> grown;
  for (ImportedCell& cell : cells) {
    grown.push_back(rounded_up(cell.size, mebi) % step != 0);
    cell.size = rounded_up(cell.size, step);
  }
  if (std::ranges::any_of(cells, [](const ImportedCell& cell) { return cell.size == 0 && cell.vcpus.empty(); }))
    return walk.tell_all(
        *numa, Verb::dropped,
        "one of them has neither vCPUs nor memory; the guest sees the nodes of the host that it is on");
  const ImportedDistances distances = distances_of(walk, elements);
  for (std::size_t i = 0; i < elements.size(); ++i) tell_cell(walk, *elements[i], i, shared, grown[i]);
  write_cells(walk.spec, cells, distances);
  if (distances.empty())
    walk.tell_missing("cpu/numa/cell/distances", Verb::changed,
                      "the guest is told those of the host's nodes; it took 10 and 20 for them");
  walk.tell_all(
      *numa, Verb::dropped,
      "vmrun makes no HMAT: the guest goes by the distances, not by latencies, bandwidths and memory-side caches");
}

}  // namespace launcher::import
