// A libvirt domain in the making, for export_*.cpp only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/import/report.hpp"
#include "launcher/import/xml.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/spec/spec.hpp"

namespace launcher::inline import {

struct Domain {
  const Spec& spec;
  const LaunchPlan& plan;
  XmlElement root = {};
  Report report = {};

  void row(const std::string& path, Verb verb, const std::string& words) {
    report.push_back({path, 0, "", verb, words});
  }
  std::string arg(std::string_view option) const;  // the value of the plan's first such argument
  std::string cpu_model() const;
  bool cpu_has(std::string_view setting) const;  // "invtsc=on" in -cpu
  bool shares_memory() const;
  void hyperv(XmlElement& features);
  void devices(XmlElement& devices);
  void odd_paths(const XmlElement& element);  // reports them

  // export_places.cpp: what the plan's -device of that id has; "": nothing, or there is no such device.
  std::string property(const std::string& id, std::string_view key) const;
  bool has(const std::string& id) const { return !property(id, "id").empty(); }
  void place(XmlElement& device, const std::string& id) const;  // its PCI place
  void boot_order(XmlElement& device, const std::string& id) const;
  std::optional<std::size_t> iothread(const std::string& id) const;  // libvirt's number of it
};

// What the devices have in common while they are written, one after the other.
struct DeviceWriter {
  Domain& to;
  XmlElement& devices;
  std::map<std::string, unsigned> counts = {};  // of each kind
  unsigned scsi_names = 0, virtio_names = 0;    // sda, vda and on
  std::map<std::string, unsigned> scsi_controllers = {};
  bool balloon_seen = false;

  std::string key(const char* table) { return table + ("[" + std::to_string(counts[table]++) + "]"); }
};

std::string disk_name(const char* prefix, unsigned index);  // vda ... vdz, vdaa
void export_disk(DeviceWriter& writer, const Disk& disk);
void export_cdrom(DeviceWriter& writer, const Cdrom& cdrom);
void export_nic(DeviceWriter& writer, const Nic& nic);
// export_memory.cpp: what is beside the guest's own memory. board: bytes of that.
std::uint64_t plugged_memory(const Domain& to);
void export_max_memory(Domain& to, std::uint64_t board);
void export_hot_memory(Domain& to, XmlElement& devices);
void export_nvdimm(Domain& to, XmlElement& devices, const Nvdimm& nvdimm, const std::string& id);
void export_pci(DeviceWriter& writer, const Pci& pci);
void export_usb(DeviceWriter& writer, const Usb& usb);
void export_display(DeviceWriter& writer, const Display& display);
void export_board(Domain& to);
void export_time_and_power(Domain& to);
void report_policies(const Spec& spec, const LaunchPlan& plan, Report& report);
void export_policies(Domain& to);  // keys that say what vmrun does, and no domain has a word for

}  // namespace launcher::import
