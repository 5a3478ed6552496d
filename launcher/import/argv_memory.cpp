// The guest's memory of a command line: its size, what backs it, and the host's nodes that it comes from.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline import {

std::optional<std::uint64_t> qemu_size(std::string_view text, std::uint64_t unit) {
  if (text.empty()) return std::nullopt;
  constexpr std::string_view letters = "kmgtpe";
  const std::size_t letter = letters.find(static_cast<char>(text.back() | 0x20));
  const bool byte = text.back() == 'b' || text.back() == 'B';
  if (letter != letters.npos || byte) text.remove_suffix(1);
  const auto number = number_of(text);
  const std::uint64_t factor = byte ? 1 : letter == letters.npos ? unit : std::uint64_t{1} << (10 * (letter + 1));
  if (!number || *number > (std::uint64_t{1} << 52) / factor) return std::nullopt;
  return *number * factor;
}

namespace {

// Of -m, and the DIMMs that are plugged from the start.
std::optional<std::uint64_t> size_at_start(ArgvWalk& walk, ArgvOption* option) {
  auto bytes =
      option == nullptr || !option->has("size") ? std::optional(128 * mebi) : qemu_size(option->get("size"), mebi);
  for (ArgvOption* device : walk.every("device"))
    if (ArgvOption* backend = device->kind() == "pc-dimm" ? walk.by_id("object", device->get("memdev")) : nullptr;
        backend != nullptr && bytes) {
      *bytes += qemu_size(backend->get("size"), 1).value_or(0);
      for (ArgvOption* part : {device, backend})
        part->tell_rest(Verb::changed, "part of memory.size: all of the guest's memory is there from the start");
    }
  return bytes;
}

void size(ArgvWalk& walk) {
  ArgvOption* option = walk.find("m");
  const auto bytes = size_at_start(walk, option);
  if (!bytes || *bytes == 0) {
    option->tell("size", Verb::refused, "no size of memory; wanted a number of MiB, or one with a unit");
    return;
  }
  if (option == nullptr) walk.missing("-m", Verb::kept, "memory.size = \"128M\", QEMU's default");
  const auto max = option == nullptr ? std::nullopt : qemu_size(option->get("maxmem"), mebi);
  const bool more = max && *max > *bytes, grows = more && *max / most_growth <= *bytes;
  const std::uint64_t whole = rounded_up(*bytes, grows ? 2 * mebi : mebi);
  walk.spec.set("memory", "size", toml_size(whole));
  if (option == nullptr) return;
  option->kept("size", "memory.size");
  if (grows) walk.spec.set("memory", "max", toml_size(rounded_up(*max, 2 * mebi)), "claimed at the start");
  for (const char* key : {"maxmem", "slots"})
    option->tell(key,
                 grows  ? Verb::changed
                 : more ? Verb::dropped
                        : Verb::kept,
                 grows  ? "memory.max, by virtio-mem in place of DIMMs: `vmrun set NAME memory=SIZE`"
                 : more ? no_growth
                        : "as memory.size");
}

// A size of huge pages, by number or by the mount's name in Proxmox ("/run/hugepages/kvm/1048576kB").
std::optional<std::uint64_t> page_of(const ArgvOption& backend) {
  if (backend.on("hugetlb")) return qemu_size(backend.get("hugetlbsize"), 1).value_or(2 * mebi);
  const std::string path = backend.get("mem-path");
  if (path.find("hugepages") == path.npos && path.find("huge") == path.npos) return std::nullopt;
  return path.find("1048576kB") != path.npos || path.find("1G") != path.npos ? 1024 * mebi : 2 * mebi;
}

void pages(ArgvWalk& walk, ArgvOption& backend) {
  const auto page = page_of(backend);
  if (page == 2 * mebi || page == 1024 * mebi) {
    walk.spec.text("memory", "page", page == 2 * mebi ? "2M" : "1G", "what the pool lacks is reserved at the start");
    for (const char* key : {"mem-path", "hugetlb", "hugetlbsize"})
      backend.tell(key, Verb::better, "memory.page: the pages are reserved at the start and given back at the end");
  }
  if (!page) backend.tell("mem-path", Verb::changed, "anonymous memory in its place");
  if (backend.on("share")) walk.spec.flag("memory", "shared", true);
  backend.kept("share", "memory.shared");
  if (backend.has("prealloc") && (page || backend.on("prealloc")))
    walk.spec.flag("memory", "prealloc", page || backend.on("prealloc"));
  backend.kept("prealloc", "memory.prealloc");
  if (backend.on("merge")) walk.spec.flag("memory", "merge", true);
  backend.kept("merge", "memory.merge");
  if (backend.on("dump")) walk.spec.flag("memory", "dump", true);
  backend.kept("dump", "memory.dump");
}

// "host-nodes=0-1", or JSON's list
void nodes(ArgvOption& backend, const std::string& where, topology::CpuSet& all, std::string& policy) {
  for (const auto& [key, value] : Members(backend.members)) {
    if (!key.starts_with("host-nodes")) continue;
    const auto set = topology::CpuSet::parse(value);
    if (set) all = all | *set;
    backend.kept_if(set && !set->empty(), key, where + ".nodes", "not a list of nodes; memory.nodes stays \"auto\"");
  }
  const std::string named = backend.get("policy");
  const bool known = named == "bind" || named == "preferred" || named == "interleave";
  if (known) policy = named == "bind" ? "strict" : named;
  backend.kept_if(known || named == "default", "policy", where + ".policy", "memory.policy = \"strict\"");
}

}  // namespace

