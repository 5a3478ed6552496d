// Memory: its size, what backs it, and the host's nodes that it comes from.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "launcher/import/walk.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline import {

namespace {

std::string pages_text(std::uint64_t bytes) { return bytes >= (1 << 30) ? "1G" : "2M"; }

}  // namespace

std::optional<std::uint64_t> memory_at_start(Walk& walk) {
  const auto size = [&](const XmlElement& element, const std::string& way) {
    return size_of(walk.at(element, way), walk.at(element, way + "/@unit")).value_or(0);
  };
  std::uint64_t of_cells = 0, of_devices = 0, there = 0;
  if (const XmlElement* numa = walk.root.find("cpu/numa"))
    for (const XmlElement* cell : numa->all("cell"))
      of_cells += size_of(walk.at(*cell, "@memory"), walk.at(*cell, "@unit")).value_or(0);
  if (const XmlElement* devices = walk.root.find("devices"))
    for (const XmlElement* one : devices->all("memory")) {
      const Leaf model = walk.at(*one, "@model");
      of_devices += size(*one, "target/size");
      there += model.is("dimm")         ? size(*one, "target/size")
               : model.is("virtio-mem") ? size(*one, "target/requested")
                                        : 0;
    }
  const auto all = size_of(walk.at("memory"), walk.at("memory/@unit"));
  const std::uint64_t board = of_cells > 0                   ? of_cells
                              : all.value_or(0) > of_devices ? *all - of_devices
                                                             : all.value_or(0);
  return board > 0 ? std::optional(rounded_up(board + there, mebi)) : std::nullopt;
}

// libvirt rounds up to whole MiB on x86, too (qemuDomainGetMemorySizeAlignment).
void import_memory(Walk& walk, const XmlElement& element) {
  const Leaf size = walk.at(element, ""), unit = walk.at(element, "@unit");
  const auto bytes = size_of(size, unit), start = memory_at_start(walk);
  if (!bytes || *bytes == 0 || !start) {
    size.tell_default(Verb::refused, "no size of memory; wanted a number and a unit such as KiB");
    return;
  }
  walk.spec.set("memory", "size", toml_size(*start));
  const bool same = rounded_up(*bytes, mebi) == *start || walk.root.find("devices/memory") != nullptr;
  const std::string words = fmt::format("memory.size = {}{}", toml_size(*start),
                                        !same ? ", the sum of the guest's nodes, as libvirt starts it" : "");
  for (const Leaf& leaf : {size, unit}) leaf.tell(same ? Verb::kept : Verb::changed, words);
  walk.at(element, "@dumpCore").is("on") ? walk.spec.flag("memory", "dump", true) : void();
  walk.at(element, "@dumpCore").kept("memory.dump");
}

void import_current_memory(Walk& walk, const XmlElement& element) {
  const Leaf size = walk.at(element, ""), unit = walk.at(element, "@unit");
  const auto bytes = size_of(size, unit), all = size_of(walk.at("memory"), walk.at("memory/@unit")),
             start = memory_at_start(walk);
  const bool same = bytes && (bytes == all || rounded_up(*bytes, mebi) == start);
  const std::string less =
      fmt::format("the guest starts with all of its memory; `vmrun set {} balloon={}` takes the rest once it runs",
                  walk.at("name").value(), bytes ? toml_size(*bytes) : "SIZE");
  for (const Leaf& leaf : {size, unit}) leaf.kept_if(same, "as memory.size", less);
}

void import_max_memory(Walk& walk, const XmlElement& element) {
  const Leaf size = walk.at(element, ""), unit = walk.at(element, "@unit"), slots = walk.at(element, "@slots");
  const auto bytes = size_of(size, unit), all = memory_at_start(walk);
  const std::uint64_t max = bytes ? rounded_up(*bytes, 2 * mebi) : 0;
  if (!bytes || !all) {
    walk.tell_all(element, Verb::dropped, "no size in it; `vmrun set` cannot give the guest more memory");
    return;
  }
  if (max <= rounded_up(*all, mebi)) {
    walk.tell_all(element, Verb::kept, "no more than memory.size, so there is nothing to add");
    return;
  }
  if (max / most_growth > rounded_up(*all, mebi)) return walk.tell_all(element, Verb::dropped, no_growth);
  if (walk.root.find("memoryBacking/locked") != nullptr) {
    walk.tell_all(element, Verb::dropped,
                  "memory that is locked cannot grow under vmrun: remove memory.lock and set memory.max, if it has to");
    return;
  }
  const std::uint64_t start = rounded_up(*all, 2 * mebi);
  walk.spec.set("memory", "size", toml_size(start));
  walk.spec.set("memory", "max", toml_size(max), "claimed at the start");
  for (const Leaf& leaf : {size, unit, slots})
    leaf.tell(
        Verb::changed,
        "memory.max, by virtio-mem in place of DIMMs: `vmrun set NAME memory=SIZE`; all of it is claimed at the start");
}

