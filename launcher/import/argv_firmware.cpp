// What a command line boots with: firmware, kernel, and the order in which devices are tried.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"

namespace launcher::inline import {

namespace {

struct Flash {
  std::string code, variables, variables_format;
};

// Of -drive if=pflash, -pflash, and -machine pflash0=NODE.
Flash flash_of(ArgvWalk& walk) {
  Flash flash;
  unsigned unit = 0;
  const auto take = [&](const std::string& file, std::uint64_t at, bool read_only) {
    (at == 0 || read_only ? flash.code : flash.variables) = file;
    unit = static_cast<unsigned>(at) + 1;
  };
  for (ArgvOption* drive : walk.every("drive"))
    if (drive->is("if", "pflash")) {
      take(drive->get("file"), drive->number("unit").value_or(unit), drive->on("readonly") || drive->on("read-only"));
      drive->tell_rest(Verb::changed, "boot.firmware = \"uefi\"");
    }
  for (ArgvOption* option : walk.every("pflash")) {
    take(option->value, unit, false);
    option->tell_rest(Verb::changed, "boot.firmware = \"uefi\"");
  }
  ArgvOption* machine = walk.find("machine");
  for (const std::uint64_t at : {0, 1}) {
    const std::string key = fmt::format("pflash{}", at);
    if (machine == nullptr || !machine->has(key)) continue;
    const ArgvSource source = source_of(walk, machine->get(key));
    take(source.path, at, false);
    machine->kept(key, "boot.firmware = \"uefi\"");
    for (ArgvOption* part : source.parts) part->tell_rest(Verb::changed, "boot.firmware = \"uefi\"");
  }
  return flash;
}

void uefi(ArgvWalk& walk, const Flash& flash) {
  walk.spec.text("boot", "firmware", "uefi", flash.code);
  const ArgvOption* machine = walk.find("machine");
  const bool smm = machine != nullptr && machine->on("smm");
  const bool guarded = flash.code.find("secboot") != flash.code.npos || flash.code.find(".ms.") != flash.code.npos;
  if (smm && guarded) {
    walk.spec.flag("boot", "secure_boot", true);
    walk.spec.remove("", "sleep");
    walk.missing("Secure Boot", Verb::changed,
                 "boot.secure_boot = true, by the firmware's name: a disk boots only what Microsoft's keys have "
                 "signed; and no sleep");
  }
  if (flash.variables.empty()) return;
  const bool file = is_file_path(flash.variables) && !flash.variables.starts_with("/dev/");
  const bool adopted = walk.options.adopt_state && file;
  if (adopted) walk.variables = flash.variables;
  walk.missing(
      "UEFI variables " + flash.variables, adopted ? Verb::kept : Verb::dropped,
      adopted ? "copied to vmrun's state of the VM"
      : file  ? "the VM starts with fresh ones: its boot entries and own keys are gone; --adopt-state copies this file"
              : "the VM starts with fresh ones: its boot entries and own keys are gone");
}

void kernel(ArgvWalk& walk) {
  const ArgvOption* kernel = walk.find("kernel");
  for (const auto& [name, key] : {std::pair("kernel", "kernel"), {"initrd", "initrd"}, {"append", "cmdline"}}) {
    ArgvOption* option = walk.find(name);
    if (option == nullptr) continue;
    if (kernel != nullptr && !option->value.empty()) walk.spec.text("boot", key, option->value);
    option->kept_if(kernel != nullptr, "", fmt::format("boot.{}", key), "no -kernel stands beside it");
  }
}

}  // namespace

void argv_firmware(ArgvWalk& walk) {
  const Flash flash = flash_of(walk);
  ArgvOption* bios = walk.find("bios");
  const bool ovmf = bios != nullptr && bios->value.find("OVMF") != bios->value.npos;
  if (!flash.code.empty() || ovmf) uefi(walk, ovmf && flash.code.empty() ? Flash{bios->value, "", ""} : flash);
  if (ovmf) {
    bios->tell("", Verb::changed, "boot.firmware = \"uefi\", whose variables are kept between runs");
  } else if (bios != nullptr) {
    const bool file = is_file_path(bios->value);
    if (file) walk.spec.text("boot", "firmware", bios->value);
    bios->tell("", file ? Verb::kept : Verb::changed, file ? "boot.firmware" : "QEMU's own SeaBIOS");
  }
  kernel(walk);
}

}  // namespace launcher::import
