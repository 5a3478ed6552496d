#include "launcher/facts/pci_function.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <set>
#include <sstream>
#include <system_error>

#include "launcher/facts/default_route.hpp"

namespace launcher::inline facts {

namespace fs = std::filesystem;
using topology::Sysfs;

namespace {

constexpr std::string_view functions = "/sys/bus/pci/devices/";

std::string file_of(const std::string& address, std::string_view name) {
  return fmt::format("{}{}/{}", functions, address, name);
}

struct Number {
  unsigned domain = 0, bus = 0, device = 0, function = 0;
};

std::optional<Number> parse(const std::string& text) {
  Number number;
  int used = 0;
  if (std::sscanf(text.c_str(), "%4x:%2x:%2x.%1x%n", &number.domain, &number.bus, &number.device, &number.function,
                  &used) != 4 ||
      used != static_cast<int>(text.size()) || number.device > 31 || number.function > 7)
    return std::nullopt;
  return number;
}

fs::path real_path(const Sysfs& sysfs, std::string_view path) {
  std::error_code error;
  const fs::path real = fs::canonical(sysfs.at(path), error);
  return error ? fs::path{} : real;
}

bool lies_below(const fs::path& path, const fs::path& device) {
  return !path.empty() && !device.empty() && path.string().starts_with(device.string() + "/");
}

// Names of a class ("block", "net", "drm") that belong to the function. A multipath NVMe disk hangs on its subsystem,
// which links to its controllers.
std::vector<std::string> names_below(const Sysfs& sysfs, const std::string& kind, const fs::path& device) {
  std::vector<std::string> names;
  const std::string all = "/sys/class/" + kind;
  for (const std::string& name : sysfs.list(all)) {
    const fs::path real = real_path(sysfs, fmt::format("{}/{}", all, name));
    bool ours = lies_below(real, device);
    if (!ours && real.string().find("/nvme-subsystem/") != std::string::npos) {
      std::error_code error;
      for (fs::path up = real.parent_path(); !ours && up.filename().string().starts_with("nvme"); up = up.parent_path())
        for (const auto& entry : fs::directory_iterator(up, error))
          ours = ours || (entry.is_symlink(error) && lies_below(fs::canonical(entry.path(), error), device));
    }
    if (ours) names.push_back(name);
  }
  return names;
}

// Where a block device is mounted, by its number or, for file systems of several devices, by its name.
void add_mounts(const Sysfs& sysfs, const std::string& name, std::vector<std::string>& uses) {
  const std::string number = sysfs.read("/sys/class/block/" + name + "/dev").value_or("?");
  std::istringstream mounts(sysfs.read("/proc/1/mountinfo").value_or(sysfs.read("/proc/self/mountinfo").value_or("")));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, word;
    words >> id >> parent >> device >> root >> point;
    while (words >> word && word != "-") {
    }
    std::string type, source;
    words >> type >> source;
    if (device == number || source == "/dev/" + name) {
      uses.push_back(fmt::format("{} is mounted on {}", name, point));
      return;
    }
  }
}

void add_block_uses(const Sysfs& sysfs, const std::string& name, std::vector<std::string>& uses) {
  add_mounts(sysfs, name, uses);
  std::istringstream swaps(sysfs.read("/proc/swaps").value_or(""));
  for (std::string line; std::getline(swaps, line);)
    if (line.starts_with("/dev/" + name + " ")) uses.push_back(name + " is swap space");
  for (const std::string& holder : sysfs.list("/sys/class/block/" + name + "/holders"))
    uses.push_back(fmt::format("{} is part of {}", name, holder));
}

void add_net_uses(const Sysfs& sysfs, const std::string& name, std::vector<std::string>& uses) {
  const std::string net = "/sys/class/net/" + name + "/";
  constexpr unsigned long up = 1;  // IFF_UP, include/uapi/linux/if.h
  if (default_routes(sysfs).contains(name)) {
    uses.push_back(fmt::format("interface {} carries the default route", name));
    return;
  }
  if (const auto master = sysfs.link_name(net + "master"))
    uses.push_back(fmt::format("interface {} is part of {}", name, *master));
  else if (std::strtoul(sysfs.read(net + "flags").value_or("0").c_str(), nullptr, 16) & up)
    uses.push_back(fmt::format("interface {} is up (`ip link set {} down` frees it)", name, name));
}

// Who has one of these device files open: a VM whose disk it is, a display server.
void add_openers(const Sysfs& sysfs, const std::set<std::string>& nodes, std::vector<std::string>& uses) {
  if (nodes.empty()) return;
  for (const std::string& pid : sysfs.list("/proc")) {
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    std::error_code error;
    for (fs::directory_iterator fd(sysfs.at("/proc/" + pid + "/fd"), error), end; !error && fd != end;
         fd.increment(error)) {
      std::error_code gone;
      const std::string target = fs::read_symlink(fd->path(), gone).string();
      if (gone || !nodes.contains(target)) continue;
      uses.push_back(
          fmt::format("process {} ({}) has {} open", pid, sysfs.read("/proc/" + pid + "/comm").value_or("?"), target));
      break;
    }
  }
}

std::string slow_link(const Sysfs& sysfs, const std::string& address) {
  const auto both = [&](const char* what) {
    return std::pair(sysfs.read(file_of(address, std::string("current_link_") + what)).value_or(""),
                     sysfs.read(file_of(address, std::string("max_link_") + what)).value_or(""));
  };
  const auto [width, most] = both("width");
  const auto [speed, fastest] = both("speed");
  std::string text;
  const auto number = [](const std::string& value) { return std::strtod(value.c_str(), nullptr); };  // "8.0 GT/s PCIe"
  if (number(width) > 0 && number(width) < number(most)) text = fmt::format("width {} of {}", width, most);
  if (number(speed) > 0 && number(speed) < number(fastest))
    text += fmt::format("{}{:g} of {:g} GT/s", text.empty() ? "" : ", ", number(speed), number(fastest));
  return text;
}

std::vector<PciNeighbour> neighbours_of(const Sysfs& sysfs, const std::string& address) {
  std::vector<PciNeighbour> neighbours;
  for (const std::string& other : sysfs.list(file_of(address, "iommu_group/devices"))) {
    if (other == address) continue;
    const std::string kind = sysfs.read(file_of(other, "class")).value_or("");
    neighbours.push_back({other, sysfs.link_name(file_of(other, "driver")).value_or(""), kind.starts_with("0x06")});
  }
  return neighbours;
}

}  // namespace

