// Name, identity, accelerator, board and clocks of a command line.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/import/argv.hpp"
#include "launcher/spec/rules.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

void name_and_uuid(ArgvWalk& walk) {
  ArgvOption* name = walk.find("name");
  const std::string text = name == nullptr ? "" : name->get("guest"), good = name_of_vm(text);
  walk.spec.text("", "name", good);
  if (name == nullptr)
    walk.missing("-name", Verb::changed, "name = \"imported\"");
  else
    name->tell("guest", good == text ? Verb::kept : Verb::changed, fmt::format("name = \"{}\"", good));
  std::string uuid;
  if (ArgvOption* option = walk.find("uuid")) {
    uuid = option->get("");
    option->kept("", "uuid");
  }
  for (ArgvOption* smbios : walk.every("smbios"))
    if (smbios->has("uuid")) {
      uuid = smbios->get("uuid");
      smbios->kept("uuid", "uuid");
    }
  if (!uuid.empty()) walk.spec.text("", "uuid", lowered(uuid), "the guest's board keeps it");
  if (uuid.empty()) walk.missing("-uuid", Verb::changed, "uuid = \"auto\": of the VM's name and this host");
}

void accelerator(ArgvWalk& walk) {
  bool first = true;  // of several, QEMU takes the first that it can have
  const auto take = [&](ArgvOption& option, const char* key, std::string list) {
    list = list.substr(0, list.find(':'));  // "kvm:tcg": the same
    if (!first) return option.tell(key, Verb::changed, "the accelerator that stands first, or none");
    first = false;
    if (list == "kvm") walk.tcg = false;
    if (list == "tcg") walk.tcg = true;
    option.tell(key, list == "kvm" || list == "tcg" ? Verb::kept : Verb::refused,
                list == "kvm" || list == "tcg" ? "accel" : "vmrun starts QEMU under KVM or TCG");
  };
  for (ArgvOption* option : walk.every("accel")) take(*option, "accel", option->get("accel"));
  if (ArgvOption* machine = walk.find("machine"); machine != nullptr && machine->has("accel"))
    take(*machine, "accel", machine->get("accel"));
  if (ArgvOption* enable = walk.find("enable-kvm")) {
    walk.tcg = false;
    enable->kept("", "accel");
  }
  walk.spec.text("", "accel", walk.tcg ? "tcg" : "kvm");
}

void board(ArgvWalk& walk) {
  ArgvOption* machine = walk.find("machine");
  const std::string type = machine == nullptr ? "" : machine->get("type"), name = type.substr(0, type.find('+'));
  const bool versioned = is_versioned_q35(name), q35 = name.find("q35") != name.npos;
  if (versioned) walk.spec.text("", "machine", name, "the guest's hardware as it was");
  const char* pc =
      "machine = \"q35\" in place of \"pc\": devices have other PCI places, and IDE disks are SATA ones; a guest that "
      "activates by hardware may ask again";
  if (type.empty())
    walk.missing("-machine", Verb::changed, pc);
  else
    machine->tell("type",
                  versioned || q35         ? Verb::kept
                  : name.starts_with("pc") ? Verb::changed
                                           : Verb::dropped,
                  versioned ? "machine"
                  : q35     ? "machine, the newest that QEMU has"
                  : name.starts_with("pc")
                      ? pc
                      : "machine = \"q35\" in its place; a guest made for this board may not boot");
  const bool no_hpet =
      walk.find("no-hpet") != nullptr || (machine != nullptr && machine->has("hpet") && !machine->on("hpet"));
  const bool no_pit = machine != nullptr && machine->has("pit") && !machine->on("pit");
  walk.spec.flag("clock", "hpet", !no_hpet, "as QEMU had it; false costs the guest less");
  walk.spec.flag("clock", "pit", !no_pit, "as QEMU had it; false costs the guest less");
  if (ArgvOption* flag = walk.find("no-hpet")) flag->kept("", "clock.hpet");
  if (machine != nullptr) {
    machine->kept("hpet", "clock.hpet");
    machine->kept("pit", "clock.pit");
    machine->kept_if(!machine->on("vmport"), "vmport", "off, as vmrun has it",
                     "no VMware port: VMware's own tools are blind");
    if (machine->on("dump-guest-core")) walk.spec.flag("memory", "dump", true);
    machine->kept("dump-guest-core", "memory.dump");
    if (machine->on("mem-merge")) walk.spec.flag("memory", "merge", true);
    machine->kept("mem-merge", "memory.merge");
  }
  if (no_hpet || (machine != nullptr && machine->has("hpet"))) return;
  walk.missing("-machine,hpet", Verb::kept, "clock.hpet = true: QEMU's board has one");
}

void clock(ArgvWalk& walk) {
  if (ArgvOption* rtc = walk.find("rtc")) {
    const std::string base = rtc->get("base");
    const bool local = base == "localtime", known = local || base == "utc" || base.empty();
    walk.spec.text("clock", "base", local ? "localtime" : "utc");
    rtc->kept_if(known, "base", "clock.base", "clock.base = \"utc\": the guest starts at today's time");
    if (rtc->is("driftfix", "slew") || rtc->is("driftfix", "none"))
      walk.spec.text("clock", "drift_fix", rtc->get("driftfix"));
    rtc->kept("driftfix", "clock.drift_fix");
    rtc->kept_if(!rtc->has("clock") || rtc->is("clock", "host"), "clock", "the host's clock",
                 "the RTC follows the host's clock");
  }
  if (ArgvOption* local = walk.find("localtime")) {
    walk.spec.text("clock", "base", "localtime");
    local->kept("", "clock.base");
  }
  bool memory = true, disk = true;
  for (ArgvOption* global : walk.every("global")) {
    const std::string text = global->value;
    const bool off = text.ends_with("=1") || text.ends_with("=on") || text.ends_with("=true");
    const bool s3 = text.find(".disable_s3=") != text.npos, s4 = text.find(".disable_s4=") != text.npos;
    if (s3) memory = !off;
    if (s4) disk = !off;
    if (s3 || s4) global->kept("", "sleep");
    if (text.find("cfi.pflash01") != text.npos)
      global->tell("", Verb::better, "vmrun guards the firmware's variables where there is Secure Boot");
    if (text.starts_with("kvm-pit.lost_tick_policy="))
      global->tell("", text.ends_with("=delay") ? Verb::kept : Verb::changed,
                   "late ticks of the PIT are delayed, as QEMU does by itself");
  }
  walk.spec.flag("", "sleep", memory || disk, "S3 and S4, as QEMU's board offered them");
}

}  // namespace

void argv_general(ArgvWalk& walk) {
  walk.defaults = walk.find("nodefaults") == nullptr;
  name_and_uuid(walk);
  accelerator(walk);
  board(walk);
  clock(walk);
  for (ArgvOption* smbios : walk.every("smbios")) {
    const std::string type = smbios->get("type");
    if (type == "1") {
      smbios->kept("type", "[smbios]");
      for (const char* key : {"manufacturer", "product", "version", "serial", "sku", "family"}) {
        if (!smbios->get(key).empty()) walk.spec.text("smbios", key, smbios->get(key));
        smbios->kept(key, std::string("smbios.") + key);
      }
    } else if (type == "11") {
      smbios->kept("type", "smbios.strings");
      for (const auto& [key, value] : smbios->members)
        if (key == "value") walk.spec.add_to_list("smbios", "strings", value);
      smbios->kept("value", "smbios.strings");
    }
  }
}

}  // namespace launcher::import