namespace {

void import_huge_pages(Walk& walk, const XmlElement& element) {
  std::set<std::uint64_t> sizes;
  for (const XmlElement* page : element.all("page"))
    sizes.insert(size_of(walk.at(*page, "@size"), walk.at(*page, "@unit")).value_or(0));
  const bool one = sizes.size() <= 1;
  const std::uint64_t size = sizes.empty() ? 2 * mebi : *sizes.begin();
  if (!one || (size != 2 * mebi && size != 1024 * mebi)) {
    walk.tell_all(element, Verb::dropped,
                  one ? "x86 has huge pages of 2M and 1G; memory.page stays \"auto\""
                      : "several sizes of pages; vmrun takes one for all memory, memory.page stays \"auto\"");
    return;
  }
  walk.spec.text("memory", "page", pages_text(size), "what the pool lacks is reserved at the start");
  for (const XmlElement* page : element.all("page"))
    if (page->attribute("nodeset") != nullptr)
      walk.tell_all(*page, Verb::changed, "memory.page: of all the guest's nodes, not of these alone");
  walk.tell_all(element, Verb::better, "memory.page: the pages are reserved at the start and given back at the end");
}

}  // namespace

void import_backing(Walk& walk, const XmlElement& element) {
  if (const XmlElement* huge = element.find("hugepages")) import_huge_pages(walk, *huge);
  if (const XmlElement* locked = element.find("locked")) {
    walk.spec.flag("memory", "lock", true);
    walk.tell(*locked, "", Verb::kept, "memory.lock");
  }
  if (const XmlElement* apart = element.find("nosharepages"))
    walk.tell(*apart, "", Verb::kept, "memory.merge = false, the default");
  const Leaf access = walk.at(element, "access/@mode");
  if (access.is("shared")) walk.spec.flag("memory", "shared", true);
  access.kept("memory.shared");
  const Leaf mode = walk.at(element, "allocation/@mode");
  if (mode.there()) walk.spec.flag("memory", "prealloc", mode.is("immediate"));
  mode.kept("memory.prealloc");
  walk.at(element, "allocation/@threads").tell(Verb::changed, "QEMU's own number of threads touches the memory");
  const Leaf source = walk.at(element, "source/@type");
  source.tell(source.is("file") ? Verb::changed : Verb::better,
              source.is("file") ? "anonymous memory in place of files below memory_backing_dir"
                                : "vmrun chooses what backs memory by page and sharing");
}

bool is_memory_policy(std::string_view mode) { return mode == "strict" || mode == "preferred" || mode == "interleave"; }

