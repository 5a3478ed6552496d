// See rules.hpp. The rule: every message says what was found, what was wanted, and how to mend it.
#include "launcher/spec/rules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "launcher/spec/rules_parts.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

bool Rules::sound(std::string_view key) const {
  const auto within = [](std::string_view inner, std::string_view outer) {
    return inner.starts_with(outer) &&
           (inner.size() == outer.size() || inner[outer.size()] == '.' || inner[outer.size()] == '[');
  };
  return std::none_of(found.begin(), found.end(), [&](const Problem& problem) {
    if (problem.key.empty()) return false;
    if (!problem.on_name) return within(problem.key, key) || within(key, problem.key);
    const std::size_t dot = problem.key.rfind('.');
    if (dot != problem.key.npos) return within(key, problem.key.substr(0, dot));
    return !closest(problem.key, {std::string(key.substr(0, key.find_first_of(".[")))}).empty();
  });
}

std::string count_of(unsigned n, std::string_view noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

namespace {

void check_name(Rules& rules) {
  const std::string& name = rules.spec.name;
  const auto alnum = [](unsigned char c) { return std::isalnum(c) != 0; };
  const bool good = !name.empty() && name.size() <= 63 && alnum(static_cast<unsigned char>(name[0])) &&
                    std::all_of(name.begin(), name.end(),
                                [&](unsigned char c) { return alnum(c) || c == '.' || c == '_' || c == '-'; });
  if (good || !rules.sound("name")) return;
  const std::string shown = name.size() > 63 ? fmt::format("this name has {} bytes", name.size())
                                             : fmt::format("\"{}\" cannot name a VM", printable(name));
  std::string better = name.substr(0, 63);
  for (char& c : better)
    if (!alnum(static_cast<unsigned char>(c)) && c != '.' && c != '_') c = '-';
  while (!better.empty() && !alnum(static_cast<unsigned char>(better[0]))) better.erase(0, 1);
  rules.add("name", shown + "; wanted 1 to 63 letters, digits, '.', '_' or '-', a letter or digit first",
            fmt::format("set name = \"{}\" at the top of the file; without it the VM is named after the file",
                        better.empty() ? "vm1" : better));
}

void check_machine(Rules& rules) {
  const std::string& machine = rules.spec.machine;
  if (!rules.sound("machine") || machine == "q35" || is_versioned_q35(machine)) return;
  rules.add(
      "machine",
      fmt::format("\"{}\" is not a machine vmrun can build; wanted \"q35\" or a version of it such as \"pc-q35-7.2\"",
                  printable(machine)),
      "remove the line for \"q35\"; `qemu-system-x86_64 -machine help` lists the versions");
}

void check_accel(Rules& rules) {
  if (rules.spec.accel != Accel::tcg || rules.spec.cpu.model != "host" || !rules.sound("accel") ||
      !rules.sound("cpu.model"))
    return;
  rules.add("cpu.model", "\"host\" needs KVM, but accel is \"tcg\"; wanted a model that TCG can emulate",
            "remove cpu.model (TCG then gets \"max\"), or set accel = \"kvm\"");
}

void check_topology(Rules& rules) {
  const CpuSpec& cpu = rules.spec.cpu;
  std::uint64_t product = 1;
  std::vector<std::string> given;
  const char* key = nullptr;
  for (const auto& [name, value] : {std::pair("sockets", cpu.sockets), {"cores", cpu.cores}, {"threads", cpu.threads}})
    if (value) {
      product *= *value;
      given.push_back(fmt::format("{} {}", *value, name));
      key = name;
    }
  if (given.empty() || !rules.sound("cpu.count") || !rules.sound("cpu.sockets") || !rules.sound("cpu.cores") ||
      !rules.sound("cpu.threads"))
    return;
  const bool all = given.size() == 3;
  if (all ? product == cpu.count : cpu.count % product == 0) return;
  const std::string factors = fmt::format("{}", fmt::join(given, " x "));
  if (all)
    rules.add("cpu.count",
              fmt::format("{}, but {} make {}; wanted their product", count_of(cpu.count, "vCPU"), factors, product),
              fmt::format("set count = {}, or leave out one of sockets, cores and threads", product));
  else
    rules.add(fmt::format("cpu.{}", key),
              fmt::format("{} cannot divide {}; wanted a count that is a multiple of {}", factors,
                          count_of(cpu.count, "vCPU"), product),
              fmt::format("leave {} out, or set cpu.count = {}", key, (cpu.count / product + 1) * product));
}

void check_pins(Rules& rules) {
  const CpuSpec& cpu = rules.spec.cpu;
  if (cpu.pin != topology::Pinning::listed || !rules.sound("cpu.pin")) return;
  std::map<unsigned, std::size_t> seen;
  for (std::size_t i = 0; i < cpu.pin_list.size(); ++i)
    if (const auto [before, fresh] = seen.emplace(cpu.pin_list[i], i); !fresh)
      rules.add(fmt::format("cpu.pin[{}]", i),
                fmt::format("CPU {} is given to vCPU {} and again to vCPU {}; wanted a CPU for each", cpu.pin_list[i],
                            before->second, i),
                "list each CPU once");
  if (rules.sound("cpu.count") && cpu.pin_list.size() != cpu.count)
    rules.add("cpu.pin",
              fmt::format("{} for {}; wanted one for each", count_of(static_cast<unsigned>(cpu.pin_list.size()), "CPU"),
                          count_of(cpu.count, "vCPU")),
              fmt::format("set cpu.count = {}, or list {}", cpu.pin_list.size(), count_of(cpu.count, "CPU")));
}

void check_boot(Rules& rules) {
  const BootSpec& boot = rules.spec.boot;
  if (!boot.kernel.empty() || !rules.sound("boot.kernel")) return;
  for (const auto& [key, value] : {std::pair("initrd", &boot.initrd), {"cmdline", &boot.cmdline}})
    if (!value->empty() && rules.sound(fmt::format("boot.{}", key)))
      rules.add(
          fmt::format("boot.{}", key),
          fmt::format("given without boot.kernel; wanted both: QEMU hands {} to the kernel that it loads itself", key),
          fmt::format("add kernel = \"...\" to [boot], or remove {}: the guest's own boot loader decides", key));
}

// Who is to say that it is ready needs a way to.
void check_ready(Rules& rules) {
  using By = ReadySpec::By;
  const Spec& spec = rules.spec;
  struct Way {
    By by;
    const char* table;
    bool there;
  };
  const Way ways[] = {{By::notify, "vsock", has_device<Vsock>(spec)},
                      {By::agent, "agent", has_device<Agent>(spec)},
                      {By::ssh, "cloud_init", has_device<CloudInit>(spec)}};
  for (const auto& [by, table, there] : ways)
    if (spec.ready.by == by && !there && rules.sound("ready") && rules.sound(table))
      rules.add("ready", fmt::format("waits for what comes by [{0}], and there is no [{0}]; wanted both", table),
                fmt::format("add a table [{}], or set ready = \"launch\"", table));
  const bool any = std::ranges::any_of(ways, [](const Way& way) { return way.there; }) || !spec.ready.pattern.empty();
  if (spec.ready.by == By::guest && !any && rules.sound("ready"))
    rules.add("ready", "\"guest\", but this VM has no way to hear of it; wanted one",
              "add a table [agent], [vsock] or [cloud_init], or ready_pattern = \"login:\"");
}

}  // namespace

Problems broken_rules(const Spec& spec, const Problems& found) {
  Rules rules{spec, found, {}};
  for (void (*check)(Rules&) : {check_name, check_machine, check_accel, check_topology, check_pins, check_memory,
                                check_memory_kinds, check_nodes, check_numa, check_queues_of_all, check_guest,
                                check_duplicates, check_shared, check_boot, check_ready, check_extra_args})
    check(rules);
  for (Problem& problem : cpu_rules(spec, [&](std::string_view key) { return rules.sound(key); }))
    rules.broken.push_back(std::move(problem));
  return std::move(rules.broken);
}

bool is_amd_model(std::string_view model) {
  constexpr std::string_view amd[] = {"EPYC", "Opteron", "Dhyana", "phenom", "athlon", "qemu64", "qemu32", "max"};
  return std::ranges::any_of(amd, [&](std::string_view name) { return model.starts_with(name); });
}

bool is_versioned_q35(std::string_view machine) {
  if (!machine.starts_with("pc-q35-")) return false;
  machine.remove_prefix(7);
  const std::size_t dot = machine.find('.');
  const auto digits = [](std::string_view s) {
    return !s.empty() && std::ranges::all_of(s, [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  return dot != machine.npos && digits(machine.substr(0, dot)) && digits(machine.substr(dot + 1));
}

}  // namespace launcher::spec