std::optional<std::string> pci_function_address(std::string_view text) {
  std::string whole(text);
  if (std::count(whole.begin(), whole.end(), ':') == 1) whole = "0000:" + whole;
  const auto number = whole.size() == 12 ? parse(whole) : std::nullopt;
  if (!number) return std::nullopt;
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", number->domain, number->bus, number->device, number->function);
}

std::string vf_address(const PciFunction& physical, unsigned vf) {
  const Number number = parse(physical.address).value_or(Number{});
  const unsigned id =
      (number.bus << 8 | number.device << 3 | number.function) + physical.vf_offset + vf * physical.vf_step;
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", number.domain, id >> 8 & 0xff, id >> 3 & 0x1f, id & 7);
}

bool is_bridge(const PciFunction& function) { return function.class_id.starts_with("06"); }

std::vector<std::string> uses_below(const Sysfs& sysfs, const std::string& path) {
  std::vector<std::string> uses;
  const fs::path device = real_path(sysfs, path);
  std::set<std::string> nodes;
  for (const std::string& name : names_below(sysfs, "block", device)) {
    add_block_uses(sysfs, name, uses);
    nodes.insert("/dev/" + name);
  }
  for (const std::string& name : names_below(sysfs, "drm", device)) nodes.insert("/dev/dri/" + name);
  for (const std::string& name : names_below(sysfs, "net", device)) add_net_uses(sysfs, name, uses);
  if (uses.empty()) add_openers(sysfs, nodes, uses);
  return uses;
}

std::optional<PciFunction> look_at_function(const Sysfs& sysfs, const std::string& address) {
  if (!sysfs.exists(std::string(functions) + address)) return std::nullopt;
  const auto number = [&](const char* file) {
    return static_cast<unsigned>(sysfs.read_number(file_of(address, file)).value_or(0));
  };
  PciFunction function;
  function.address = address;
  function.class_id = sysfs.read(file_of(address, "class")).value_or("0x");
  function.class_id.erase(0, 2);
  function.node = sysfs.node_of(std::string(functions) + address);
  function.driver = sysfs.link_name(file_of(address, "driver")).value_or("");
  function.driver_override = sysfs.read(file_of(address, "driver_override")).value_or("");
  if (function.driver_override == "(null)") function.driver_override.clear();
  function.iommu = sysfs.exists(file_of(address, "iommu_group"));
  function.neighbours = neighbours_of(sysfs, address);
  function.slow_link = slow_link(sysfs, address);
  function.total_vfs = number("sriov_totalvfs");
  function.vf_offset = number("sriov_offset");
  function.vf_step = number("sriov_stride");
  for (unsigned vf = 0; vf < number("sriov_numvfs"); ++vf)
    function.vfs.push_back(sysfs.link_name(file_of(address, fmt::format("virtfn{}", vf))).value_or(""));
  function.uses = uses_below(sysfs, std::string(functions) + address);
  if (!function.vfs.empty()) function.uses.push_back(fmt::format("it has {} virtual functions", function.vfs.size()));
  if (is_bridge(function)) function.uses.push_back("it is a bridge, which only hosts have");
  return function;
}

std::vector<std::string> functions_of_class(const Sysfs& sysfs, std::string_view class_prefix) {
  std::vector<std::string> found;
  for (const std::string& address : sysfs.list("/sys/bus/pci/devices"))
    if (sysfs.read(file_of(address, "class")).value_or("").starts_with(fmt::format("0x{}", class_prefix)))
      found.push_back(address);
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<std::string> function_of_interface(const Sysfs& sysfs, const std::string& interface) {
  // a virtio card's interface hangs on its virtio device, which hangs on the function
  fs::path up = real_path(sysfs, "/sys/class/net/" + interface + "/device");
  for (; up.has_relative_path(); up = up.parent_path())
    if (const auto address = pci_function_address(up.filename().string())) return address;
  return std::nullopt;
}

std::vector<std::string> interfaces_of(const Sysfs& sysfs, const std::string& address) {
  return names_below(sysfs, "net", real_path(sysfs, std::string(functions) + address));
}

}  // namespace launcher::facts
