// Board, firmware, kernel, order of boot, clocks, and what the board tells the guest of itself.
#include <fmt/format.h>

#include "launcher/import/walk.hpp"
#include "launcher/spec/rules.hpp"

namespace launcher::inline import {

namespace {

void machine_of(Walk& walk, const XmlElement& os) {
  const Leaf type = walk.at(os, "type"), arch = walk.at(os, "type/@arch"), machine = walk.at(os, "type/@machine");
  type.tell(type.is("hvm") ? Verb::kept : Verb::refused,
            type.is("hvm") ? "a full virtual machine" : "not a virtual machine of QEMU's; vmrun runs no other");
  const bool x86 = arch.is("x86_64") || arch.is("i686");
  arch.tell(
      !x86              ? Verb::refused
      : arch.is("i686") ? Verb::changed
                        : Verb::kept,
      !x86 ? "another architecture; vmrun runs x86-64 only" : "the board is x86-64, on which 32-bit guests run too");
  const std::string& name = machine.value();
  if (is_versioned_q35(name)) {
    walk.spec.text("", "machine", name, "the guest's hardware as it was");
    machine.kept("machine");
  } else if (name == "q35" || !machine.there()) {
    machine.tell_default(
        machine.there() ? Verb::kept : Verb::changed,
        machine.there() ? "machine, the newest that QEMU has" : "machine = \"q35\" in place of libvirt's default");
  } else if (name.find("q35") != std::string::npos) {
    machine.tell(Verb::changed, "a distribution's own name; machine = \"q35\" is the newest that QEMU has");
  } else if (name == "pc" || name.find("i440fx") != std::string::npos) {
    machine.tell(Verb::changed,
                 "machine = \"q35\": devices have other PCI places; a guest that activates by hardware may ask again");
  } else {
    machine.tell(Verb::dropped, "machine = \"q35\" in its place; a guest made for this board may not boot");
  }
}

// Of what format the firmware's files are: vmrun goes by the name's end.
void files_of(Walk& walk, const XmlElement& os, bool by_hand) {
  const Leaf written = walk.at(os, "loader/@readonly"), format = walk.at(os, "loader/@format"),
             kind = walk.at(os, "nvram/@type");
  written.tell(written.is("no") ? Verb::changed : Verb::kept, "the firmware's code is never written");
  const bool named = format.is("qcow2") == walk.at(os, "loader").value().ends_with(".qcow2");
  format.tell(!by_hand ? Verb::changed
              : named  ? Verb::kept
                       : Verb::refused,
              !by_hand ? "as the host's descriptors say"
              : named  ? "by its name"
                       : "vmrun goes by the name: a file of qcow2 has to end with .qcow2, another may not");
  if (const XmlElement* source = os.find("nvram/source"); source != nullptr && kind.there() && !kind.is("file"))
    walk.tell_all(
        *source, Verb::dropped,
        "the variables are in no local file: the VM starts with fresh ones, without its boot entries and own keys");
}

void uefi_of(Walk& walk, const XmlElement& os) {
  const Leaf firmware = walk.at(os, "@firmware"), loader = walk.at(os, "loader"),
             secure = walk.at(os, "loader/@secure"), kind = walk.at(os, "loader/@type"), nvram = walk.at(os, "nvram"),
             source = walk.at(os, "nvram/source/@file"), template_ = walk.at(os, "nvram/@template");
  bool secure_boot = secure.on();
  if (const XmlElement* features = os.find("firmware"))
    for (const XmlElement* one : features->all("feature")) {
      const Leaf enabled = walk.at(*one, "@enabled");
      if (walk.at(*one, "@name").is("secure-boot") && enabled.on()) secure_boot = true;
      walk.tell_all(*one, walk.at(*one, "@name").is("secure-boot") ? Verb::kept : Verb::changed,
                    walk.at(*one, "@name").is("secure-boot")
                        ? "boot.secure_boot"
                        : "as the firmware's descriptors say for boot.secure_boot");
    }
  walk.spec.text("boot", "firmware", "uefi");
  if (secure_boot) walk.spec.flag("boot", "secure_boot", true);
  const bool by_hand = !firmware.is("efi") && is_file_path(loader.value()) && is_file_path(template_.value());
  if (by_hand) {
    walk.spec.text("boot", "code", loader.value());
    walk.spec.text("boot", "variables", template_.value());
  }
  firmware.kept("boot.firmware = \"uefi\"");
  kind.kept("boot.firmware = \"uefi\"");
  secure.kept("boot.secure_boot");
  files_of(walk, os, by_hand);
  loader.tell(by_hand ? Verb::kept : Verb::changed,
              by_hand ? "boot.code" : "boot.firmware = \"uefi\": the code that the host's descriptors name");
  template_.tell(by_hand ? Verb::kept : Verb::changed,
                 by_hand ? "boot.variables" : "the template that the host's descriptors name");
  for (const Leaf& file : {nvram, source})
    if (!file.value().empty())
      file.tell(walk.options.adopt_state ? Verb::kept : Verb::dropped,
                walk.options.adopt_state
                    ? "copied to vmrun's state of the VM"
                    : "the VM starts with fresh UEFI variables: its boot entries and own keys are gone; "
                      "--adopt-state copies this file");
}

void firmware_of(Walk& walk, const XmlElement& os) {
  const Leaf loader = walk.at(os, "loader"), kind = walk.at(os, "loader/@type");
  const bool pflash = kind.is("pflash") || os.find("nvram") != nullptr;
  if (walk.at(os, "@firmware").is("efi") || pflash) return uefi_of(walk, os);
  walk.at(os, "@firmware").kept("boot.firmware = \"seabios\", the default");
  kind.kept("boot.firmware");
  if (is_file_path(loader.value())) {
    walk.spec.text("boot", "firmware", loader.value());
    loader.kept("boot.firmware");
  } else if (!loader.value().empty()) {
    loader.tell(Verb::changed, "QEMU's own SeaBIOS");
  }
}

void kernel_of(Walk& walk, const XmlElement& os) {
  const Leaf kernel = walk.at(os, "kernel");
  const bool good = is_file_path(kernel.value());
  for (const char* key : {"kernel", "initrd", "cmdline"}) {
    const Leaf leaf = walk.at(os, key);
    if (good && !leaf.value().empty()) walk.spec.text("boot", key, leaf.value());
    leaf.kept_if(good || leaf.value().empty(), fmt::format("boot.{}", key),
                 "no kernel with an absolute path stands beside it");
  }
}

}  // namespace

void import_os(Walk& walk, const XmlElement& os) {
  machine_of(walk, os);
  firmware_of(walk, os);
  kernel_of(walk, os);
  const Leaf smbios = walk.at(os, "smbios/@mode");
  smbios.kept_if(!smbios.is("host"), "[smbios] has what <sysinfo> says",
                 "the guest does not see the host's own board; [smbios] can say the same");
  for (const XmlElement* boot : os.all("boot")) {
    const Leaf dev = walk.at(*boot, "@dev");
    dev.kept_if(dev.is("hd") || dev.is("cdrom") || dev.is("network"), "boot.order",
                "vmrun's board has no floppy drive");
  }
}

void import_sysinfo(Walk& walk, const XmlElement& info) {
  const Leaf type = walk.at(info, "@type");
  if (type.is("fwcfg")) {
    for (const XmlElement* entry : info.all("entry")) {
      const Leaf name = walk.at(*entry, "@name"), text = walk.at(*entry, ""), file = walk.at(*entry, "@file");
      const bool good =
          !text.value().empty() && text.value().find(',') == std::string::npos && name.value().starts_with("opt/");
      if (good)
        walk.spec.extra("-fw_cfg"), walk.spec.extra(fmt::format("name={},string={}", name.value(), text.value()));
      walk.tell_all(*entry, good ? Verb::kept : Verb::dropped,
                    good ? "extra_args: -fw_cfg"
                         : "a file, or a text with commas; add -fw_cfg to extra_args, or a [[credential]]");
    }
    type.kept("extra_args: -fw_cfg");
    return;
  }
  const bool used = walk.at("os/smbios/@mode").is("sysinfo");
  type.kept("[smbios]");
  for (const XmlElement& block : info.children) {
    for (const XmlElement* entry : block.all("entry")) {
      const Leaf name = walk.at(*entry, "@name"), text = walk.at(*entry, "");
      const bool strings = block.name == "oemStrings", system = block.name == "system";
      const bool key = name.is("manufacturer") || name.is("product") || name.is("version") || name.is("serial") ||
                       name.is("sku") || name.is("family");
      const bool good = used && (strings || (system && (key || name.is("uuid"))));
      if (used && strings) walk.spec.add_to_list("smbios", "strings", text.value());
      if (used && system && key) walk.spec.text("smbios", name.value(), text.value());
      walk.tell_all(
          *entry,
          good   ? Verb::kept
          : used ? Verb::dropped
                 : Verb::kept,
          good   ? (strings           ? "smbios.strings"
                    : name.is("uuid") ? "uuid"
                                      : "smbios." + name.value())
          : used ? fmt::format("vmrun writes the system's table only; the guest reads QEMU's own of {}", block.name)
                 : "not told to the guest by libvirt either: <smbios mode='sysinfo'/> is not there");
    }
  }
}

namespace {

void import_timer(Walk& walk, const XmlElement& timer) {
  const Leaf name = walk.at(timer, "@name"), present = walk.at(timer, "@present"),
             policy = walk.at(timer, "@tickpolicy"), frequency = walk.at(timer, "@frequency");
  const bool on = !present.is("no");
  const auto flag = [&](const char* table, const char* key) {
    walk.spec.flag(table, key, on);
    for (const Leaf& leaf : {name, present}) leaf.kept(fmt::format("{}.{}", table, key));
  };
  if (name.is("hpet")) flag("clock", "hpet");
  if (walk.tcg && (name.is("kvmclock") || name.is("hypervclock")))
    return walk.tell_all(timer, Verb::kept, "none: it is KVM's own, and there is none");
  if (name.is("kvmclock")) flag("clock", "kvmclock");
  if (name.is("hypervclock")) flag("hyperv", "time");
  if (name.is("pit")) {
    flag("clock", "pit");
    policy.kept_if(policy.is("delay"), "as QEMU does", "late ticks of the PIT are delayed, as QEMU does by itself");
  }
  if (name.is("rtc")) {
    if (policy.is("catchup")) walk.spec.text("clock", "drift_fix", "slew");
    if (policy.is("delay")) walk.spec.text("clock", "drift_fix", "none");
    policy.kept_if(policy.is("catchup") || policy.is("delay"), "clock.drift_fix",
                   "lost or merged ticks are none of QEMU's RTC");
    for (const Leaf& leaf : {name, present}) leaf.kept("the board has an RTC");
  }
  if (name.is("tsc")) {
    const auto hertz = frequency.number();
    const bool good = hertz && *hertz >= 100'000'000 && *hertz <= 20'000'000'000;
    if (good) walk.spec.number("clock", "tsc_frequency", *hertz);
    frequency.kept_if(good, "clock.tsc_frequency", "from 100 MHz to 20 GHz only");
    const Leaf mode = walk.at(timer, "@mode");
    mode.kept_if(mode.is("auto") || mode.is("native"), "the guest reads the CPU's own TSC",
                 "the guest reads the CPU's own TSC, which KVM scales");
    name.kept("clock");
  }
  const Leaf track = walk.at(timer, "@track");
  track.kept_if(!track.is("wall") && !track.is("guest"), "the host's clock", "the RTC follows the host's clock");
}

}  // namespace

void import_clock(Walk& walk, const XmlElement& clock) {
  const Leaf offset = walk.at(clock, "@offset"), adjustment = walk.at(clock, "@adjustment"),
             basis = walk.at(clock, "@basis");
  const bool local = offset.is("localtime") || offset.is("timezone") || basis.is("localtime");
  walk.spec.text("clock", "base", local ? "localtime" : "utc");
  offset.kept_if(!offset.is("timezone") && !offset.is("absolute"), "clock.base",
                 offset.is("timezone") ? "clock.base = \"localtime\", in the zone that vmrun is started in (TZ)"
                                       : "clock.base = \"utc\": the guest starts at today's time");
  basis.kept("clock.base");
  const bool none = adjustment.is("0") || adjustment.is("reset");
  adjustment.kept_if(none, "clock.base", "the guest's own shift of the RTC is gone; it sets it once more");
  for (const XmlElement* timer : clock.all("timer")) import_timer(walk, *timer);
}

}  // namespace launcher::import