void import_numatune(Walk& walk, const XmlElement& element) {
  const Leaf mode = walk.at(element, "memory/@mode"), nodes = walk.at(element, "memory/@nodeset"),
             placement = walk.at(element, "memory/@placement");
  const std::string policy = mode.there() ? mode.value() : "strict";
  const bool known = is_memory_policy(policy);
  topology::CpuSet all;
  const auto add = [&](const Leaf& leaf) {
    const auto set = topology::CpuSet::parse(leaf.value());
    if (set) all = all | *set;
    return set.has_value() && !set->empty();
  };
  const bool by_cell = has_cells(walk) && !element.all("memnode").empty();  // import_cells() has these
  if (nodes.there())
    nodes.kept_if(add(nodes), by_cell ? "numa.nodes, where no memnode says others" : "memory.nodes",
                  "not a list of nodes; memory.nodes stays \"auto\"");
  for (const XmlElement* cell : element.all("memnode")) {
    const Leaf of_cell = walk.at(*cell, "@nodeset");
    of_cell.kept_if(add(of_cell), by_cell ? "numa.nodes" : "memory.nodes", "not a list of nodes");
    walk.at(*cell, "@cellid").tell(Verb::kept, by_cell ? "numa.nodes" : "memory.nodes: the guest has one node");
    const Leaf cell_mode = walk.at(*cell, "@mode");
    const bool sayable = is_memory_policy(cell_mode.value());
    cell_mode.kept_if(sayable && (by_cell || !mode.there() || cell_mode.is(policy)),
                      by_cell ? "numa.policy" : "memory.policy",
                      sayable ? "one memory.policy, for the guest has one node"
                              : "\"strict\": of restrictive, the kernel's cpuset alone decides");
    if (sayable && !by_cell && !mode.there()) walk.spec.text("memory", "policy", cell_mode.value());
  }
  if (!all.empty() && !by_cell) walk.spec.text("memory", "nodes", all.to_string());
  if (known && mode.there() && policy != "strict") walk.spec.text("memory", "policy", policy);
  mode.kept_if(known, "memory.policy", "memory.policy = \"strict\": of restrictive, the kernel's cpuset alone decides");
  placement.tell(placement.is("auto") ? Verb::better : Verb::kept,
                 placement.is("auto") ? "vmrun chooses the nodes from what is free" : "memory.nodes");
}

// A DIMM is part of <memory> already; what is not is added beside it.
void import_memory_device(Walk& walk, const XmlElement& element) {
  const Leaf model = walk.at(element, "@model"), size = walk.at(element, "target/size"),
             unit = walk.at(element, "target/size/@unit");
  const auto bytes = size_of(size, unit);
  if (model.is("dimm")) {
    walk.tell_all(element, Verb::changed, "part of memory.size: all of the guest's memory is there from the start");
    return;
  }
  if (model.is("virtio-mem") && walk.root.find("maxMemory") != nullptr) {
    walk.tell_all(element, Verb::changed,
                  "what was plugged of it is part of memory.size from the start; vmrun's own virtio-mem has the rest, "
                  "up to memory.max");
    return;
  }
  const Leaf path = walk.at(element, "source/path");
  if (!model.is("nvdimm") || !bytes || !is_file_path(path.value())) {
    walk.tell_all(element, Verb::dropped,
                  model.is("nvdimm") ? "no absolute path and size; the guest lacks this persistent memory"
                                     : fmt::format("vmrun has no {}; the guest lacks this memory", model.value()));
    return;
  }
  const std::string handle = walk.spec.add("nvdimm");
  walk.spec.text(handle, "path", path.value());
  walk.spec.set(handle, "size", toml_size(rounded_up(*bytes, 2 * mebi)));  // as libvirt rounds it
  for (const Leaf& leaf : {model, path, size, unit}) leaf.kept(handle);
  const bool shared = walk.at(element, "@access").is("shared");
  walk.at(element, "@access")
      .tell_default(shared ? Verb::kept : Verb::changed,
                    shared ? "what the guest writes reaches the file"
                           : "what the guest writes reaches the file; it was private to the run");
  const Leaf label = walk.at(element, "target/label/size"), label_unit = walk.at(element, "target/label/size/@unit");
  if (const auto labels = size_of(label, label_unit)) walk.spec.set(handle, "label_size", toml_size(*labels));
  label.kept(handle + ".label_size");
  label_unit.kept(handle + ".label_size");
  const Leaf align = walk.at(element, "source/alignsize"), align_unit = walk.at(element, "source/alignsize/@unit");
  const auto step = size_of(align, align_unit);
  const bool fits = step && (*step == 4096 || *step == 2 * mebi || *step == 1024 * mebi);
  if (fits) walk.spec.set(handle, "align", toml_size(*step));
  for (const Leaf& leaf : {align, align_unit}) leaf.kept_if(fits, handle + ".align", "4K, 2M or 1G only");
  if (const XmlElement* pmem = element.find("source/pmem")) {
    walk.spec.flag(handle, "pmem", true);
    walk.tell(*pmem, "", Verb::kept, handle + ".pmem");
  }
  if (const XmlElement* readonly = element.find("target/readonly")) {
    walk.spec.flag(handle, "read_only", true);
    walk.tell(*readonly, "", Verb::kept, handle + ".read_only");
  }
  walk.at(element, "target/node").tell(Verb::changed, "the node that the host's memory behind it is on");
}

}  // namespace launcher::import
