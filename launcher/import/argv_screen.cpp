// What a person sees of the guest: screen and console; and QEMU's own sockets, which are vmrun's.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/serial.hpp"
#include "launcher/import/argv.hpp"

namespace launcher::inline import {

namespace {

bool is_video(const std::string& kind) {
  constexpr std::string_view kinds[] = {
      "VGA",     "secondary-vga", "virtio-vga", "virtio-vga-gl", "virtio-gpu-pci", "virtio-gpu-gl-pci",
      "qxl-vga", "qxl",           "cirrus-vga", "vmware-svga",   "bochs-display",  "ramfb",
      "ati-vga"};
  return std::ranges::find(kinds, kind) != std::end(kinds);
}

void screen(ArgvWalk& walk) {
  bool wanted = walk.defaults;
  const char* words = "[display]: VNC at a socket that only you can open; port and password_file open an address";
  for (ArgvOption& option : walk.all) {
    const bool none = option.get("type") == "none" || option.value == "none";
    if (option.name == "vnc" && !none) {
      wanted = true;
      option.tell("address", Verb::changed, words);
      for (const char* key : {"password", "password-secret"})
        option.tell(key, Verb::dropped, "not copied: display.password_file");
      option.tell_rest(Verb::dropped, "QEMU's VNC server by its defaults");
    } else if (option.name == "spice" || (option.name == "display" && !none)) {
      wanted = true;
      option.tell_rest(
          option.name == "spice" ? Verb::dropped : Verb::changed,
          option.name == "spice" ? "[display]: VNC in its place, without sound, USB or clipboard through it" : words);
    } else if (option.name == "vga" && none) {
      option.kept("", "no card of its own");
      if (walk.find("vnc") == nullptr) wanted = false;
    } else if (option.name == "vga") {
      wanted = true;
      option.tell("", option.value == "std" ? Verb::kept : Verb::changed,
                  "a plain VGA card with [display]: no 3D, other modes");
    } else if (option.name == "device" && is_video(option.kind())) {
      wanted = true;
      option.tell("driver", option.kind() == "VGA" ? Verb::kept : Verb::changed,
                  "a plain VGA card with [display]: no 3D, other modes");
      option.tell_rest(Verb::changed, "of a plain VGA card, by QEMU's defaults");
    } else if (none && (option.name == "display" || option.name == "vnc")) {
      option.tell_rest(Verb::kept, "no screen of this kind");
      if (walk.find("vnc") == nullptr || option.name == "vnc")
        wanted = option.name == "vnc" ? wanted : walk.find("spice") != nullptr;
    } else if (option.name == "nographic") {
      wanted = false;
      option.kept("", "no [display]");
    }
  }
  if (!wanted) return;
  walk.spec.text("display", "port", "auto", "VNC at /run/vmrun/NAME/display/vnc.sock");
  if (walk.find("vnc") == nullptr && walk.find("display") == nullptr && walk.find("spice") == nullptr &&
      walk.find("vga") == nullptr)
    walk.missing("-display", Verb::changed, words);
}

// The file of "file:/var/log/x", or of a chardev.
std::string log_of(ArgvWalk& walk, const std::string& text) {
  if (text.starts_with("file:")) return text.substr(5);
  if (!text.starts_with("chardev:")) return "";
  const ArgvOption* line = walk.by_id("chardev", text.substr(8));
  return line == nullptr ? "" : line->kind() == "file" ? line->get("path") : line->get("logfile");
}

void console(ArgvWalk& walk) {
  std::vector<std::pair<ArgvOption*, std::string>> ports;  // and what they lead to
  for (ArgvOption& option : walk.all) {
    if (option.name == "serial" && option.value != "none") ports.emplace_back(&option, option.value);
    if (option.name == "device" && option.kind() == "isa-serial")
      ports.emplace_back(&option, "chardev:" + option.get("chardev"));
    if (option.name == "nographic" && walk.find("serial") == nullptr) ports.emplace_back(&option, "stdio");
    if (option.name == "serial" && option.value == "none") option.kept("", "console.mode = \"none\"");
  }
  const bool usual = walk.defaults && walk.find("serial") == nullptr;
  if (ports.empty()) walk.spec.text("console", "mode", usual ? "socket" : "none");
  for (std::size_t i = 0; i < ports.size(); ++i) {
    auto& [option, leads] = ports[i];
    ArgvOption* line = leads.starts_with("chardev:") ? walk.by_id("chardev", leads.substr(8)) : nullptr;
    if (i > most_serials) {
      option->tell_rest(Verb::dropped, "a PC has four serial ports, and all are taken");
      if (line != nullptr) line->tell_rest(Verb::dropped, "of that port");
      continue;
    }
    if (i == 0) walk.spec.text("console", "mode", "stdio");
    const std::string table = i == 0 ? "console" : walk.spec.add("serial"), log = log_of(walk, leads);
    if (is_file_path(log)) walk.spec.text(table, "log", log, "appended to, at most log_size");
    const std::string shown = i == 0 ? "[console]" : table;
    const bool same = leads == "stdio" || leads == "mon:stdio" || leads == "pty" || is_file_path(log);
    option->tell_rest(same ? Verb::kept : Verb::changed, fmt::format("{}, reached by `vmrun console NAME{}`", shown,
                                                                     i == 0 ? "" : fmt::format(" --port {}", i + 1)));
    if (line != nullptr) line->tell_rest(same || line->kind() == "pty" ? Verb::kept : Verb::changed, shown);
  }
}

}  // namespace

void argv_screen(ArgvWalk& walk) {
  screen(walk);
  console(walk);
  for (ArgvOption& option : walk.all) {
    const bool monitor =
        option.name == "mon" || option.name == "monitor" || option.name == "qmp" || option.name == "qmp-pretty";
    if (!monitor) continue;
    option.tell_rest(Verb::better, "vmrun has monitors of its own: `vmrun qmp NAME`");
    const std::string id = option.name == "mon"                   ? option.get("chardev")
                           : option.value.starts_with("chardev:") ? option.value.substr(8)
                                                                  : "";
    if (ArgvOption* line = walk.by_id("chardev", id)) line->tell_rest(Verb::better, "of a monitor; vmrun has its own");
  }
}

}  // namespace launcher::import