void argv_memory(ArgvWalk& walk) {
  size(walk);
  topology::CpuSet all;
  std::string policy;
  for (ArgvOption* object : walk.every("object")) {
    if (!object->kind().starts_with("memory-backend-")) continue;
    const std::string id = object->get("id");
    const bool nvdimm = std::ranges::any_of(walk.all, [&](const ArgvOption& one) {
      return one.name == "device" && one.kind() == "nvdimm" && one.get("memdev") == id;
    });
    if (nvdimm || object->told()) continue;
    object->kept("qom-type", "[memory]");
    object->kept("size", "memory.size");
    pages(walk, *object);
    nodes(*object, has_cells(walk) ? "numa" : "memory", all, policy);
  }
  if (!all.empty() && !has_cells(walk)) walk.spec.text("memory", "nodes", all.to_string());
  if (!all.empty() && !policy.empty() && policy != "strict" && !has_cells(walk))
    walk.spec.text("memory", "policy", policy);
  if (ArgvOption* path = walk.find("mem-path")) {
    const bool huge = path->value.find("huge") != path->value.npos;
    if (huge) walk.spec.text("memory", "page", path->value.find("1G") == path->value.npos ? "2M" : "1G");
    path->tell("", huge ? Verb::better : Verb::changed, huge ? "memory.page" : "anonymous memory in its place");
  }
  if (ArgvOption* early = walk.find("mem-prealloc")) {
    walk.spec.flag("memory", "prealloc", true);
    early->kept("", "memory.prealloc");
  }
  if (ArgvOption* overcommit = walk.find("overcommit")) {
    if (overcommit->on("mem-lock")) walk.spec.flag("memory", "lock", true);
    if (overcommit->is("mem-lock", "on-fault")) walk.spec.text("memory", "lock", "on-fault");
    overcommit->kept("mem-lock", "memory.lock");
    if (overcommit->on("cpu-pm")) walk.spec.flag("cpu", "pm", true);
    overcommit->kept("cpu-pm", "cpu.pm");
  }
  if (walk.spec.find("memory", "page") == nullptr)
    walk.missing("huge pages", Verb::better, "memory.page = \"auto\": huge pages where they fit");
  if (walk.spec.find("memory", "lock") != nullptr && walk.spec.find("memory", "max") != nullptr) {
    walk.spec.remove("memory", "max");
    walk.find("m")->tell("maxmem", Verb::dropped, "memory that is locked cannot grow under vmrun");
  }
  argv_cells(walk);
}

}  // namespace launcher::import
