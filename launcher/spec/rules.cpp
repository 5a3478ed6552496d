// See spec_rules.hpp. The rule: every message says what was found, what was wanted, and how to mend it.
#include "launcher/spec/rules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>

#include "launcher/spec/read_spec.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

namespace {

struct Rules {
  const Spec& spec;
  const Problems& found;
  Problems broken;

  // No problem was found with the key, with what is in it or what it is in, nor with a name that may have meant it.
  bool sound(std::string_view key) const {
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
  void add(std::string key, std::string what, std::string help) {
    broken.push_back({std::move(key), std::move(what), std::move(help)});
  }
  template <class Kind>
  std::vector<std::pair<std::string, const Kind*>> devices(std::string_view table) const {  // {"disk[0]", disk}, ...
    std::vector<std::pair<std::string, const Kind*>> all;
    for (const Device& device : spec.devices)
      if (const Kind* one = std::get_if<Kind>(&device)) all.emplace_back(fmt::format("{}[{}]", table, all.size()), one);
    return all;
  }
};

std::string count_of(unsigned n, std::string_view noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

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
  std::string_view rest = rules.spec.machine;
  if (!rules.sound("machine") || rest == "q35") return;
  const bool versioned = rest.starts_with("pc-q35-");
  if (versioned) rest.remove_prefix(7);
  const std::size_t dot = rest.find('.');
  const auto digits = [](std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isdigit(c); });
  };
  if (versioned && dot != rest.npos && digits(rest.substr(0, dot)) && digits(rest.substr(dot + 1))) return;
  rules.add(
      "machine",
      fmt::format("\"{}\" is not a machine vmrun can build; wanted \"q35\" or a version of it such as \"pc-q35-7.2\"",
                  printable(rules.spec.machine)),
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
              fmt::format("set cpu.count = {}, or leave {} out", (cpu.count / product + 1) * product, key));
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

void check_memory(Rules& rules) {
  const MemorySpec& memory = rules.spec.memory;
  if (!rules.sound("memory.size") || !rules.sound("memory.page")) return;
  const topology::Bytes page = memory.page.value_or(topology::kib(4));
  if (memory.size.count % page.count != 0) {
    const topology::Bytes less = {memory.size.count / page.count * page.count}, more = less + page;
    const std::string pages = memory.page ? topology::to_string(page) + " pages" : "4K, the smallest page";
    rules.add("memory.size",
              fmt::format("{} is not a multiple of {}; wanted whole pages", topology::to_string(memory.size), pages),
              less.count
                  ? fmt::format("set size = \"{}\" or \"{}\"", topology::to_string(less), topology::to_string(more))
                  : fmt::format("set size = \"{}\", or choose a smaller page", topology::to_string(more)));
  }
  if (memory.page && *memory.page > topology::kib(4) && memory.prealloc == false && rules.sound("memory.prealloc"))
    rules.add("memory.prealloc",
              fmt::format("false with {} pages: a guest that touches a page the pool no longer has is killed (SIGBUS); "
                          "wanted true or \"auto\"",
                          topology::to_string(page)),
              "remove prealloc, or set memory.page = \"4K\"");
}

// What memory.max, merge and lock rule out.
void check_memory_kinds(Rules& rules) {
  const MemorySpec& memory = rules.spec.memory;
  const topology::Bytes page = memory.page.value_or(topology::kib(4));
  if (memory.max && rules.sound("memory.size") && rules.sound("memory.max")) {
    const topology::Bytes block = std::max(page, topology::mib(2));
    if (*memory.max <= memory.size)
      rules.add("memory.max",
                fmt::format("{}, and memory.size is {}; wanted more than that", to_string(*memory.max),
                            to_string(memory.size)),
                "raise it, or remove it: the guest then keeps what it starts with");
    else if ((memory.max->count - memory.size.count) % block.count != 0)
      rules.add("memory.max",
                fmt::format("{} more than memory.size; wanted a multiple of {}, in which virtio-mem gives it",
                            to_string(topology::Bytes{memory.max->count - memory.size.count}), to_string(block)),
                fmt::format("set max = \"{}\"",
                            to_string(memory.size +
                                      topology::Bytes{((memory.max->count - memory.size.count) / block.count + 1) *
                                                      block.count})));
    if (memory.lock != MemorySpec::Lock::off && rules.sound("memory.lock"))
      rules.add("memory.lock", "locked memory cannot grow: QEMU refuses virtio-mem with it; wanted one of the two",
                "remove memory.max, or lock");
  }
  if (memory.merge && (page > topology::kib(4) || memory.shared) && rules.sound("memory.page"))
    rules.add("memory.merge",
              fmt::format("true with {}; wanted private 4K pages: the kernel merges no others (KSM)",
                          memory.shared ? "shared = true" : topology::to_string(page) + " pages"),
              memory.shared ? "remove shared, or merge" : "set page = \"4K\", or remove merge");
}

void check_nodes(Rules& rules) {
  if (!rules.spec.memory.nodes || !rules.sound("memory.nodes")) return;
  const std::vector<unsigned>& nodes = *rules.spec.memory.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (std::find(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(i), nodes[i]) !=
        nodes.begin() + static_cast<std::ptrdiff_t>(i))
      rules.add(fmt::format("memory.nodes[{}]", i),
                fmt::format("node {} is listed twice; wanted each node once", nodes[i]), "remove one of the two");
}

template <class Kind>
void check_queues(Rules& rules, std::string_view table) {
  const unsigned vcpus = rules.spec.cpu.count;
  for (const auto& [key, device] : rules.devices<Kind>(table)) {
    if (!device->queues || *device->queues <= vcpus || !rules.sound("cpu.count") || !rules.sound(key + ".queues"))
      continue;
    rules.add(
        key + ".queues",
        fmt::format("{} for {}; wanted at most one for each vCPU: more would stay idle",
                    count_of(*device->queues, "queue"), count_of(vcpus, "vCPU")),
        fmt::format("set queues = {}, or remove it for \"auto\", or raise cpu.count to {}", vcpus, *device->queues));
  }
}

void check_queues_of_all(Rules& rules) {
  check_queues<Disk>(rules, "disk");
  check_queues<Nic>(rules, "net");
}

// One problem for each device whose value an earlier one has; "" values are no value.
template <class Kind, class Value, class Message>
void check_unique(Rules& rules, std::string_view table, std::string_view key, const Value& value,
                  const Message& message) {
  std::map<std::string, std::string> seen;
  for (const auto& [name, device] : rules.devices<Kind>(table)) {
    const std::string own = value(*device), full = fmt::format("{}.{}", name, key);
    if (own.empty() || !rules.sound(full)) continue;
    if (const auto [before, fresh] = seen.emplace(own, name); !fresh) {
      const auto [what, help] = message(*device, before->second);
      rules.add(full, what, help);
    }
  }
}

void check_duplicates(Rules& rules) {
  using Words = std::pair<std::string, std::string>;
  check_unique<Nic>(
      rules, "net", "mac", [](const Nic& nic) { return nic.mac; },
      [](const Nic& nic, const std::string& other) {
        return Words(fmt::format("{} is the address of {} too; wanted one of its own", nic.mac, other),
                     "change one, or remove it: it is then derived from the VM's name");
      });
  check_unique<Nic>(
      rules, "net", "tap", [](const Nic& nic) { return nic.tap; },
      [](const Nic& nic, const std::string& other) {
        return Words(fmt::format("{} is the tap of {} too; wanted one for each card", printable(nic.tap), other),
                     "name another tap, or use bridge = \"...\" and let vmrun make them");
      });
  check_unique<Credential>(
      rules, "credential", "name", [](const Credential& one) { return one.name; },
      [](const Credential& one, const std::string& other) {
        return Words(fmt::format("{} is the name of {} too; wanted each once", printable(one.name), other),
                     "remove one of the two");
      });
  check_unique<Share>(
      rules, "share", "tag", [](const Share& share) { return share.tag; },
      [](const Share& share, const std::string& other) {
        return Words(fmt::format("\"{}\" is the tag of {} too; wanted one of its own: the guest mounts by it",
                                 printable(share.tag), other),
                     "change one of the two");
      });
  check_unique<Disk>(
      rules, "disk", "serial", [](const Disk& disk) { return disk.serial; },
      [](const Disk& disk, const std::string& other) {
        return Words(fmt::format("\"{}\" is the serial of {} too; wanted one of its own: guests find disks by it",
                                 printable(disk.serial), other),
                     "change one, or remove it: it is then derived from the VM's name");
      });
  const auto disks = rules.devices<Disk>("disk");
  for (std::size_t i = 0; i < disks.size(); ++i)
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      const Disk &one = *disks[earlier].second, &two = *disks[i].second;
      if (two.path.empty() || one.path != two.path || (!one.writes() && !two.writes())) continue;
      rules.add(disks[i].first + ".path",
                fmt::format("this is the image of {} too, and not both are read-only; wanted one disk for a writable "
                            "image: two would destroy it",
                            disks[earlier].first),
                "name another image, or set read_only = true on both");
      break;
    }
}

