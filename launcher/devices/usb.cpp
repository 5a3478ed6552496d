#include "launcher/devices/usb.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/pci_function.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

using topology::Sysfs;

namespace {

constexpr const char* devices = "/sys/bus/usb/devices/";

bool is_hex(unsigned char c) { return std::isxdigit(c) != 0; }
bool is_digit(unsigned char c) { return std::isdigit(c) != 0; }

bool is_id(const std::string& text) {
  return text.size() == 9 && text[4] == ':' && std::all_of(text.begin(), text.begin() + 4, is_hex) &&
         std::all_of(text.begin() + 5, text.end(), is_hex);
}

// "1-2.3": numbers, one '-' after the first, '.' between the others.
bool is_port(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (text.size() > 20 || dash == 0 || dash == text.npos || text.rfind('-') != dash) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool mark = i == dash || (text[i] == '.' && i > dash);
    if (mark ? i + 1 == text.size() || !is_digit(static_cast<unsigned char>(text[i + 1]))
             : !is_digit(static_cast<unsigned char>(text[i])))
      return false;
  }
  return true;
}

std::string ports_text(const std::vector<Usb::Found>& found) {
  std::vector<std::string> ports;
  ports.reserve(found.size());
  for (const Usb::Found& one : found) ports.push_back(one.port);
  return fmt::format("{}", fmt::join(ports, ", "));
}

}  // namespace

Usb Usb::read(TableReader& table) {
  Usb usb;
  usb.id = table.text("id", "");
  usb.port = table.text("port", "");
  if (!usb.id.empty() && !is_id(usb.id)) {
    table.problem("id",
                  fmt::format("\"{}\" names no USB device; wanted vendor and product in four hex digits each", usb.id),
                  "for example id = \"046d:c52b\"; `lsusb` lists what this host has");
    usb.id.clear();
  } else if (!usb.port.empty() && !is_port(usb.port)) {
    table.problem("port",
                  fmt::format("\"{}\" names no USB port; wanted the bus, '-', and the ports on the way", usb.port),
                  "for example port = \"1-2.3\"; `lsusb -t` shows the tree");
    usb.port.clear();
  } else if (table.has("id") == table.has("port")) {
    table.problem(table.has("id") ? "port" : "id",
                  table.has("id") ? "given together with id; wanted one of them"
                                  : "this table says not which device; wanted id or port",
                  "id = \"046d:c52b\" takes the one device of that kind, port = \"1-2\" what is plugged in there");
  }
  std::transform(usb.id.begin(), usb.id.end(), usb.id.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return usb;
}

Usb::Facts look_at(const Usb& usb) { return look_at(usb, Sysfs{}); }

Usb::Facts look_at(const Usb& usb, const Sysfs& sysfs) {
  Usb::Facts facts;
  for (const std::string& port : sysfs.list(devices)) {
    const auto file = [&](const char* name) { return sysfs.read(devices + port + "/" + name).value_or(""); };
    const auto number = [&](const char* name) { return sysfs.read_number(devices + port + "/" + name).value_or(0); };
    if (!is_port(port)) continue;  // an interface ("1-2:1.0") or a root hub ("usb1")
    const std::string id = file("idVendor") + ":" + file("idProduct");
    if (usb.id.empty() ? port != usb.port : id != usb.id) continue;
    facts.found.push_back({port, id, fmt::format("/dev/bus/usb/{:03}/{:03}", number("busnum"), number("devnum")),
                           file("bDeviceClass") == "09", uses_below(sysfs, devices + port)});
  }
  return facts;
}

// Of another machine: plugged in, and free.
Usb::Facts assumed(const Usb& usb) {
  const std::string port = usb.port.empty() ? "1-1" : usb.port;
  return {{{port, usb.id, "/dev/bus/usb/001/002", false, {}}}};
}

DeviceNeeds needs(const Usb&, const Usb::Facts&, unsigned) { return {}; }

namespace {

void check(const Usb& usb, const Usb::Facts& facts, const DeviceContext& context) {
  const std::string key = usb.id.empty() ? "port" : "id";
  const std::string named = usb.id.empty() ? "at port " + usb.port : usb.id;
  if (facts.found.empty())
    context.problem(key, fmt::format("this host has no USB device {}", named), "`lsusb` lists what is plugged in");
  else if (facts.found.size() > 1)
    context.problem(
        key, fmt::format("{} USB devices are {}: at ports {}", facts.found.size(), named, ports_text(facts.found)),
        "name one by port");
  else if (facts.found[0].hub)
    context.problem(key, fmt::format("USB device {} is a hub, which only hosts have", named),
                    "name what is plugged into it");
  else if (!facts.found[0].uses.empty())
    context.problem(key, fmt::format("this host uses USB device {}: {}", named, fmt::join(facts.found[0].uses, "; ")),
                    "free it first");
  if (!context.qemu.has("usb-host.hostdevice"))
    context.problem(key, fmt::format("QEMU {} was built without USB passthrough", context.qemu.version),
                    "remove this table, or set another qemu in /etc/vmrun/host.toml");
  if (context.index >= most_usb_devices ||
      (context.results.used_slots.contains("xhci") && context.results.used_slots["xhci"] >= most_usb_devices))
    context.problem(key, fmt::format("more than {} USB devices", most_usb_devices), "remove some");
}

}  // namespace

void take_usb_port(DeviceContext& context, const std::string& why, const std::string& origin) {
  if (context.results.used_slots["xhci"]++ > 0) return;
  Opts controller("qemu-xhci");
  controller.set("id", "xhci").set("p2", most_usb_devices).set("p3", most_usb_devices);
  set_address(controller, Single::usb);
  context.args.add("-device", controller, why, origin);
}

void plan_device(const Usb& usb, const Usb::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  check(usb, facts, context);
  if (context.problems.size() > problems) return;
  const std::string key = usb.id.empty() ? "port" : "id";
  const Usb::Found& device = facts.found.front();
  context.claim(key, "USB device at port " + device.port);
  take_usb_port(context, "USB 2 and 3 ports for what is passed on", context.origin(key));
  const int fd = context.fds.take("usb" + std::to_string(context.index));
  context.steps.push_back(
      {TakeUsb{device.port, device.node, fd}, "QEMU gets the open device, not the path", context.origin(key)});
  context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", device.node), "the open device",
                   context.origin(key));
  context.args.add("-device",
                   Opts("usb-host")
                       .set("id", fmt::format("usb{}", context.index))
                       .set("bus", "xhci.0")
                       .set("hostdevice", fmt::format("/dev/fdset/{}", fd)),
                   fmt::format("the host's USB device at port {}", device.port), context.origin(key));
}

}  // namespace launcher::devices
