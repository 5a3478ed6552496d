#include "launcher/guest/new_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

namespace launcher::inline guest {

using topology::Bytes;
using topology::gib;
using topology::mib;

namespace {

// A JSON string is a basic string of TOML, but for "\/", which nobody writes.
std::string quoted(const std::string& text) { return boost::json::serialize(boost::json::string(text)); }

std::string quoted_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ",\n            ") + quoted(text);
  return "[" + list + "]";
}

std::string net_table(const NewVm& vm) {
  const std::string model =
      vm.emulated ? "model = \"e1000e\"             # \"virtio\", which is faster, once the guest has drivers\n" : "";
  if (!vm.bridge.empty()) return fmt::format("\n[[net]]\n{}bridge = {}\n", model, quoted(vm.bridge));
  const std::string mode = vm.passt
                               ? "mode = \"passt\"              # or bridge = \"br0\"\n"
                               : "mode = \"user\"               # leads in only; passt (apt install passt) out, too\n";
  if (!vm.port) return "\n[[net]]\n" + model + mode;
  return fmt::format("\n[[net]]\n{}{}forward = [\"tcp:127.0.0.1:{}:22\"]\n", model, mode, *vm.port);
}

std::string disk_table(const NewVm& vm) {
  const std::string what = vm.image.empty() ? "empty: the installation's target"
                                            : "what changes, on top of the image below, which is never written";
  std::string text = fmt::format("\n[[disk]]\npath = {}  # {}\n", quoted(vm.disk), what);
  if (vm.emulated)
    text += "interface = \"sata\"           # \"virtio-blk\", which is faster, once the guest has drivers\n";
  if (!vm.image.empty()) text += fmt::format("# image: {}\n", boost::json::serialize(boost::json::string(vm.image)));
  return text;
}

std::string cloud_init_table(const NewVm& vm) {
  std::string text = fmt::format("\n[cloud_init]\nuser = {}\n", quoted(vm.user));
  if (!vm.ssh_keys.empty()) text += fmt::format("ssh_keys = {}\n", quoted_list(vm.ssh_keys));
  return text + "#packages = [\"qemu-guest-agent\"]  # needs a network that leads out\n";
}

}  // namespace

std::string new_spec(const NewVm& vm) {
  std::string text = fmt::format("# VM {0}: `vmrun start {0}.toml`{1}. Every key: vmrun.toml(5).\n", vm.name,
                                 vm.image.empty() ? "" : ", then `vmrun ssh " + vm.name + "`");
  if (!vm.profile.empty()) text += fmt::format("profile = {}\n", quoted(vm.profile));
  text += fmt::format("\n[cpu]\ncount = {}\n\n[memory]\nsize = {}\n", vm.cpus, quoted(to_string(vm.memory)));
  text += disk_table(vm);
  for (const std::string& cd : vm.cds) text += fmt::format("\n[[cdrom]]\npath = {}\n", quoted(cd));
  text += net_table(vm);
  if (!vm.image.empty()) text += cloud_init_table(vm);
  if (!vm.cds.empty()) text += "\n[display]                    # `vmrun view` shows it\n";
  if (vm.vsock)
    text += "\n[vsock]                      # for `vmrun ssh`, whatever becomes of the network (systemd 256)\n";
  return text + "\n[agent]\n\n[rng]\n";
}

unsigned fitting_cpus(std::size_t of_host) { return static_cast<unsigned>(std::clamp<std::size_t>(of_host / 2, 1, 4)); }

Bytes fitting_memory(Bytes available, bool windows) {
  const std::uint64_t step = mib(512).count;
  const std::uint64_t quarter = available.count / 4 / step * step;
  return Bytes{std::clamp(quarter, windows ? gib(4).count : step, gib(windows ? 8 : 4).count)};
}

}  // namespace launcher::guest