// Disks that share something say the same of it as the first of them, or nothing.
void check_shared(Rules& rules) {
  const auto disks = rules.devices<Disk>("disk");
  std::map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < disks.size(); ++i)
    for (const std::string& name :
         {"pool " + disks[i].second->iothread_pool, "limit " + disks[i].second->limit.group}) {
      if (name.ends_with(' ')) continue;
      const auto [before, fresh] = first.emplace(name, i);
      if (fresh && name.starts_with("limit ") && !disks[i].second->limit.has_rates() &&
          rules.sound(disks[i].first + ".limit"))
        rules.add(disks[i].first + ".limit.group",
                  "nothing is said of this limit here or before; wanted its rates on the first disk that has it",
                  "add iops = ... or bytes = \"...\" to this disk's limit");
      if (fresh) continue;
      Disk one = *disks[before->second].second, two = *disks[i].second;
      if (name.starts_with("pool ")) one.limit = two.limit = {};
      if (name.starts_with("limit ")) one.iothread_pool = two.iothread_pool = "";
      for (Problem& problem : sharing_problems(one, disks[before->second].first, two, disks[i].first))
        if (rules.sound(problem.key)) rules.broken.push_back(std::move(problem));
    }
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

// What vmrun writes itself; a second one would contradict it or break the launch.
struct OwnOption {
  const char* name;
  const char* instead;
};
constexpr OwnOption own_options[] = {
    {"S", "remove it: vmrun starts every VM paused, pins it, and lets it go; `vmrun pause` stops it again"},
    {"daemonize", "remove it: `vmrun start` returns when the VM runs"},
    {"accel", "set accel = \"kvm\" or \"tcg\" instead"},
    {"enable-kvm", "set accel = \"kvm\" instead"},
    {"machine", "set machine = \"...\" instead"},
    {"M", "set machine = \"...\" instead"},
    {"cpu", "set cpu.model = \"...\" instead"},
    {"smp", "set cpu.count, cpu.sockets, cpu.cores and cpu.threads instead"},
    {"m", "set memory.size = \"...\" instead"},
    {"mem-path", "set memory.page = \"2M\" instead: huge pages need no mount"},
    {"mem-prealloc", "set memory.prealloc = true instead"},
    {"numa", "set memory.nodes = [...] instead: the guest's nodes mirror the host's"},
    {"kernel", "set boot.kernel = \"...\" instead"},
    {"initrd", "set boot.initrd = \"...\" instead"},
    {"append", "set boot.cmdline = \"...\" instead"},
    {"bios", "set boot.firmware = \"...\" instead"},
    {"name", "set name = \"...\" instead"},
    {"nodefaults", "remove it: vmrun gives it always"},
    {"no-user-config", "remove it: vmrun gives it always"},
    {"nographic", "remove it: a VM has no display unless you add one, and its console is [console]"},
    {"sandbox", "remove it: vmrun gives the whole sandbox always"},
    {"runas", "remove it: vmrun drops its rights before it starts QEMU; host.toml says as which user"},
    {"run-with", "remove it: vmrun drops its rights before it starts QEMU; host.toml says as which user"},
    {"chroot", "remove it: QEMU gets files as descriptors, and no path needs to be readable by it"},
    {"pidfile", "remove it: `vmrun show` tells the pid"},
    {"incoming", "remove it: vmrun starts guests afresh"},
};

