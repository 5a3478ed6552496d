// extra_args: QEMU's options that are vmrun's own.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "launcher/spec/rules_parts.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

namespace {

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

}  // namespace

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

}  // namespace launcher::spec
