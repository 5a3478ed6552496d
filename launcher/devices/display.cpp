// The display's keys, and what they become on the command line. The rule: nobody but the VM's owner reaches the screen:
// a socket in a directory of QEMU's user, or the loopback address with a password.
#include "launcher/devices/display.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {
constexpr unsigned first_vnc_port = 5900;  // display number 0
}

Display Display::read(TableReader& table) {
  Display display;
  display.port = table.integer_or_auto("port", first_vnc_port, 65535);
  display.password_file = table.path("password_file", false);
  if (display.port && display.password_file.empty())
    table.problem("port", "given without password_file; wanted both: every user of this host can reach a local port",
                  "add password_file, or remove port: the screen is then a socket that only you can open");
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
  Opts vnc(display.port ? fmt::format("127.0.0.1:{}", *display.port - first_vnc_port) : "unix:" + folder + "/vnc.sock");
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
  context.args.add("-vnc", vnc, "the screen", display.port ? context.origin("port") : "spec display");
}

}  // namespace launcher::devices