void check_extra_args(Rules& rules) {
  for (std::size_t i = 0; i < rules.spec.extra_args.size(); ++i) {
    const std::string& arg = rules.spec.extra_args[i];
    const std::string key = fmt::format("extra_args[{}]", i);
    if (!rules.sound(key)) continue;
    if (arg.empty()) {
      rules.add(key, "is empty; wanted an option or its value", "remove it");
      continue;
    }
    std::string_view option = arg;
    for (int dashes = 0; dashes < 2 && option.starts_with('-'); ++dashes) option.remove_prefix(1);
    if (option.size() == arg.size()) continue;
    const std::string_view name = option.substr(0, option.find(' '));
    const auto* own = std::find_if(std::begin(own_options), std::end(own_options),
                                   [name](const OwnOption& o) { return name == o.name; });
    if (own != std::end(own_options))
      rules.add(key, fmt::format("-{} is what vmrun decides itself; wanted other options only", own->name),
                own->instead);
    else if (arg.find(' ') != arg.npos && arg.find(',') == arg.npos)
      rules.add(key, fmt::format("\"{}\" is an option and its value in one; wanted two strings", printable(arg)),
                fmt::format("write \"{}\", \"{}\"", printable(arg.substr(0, arg.find(' '))),
                            printable(arg.substr(arg.find(' ') + 1))));
  }
}

}  // namespace

Problems broken_rules(const Spec& spec, const Problems& found) {
  Rules rules{spec, found, {}};
  for (void (*check)(Rules&) :
       {check_name, check_machine, check_accel, check_topology, check_pins, check_memory, check_memory_kinds,
        check_nodes, check_queues_of_all, check_duplicates, check_shared, check_boot, check_extra_args})
    check(rules);
  for (Problem& problem : cpu_rules(spec, [&](std::string_view key) { return rules.sound(key); }))
    rules.broken.push_back(std::move(problem));
  return std::move(rules.broken);
}

}  // namespace launcher::inline spec
