// The display's keys, and what they become on the command line. The rule: nobody but the VM's owner reaches the screen:
// a socket in a directory of QEMU's user, or the loopback address with a password.
#include "launcher/devices/display.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/usb.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {
constexpr unsigned first_vnc_port = 5900;  // display number 0

bool is_address(const std::string& text) {
  in6_addr ignored;
  return inet_pton(AF_INET, text.c_str(), &ignored) == 1 || inet_pton(AF_INET6, text.c_str(), &ignored) == 1;
}
}

Display Display::read(TableReader& table) {
  Display display;
  display.port = table.integer_or_auto("port", first_vnc_port, 65535);
  display.address = table.text("address", "127.0.0.1");
  display.password_file = table.path("password_file", false);
  if (display.port && display.password_file.empty())
    table.problem("port", "given without password_file; wanted both: every user of this host can reach a local port",
                  "add password_file, or remove port: the screen is then a socket that only you can open");
  if (!is_address(display.address))
    table.problem("address", "is no IPv4 or IPv6 address; wanted one of this host's, or \"0.0.0.0\" for all",
                  "remove it for \"127.0.0.1\"");
  else if (display.address != "127.0.0.1" && !display.port)
    table.problem("address", "given without port; wanted both", "add port = 5900 and password_file, or remove address");
  return display;
}

Display::Facts look_at(const Display& display) {
  return {display.password_file.empty() ? "" : misfit(display.password_file, {S_IFREG})};
}
Display::Facts assumed(const Display&) { return {}; }
DeviceNeeds needs(const Display&, const Display::Facts&, unsigned) { return {}; }

void plan_device(const Display& display, const Display::Facts& facts, DeviceContext& context) {
  if (!facts.misfit.empty())
    context.problem("password_file", facts.misfit + "; wanted a regular file with the password",
                    "correct the path or its permissions, or remove it and port: the screen is then a socket that only "
                    "you can open");
  if (!context.qemu.has("VGA"))
    context.problem("port", "QEMU " + context.qemu.version + " has no VGA device; wanted one that has",
                    "remove [display], or set another qemu in /etc/vmrun/host.toml");
  Opts device("VGA");
  device.set("id", "display0");
  context.set_address(device);
  context.args.add("-device", device, "a screen that every firmware knows", "spec display");
  const std::string folder = context.run_dir + "/display";
  const bool v6 = display.address.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + display.address + "]" : display.address;
  Opts vnc(display.port ? fmt::format("{}:{}", host, *display.port - first_vnc_port) : "unix:" + folder + "/vnc.sock");
  if (!display.port)
    context.steps.push_back({KeepDirectory{folder, true}, "QEMU makes its VNC socket here", "spec display"});
  if (!display.password_file.empty()) {
    const int fd = context.fds.take("VNC password");
    context.steps.push_back({OpenFile{display.password_file, false, true, fd}, "QEMU gets the open file, not the path",
                             context.origin("password_file")});
    context.args.add("-object",
                     Opts("secret").set("id", "vnc-password").set("file", fmt::format("/proc/self/fd/{}", fd)),
                     "never on a command line", context.origin("password_file"));
    vnc.set("password-secret", "vnc-password");
  }
  if (display.port && !display.address.starts_with("127.") && display.address != "::1")
    context.note("address", "others reach this port; VNC sends what is typed in clear, and a password has 8 bytes");
  take_usb_port(context, "ports for the tablet", "spec display");
  context.args.add("-device", Opts("usb-tablet").set("id", "tablet0").set("bus", "xhci.0"),
                   "the pointer is where the viewer's is", "spec display");
  context.args.add("-vnc", vnc, "the screen", display.port ? context.origin("port") : "spec display");
}

}  // namespace launcher::devices
