// The spec's keys, table by table. The rule: what is read here is what may be written; there is no second list.
#include "launcher/spec/read_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/mp11/algorithm.hpp>
#include <iterator>
#include <tuple>
#include <type_traits>

#include "launcher/devices/identity.hpp"
#include "launcher/spec/profiles.hpp"
#include "launcher/spec/rules.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

using topology::gib;
using topology::kib;
using topology::mib;

namespace {

MemorySpec read_memory(TableReader& table, bool may_be_summed) {
  MemorySpec memory;
  memory.size =
      may_be_summed ? table.size("size", {0}, mib(1), most_memory) : table.required_size("size", mib(1), most_memory);
  memory.transparent = table.is_text("page", "transparent");
  memory.page = memory.transparent ? std::optional(kib(4)) : table.size_or_auto("page", {kib(4), mib(2), gib(1)});
  memory.nodes = table.numbers_or_auto("nodes");
  memory.policy = static_cast<topology::MemoryPolicy>(table.choice("policy", {"strict", "preferred", "interleave"}, 0));
  memory.prealloc = table.flag_or_auto("prealloc");
  if (table.is_text("lock", "on-fault"))
    memory.lock = MemorySpec::Lock::on_fault;
  else if (table.flag("lock", false))
    memory.lock = MemorySpec::Lock::on;
  memory.merge = table.flag("merge", false);
  memory.dump = table.flag("dump", false);
  memory.shared = table.flag("shared", false);
  if (const topology::Bytes max = table.size("max", {0}, mib(1), most_memory); max.count != 0) memory.max = max;
  return memory;
}

void read_order(TableReader& table, BootSpec& boot) {
  if (std::vector<std::string> order = table.texts("order"); table.has("order")) boot.order = std::move(order);
  const std::vector<std::string> known = {"disk", "cdrom", "net"};
  for (auto one = boot.order.begin(); one != boot.order.end(); ++one) {
    const bool twice = std::find(boot.order.begin(), one, *one) != one;
    if (!twice && std::ranges::find(known, *one) != known.end()) continue;
    table.problem("order",
                  fmt::format("\"{}\" {}; wanted some of \"disk\", \"cdrom\" and \"net\", each once",
                              printable(one->substr(0, 64)), twice ? "stands there twice" : "is none of them"),
                  "write what shall be tried first first: order = [\"cdrom\", \"disk\"]");
  }
}

BootSpec read_boot(TableReader& table) {
  BootSpec boot;
  boot.kernel = table.path("kernel", false);
  boot.initrd = table.path("initrd", false);
  boot.cmdline = table.text("cmdline", "");
  boot.uefi = table.is_text("firmware", "uefi");
  const bool bios = table.is_text("firmware", "seabios");
  if (!boot.uefi && !bios) boot.firmware = table.path("firmware", false);
  boot.secure_boot = table.flag("secure_boot", false);
  read_order(table, boot);
  boot.code = table.path("code", false);
  boot.variables = table.path("variables", false);
  for (const auto& [key, value, other] :
       {std::tuple("code", &boot.code, &boot.variables), std::tuple("variables", &boot.variables, &boot.code)})
    if (!value->empty() && (!boot.uefi || other->empty()))
      table.problem(
          key,
          fmt::format("given without {}; wanted firmware = \"uefi\" with code and variables, or neither of them",
                      boot.uefi ? "the other of code and variables" : "firmware = \"uefi\""),
          fmt::format("add what is missing, or remove {}", key));
  if (boot.secure_boot && !boot.uefi)
    table.problem("secure_boot", "true, but the firmware is not \"uefi\"; wanted both: only UEFI knows Secure Boot",
                  "add firmware = \"uefi\", or remove secure_boot");
  return boot;
}

// "8-4-4-4-12" hex digits, not all zero; in lower case.
std::string read_uuid(TableReader& root) {
  const std::string text = root.text("uuid", "auto");
  if (text == "auto") return {};
  if (is_uuid(text) && text.find_first_not_of("-0") != text.npos) return lowered(text);
  root.problem("uuid",
               fmt::format("\"{}\" is no UUID of a machine; wanted 8-4-4-4-12 hex digits, not all zero",
                           printable(text.substr(0, 64))),
               "remove it for one of the VM's own, or take one from `uuidgen`");
  return {};
}

ReadySpec read_ready(TableReader& root) {
  ReadySpec ready;
  ready.by =
      static_cast<ReadySpec::By>(root.choice("ready", {"launch", "guest", "notify", "agent", "console", "ssh"}, 0));
  ready.pattern = root.text("ready_pattern", "");
  ready.timeout = static_cast<unsigned>(root.integer("ready_timeout", 300, 1, 86'400));
  const bool patterned = ready.by == ReadySpec::By::console || ready.by == ReadySpec::By::guest;
  if (ready.by == ReadySpec::By::console && ready.pattern.empty())
    root.problem("ready", "\"console\", but ready_pattern does not say what is waited for; wanted both",
                 "add ready_pattern = \"login:\"");
  if (!ready.pattern.empty() && !patterned)
    root.problem("ready_pattern", "given, but ready does not wait for the console; wanted \"guest\" or \"console\"",
                 "set ready = \"console\", or remove ready_pattern");
  return ready;
}

Spec read_root(TableReader& root) {
  Spec spec;
  spec.name = root.text("name", "");
  spec.machine = root.text("machine", "q35");
  const std::size_t accel = root.choice("accel", {"auto", "kvm", "tcg"}, 0);
  if (accel > 0) spec.accel = static_cast<Accel>(accel - 1);
  spec.uuid = read_uuid(root);
  spec.sleep = root.flag("sleep", false);
  spec.windows = root.flag("windows", false);
  spec.ready = read_ready(root);
  root.texts("include");
  std::vector<std::string> choices{"none"};
  std::ranges::move(profile_names(), std::back_inserter(choices));
  root.choice("profile", choices, 0);
  spec.extra_args = root.texts("extra_args");
  root.table("cpu", [&](TableReader& table) { spec.cpu = read_cpu(table); });
  root.table("clock", [&](TableReader& table) { spec.clock = read_clock(table); });
  root.table("hyperv", [&](TableReader& table) { spec.hyperv = read_hyperv(table); });
  root.table("schedule", [&](TableReader& table) { spec.schedule = read_schedule(table); });
  root.table("host", [&](TableReader& table) { spec.host = read_host_spec(table); });
  root.table("memory", [&](TableReader& table) { spec.memory = read_memory(table, root.has("numa")); });
  root.tables("numa", [&](TableReader& table) { spec.numa.push_back(read_numa(table)); });
  if (spec.memory.size.count == 0 &&
      std::ranges::all_of(spec.numa, [](const NumaSpec& one) { return one.size.has_value(); }))
    for (const NumaSpec& one : spec.numa) spec.memory.size = spec.memory.size + *one.size;
  boost::mp11::mp_for_each<boost::mp11::mp_transform<std::type_identity, Device>>([&](auto kind) {
    using Kind = typename decltype(kind)::type;
    const auto read = [&](TableReader& table) { spec.devices.emplace_back(Kind::read(table)); };
    const auto read_single = [&](TableReader& table) {
      Kind one = Kind::read(table);
      if (Kind::kind.always || root.has(Kind::kind.table)) spec.devices.emplace_back(std::move(one));
    };
    Kind::kind.many ? root.tables(Kind::kind.table, read) : root.table(Kind::kind.table, read_single);
  });
  root.table("panic", [&](TableReader& table) {
    spec.panic = static_cast<PanicAction>(table.choice("action", {"exit", "pause", "none"}, 0));
  });
  root.table("boot", [&](TableReader& table) { spec.boot = read_boot(table); });
  root.finish();
  return spec;
}

}  // namespace

std::vector<KeyInfo> spec_keys() {
  const std::expected<TomlDocument, TomlErrors> nothing = TomlDocument::parse("", "");
  std::vector<KeyInfo> keys;
  Problems ignored;
  TableReader root(*nothing, ignored, &keys);
  read_root(root);
  return keys;
}

Spec read_document(const TomlDocument& document, Problems& problems) {
  const auto read = [&document](const std::vector<KeyInfo>& known) {
    std::pair<Spec, Problems> out;
    TableReader root(document, out.second, nullptr, &known);
    out.first = read_root(root);
    if (!root.has("name")) out.first.name = std::filesystem::path(document.file()).stem().string();
    return out;
  };
  auto [spec, found] = read({});
  if (!found.empty()) std::tie(spec, found) = read(spec_keys());  // to say where a key belongs that is none here
  for (Problem& problem : found) problems.push_back(std::move(problem));
  spec.profile_story = document.profile_story();
  for (Problem& problem : broken_rules(spec, problems)) problems.push_back(std::move(problem));
  return spec;
}

std::expected<SpecFile, SpecErrors> read_spec(const std::filesystem::path& file,
                                              const std::vector<std::string>& overrides) {
  std::expected<TomlDocument, TomlErrors> document = TomlDocument::load(file, overrides, profiles());
  if (!document)
    return std::unexpected(SpecErrors{std::move(document.error().problems), std::move(document.error().document)});
  Problems problems;
  Spec spec = read_document(*document, problems);
  if (!problems.empty()) return std::unexpected(SpecErrors{std::move(problems), std::move(*document)});
  return SpecFile{std::move(spec), std::move(*document)};
}

}  // namespace launcher::spec
