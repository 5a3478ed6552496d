// The IOMMU and the PCI devices: groups, links, nodes, interrupts.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/checks/concerns.hpp"
#include "topology/words.hpp"

namespace launcher::inline checks {

namespace {

using topology::CpuSet;

// Devices whose speed and place matter: storage, network, display, accelerators.
bool matters(const AuditedFunction& device) {
  const unsigned kind = device.class_id >> 8;
  return kind == 0x01 || kind == 0x02 || kind == 0x03 || kind == 0x0b || kind == 0x12;
}

bool is_bridge(const AuditedFunction& device) { return device.class_id >> 8 == 0x06; }

std::string name_of(const AuditedFunction& device) {
  const unsigned kind = device.class_id >> 8;
  const char* what = kind == 0x01 ? "storage" : kind == 0x02 ? "network" : kind == 0x03 ? "display" : "accelerator";
  return fmt::format("{} ({})", device.address, what);
}

void iommu(const Audit& audit, Findings& findings) {
  const auto units = audit.sysfs().list("/sys/class/iommu");
  const bool groups = !audit.sysfs().list("/sys/kernel/iommu_groups").empty();
  const bool table = audit.exists("/sys/firmware/acpi/tables/DMAR") || audit.exists("/sys/firmware/acpi/tables/IVRS");
  const Findings::Paths paths = {"/sys/class/iommu", "/sys/kernel/iommu_groups", "/sys/firmware/acpi/tables"};
  const bool needed = audit.vm && !audit.vm->passed_through.empty();
  if (groups) {
    findings.ok(fmt::format("on ({} unit{})", units.size(), units.size() == 1 ? "" : "s"), paths);
  } else if (!table && audit.is_vm()) {
    findings.leave("none", paths, "this virtual machine was given none, so it cannot pass devices on").level =
        needed ? Level::problem : Level::ok;
  } else if (!table) {
    findings.want(needed ? Level::problem : Level::advice, "the firmware shows no IOMMU", paths,
                  "an IOMMU, to pass devices through",
                  firmware_now("\"VT for Directed I/O\" (or \"AMD IOMMU\") = Enabled"),
                  boot_lasting(audit.intel() ? "intel_iommu=on iommu=pt" : "iommu=pt"));
  } else {
    findings.want(needed ? Level::problem : Level::advice, "the firmware shows one, the kernel does not use it", paths,
                  "the IOMMU on, to pass devices through", "at the next boot",
                  boot_lasting(audit.intel() ? "intel_iommu=on iommu=pt" : "iommu=pt"));
  }
}

// Host devices in identity domains: only what is passed through is translated.
void iommu_passthrough(const Audit& audit, Findings& findings) {
  const auto groups = audit.sysfs().list("/sys/kernel/iommu_groups");
  unsigned identity = 0, translated = 0;
  std::string type, path;
  for (const std::string& group : groups) {
    const std::string file = "/sys/kernel/iommu_groups/" + group + "/type";
    const auto text = audit.text(file);
    if (!text) continue;
    path = file;
    if (*text == "identity") ++identity;
    if (text->starts_with("DMA")) ++translated, type = *text;
  }
  if (identity + translated == 0) return;
  if (translated <= identity)
    findings.ok(fmt::format("{} of {} groups are untranslated for the host", identity, identity + translated),
                {"/sys/kernel/iommu_groups/*/type"});
  else
    findings.want(
        Level::advice, fmt::format("{} groups are translated ({}) for the host's own drivers", translated, type),
        {"/sys/kernel/iommu_groups/*/type", "/proc/cmdline"}, "iommu=pt", "at the next boot", boot_lasting("iommu=pt"));
}

void iommu_groups(const Audit& audit, Findings& findings) {
  std::map<std::string, std::vector<const AuditedFunction*>> groups;
  const auto all = audit.pci();
  for (const AuditedFunction& device : all) {
    if (is_bridge(device)) continue;
    if (const auto group = audit.sysfs().link_name(device.path + "/iommu_group")) groups[*group].push_back(&device);
  }
  if (groups.empty()) return;
  unsigned shared = 0;
  for (const auto& [group, devices] : groups) {
    std::set<std::string> slots;  // functions of one card are one thing to pass through
    std::string names;
    bool interesting = false, ours = false;
    for (const AuditedFunction* device : devices) {
      slots.insert(device->address.substr(0, device->address.find('.')));
      interesting = interesting || matters(*device);
      if (audit.vm)
        ours = ours || std::find(audit.vm->passed_through.begin(), audit.vm->passed_through.end(), device->address) !=
                           audit.vm->passed_through.end();
      names += (names.empty() ? "" : ", ") + device->address;
    }
    if (slots.size() < 2 || !interesting || (audit.vm && !ours)) continue;
    ++shared;
    findings.want(audit.vm ? Level::problem : Level::advice, fmt::format("group {} holds {}", group, names),
                  {fmt::format("/sys/kernel/iommu_groups/{}/devices", group)},
                  "a group of its own for what is passed through",
                  "another slot for the card; ACS = Enabled in the firmware's setup");
  }
  if (shared == 0)
    findings.ok(fmt::format("{} groups, no card shares one with another", groups.size()), {"/sys/kernel/iommu_groups"});
}

void acs_override(const Audit& audit, Findings& findings) {
  if (audit.boot().has("pcie_acs_override"))
    findings.want(Level::warning, "pcie_acs_override on the kernel's command line", {"/proc/cmdline"},
                  "groups as the hardware isolates them", "at the next boot",
                  "take pcie_acs_override off the kernel's command line");
  else if (!audit.sysfs().list("/sys/kernel/iommu_groups").empty())
    findings.ok("groups are what the hardware isolates", {"/proc/cmdline"});
}

void unsafe_interrupts(const Audit& audit, Findings& findings) {
  const auto on = audit.switch_of("vfio_iommu_type1", "allow_unsafe_interrupts");
  const std::string path = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
  if (!on) return;
  if (*on)
    findings.want(Level::warning, "allow_unsafe_interrupts = Y: a guest with a device can send the host any interrupt",
                  {path}, "N, with interrupt remapping on", write_now("N", path),
                  module_lasting("vfio_iommu_type1", "allow_unsafe_interrupts=0"));
  else
    findings.ok("allow_unsafe_interrupts = N", {path});
}

void link(const Audit& audit, Findings& findings) {
  unsigned full = 0;
  for (const AuditedFunction& device : audit.pci()) {
    if (!matters(device)) continue;
    const auto speed = audit.text(device.path + "/current_link_speed"),
               most_speed = audit.text(device.path + "/max_link_speed");
    const auto width = audit.number(device.path + "/current_link_width"),
               most_width = audit.number(device.path + "/max_link_width");
    if (!speed || !most_speed || !width || !most_width || *width == 0 || *most_width == 255 ||
        speed->starts_with("Unknown"))
      continue;
    if (*width >= *most_width && std::strtod(speed->c_str(), nullptr) >= std::strtod(most_speed->c_str(), nullptr)) {
      ++full;
      continue;
    }
    const bool narrow = *width < *most_width;
    Finding& finding = findings.want(
        narrow ? Level::warning : Level::advice,
        fmt::format("x{} at {}, of x{} at {}", *width, *speed, *most_width, *most_speed),
        {device.path + "/current_link_width", device.path + "/current_link_speed"}, "the link's full width and speed",
        "look at it again under load (graphics cards slow an idle link down); then the slot, the riser",
        "link speed Gen4 and width x16 in the firmware's setup");
    finding.subject = name_of(device);
  }
  if (full != 0)
    findings.ok(fmt::format("{} device{} at full width and speed", full, full == 1 ? "" : "s"),
                {"/sys/bus/pci/devices/*/current_link_width"});
}

void device_nodes(const Audit& audit, Findings& findings) {
  if (audit.host().nodes.size() < 2) return;
  if (!audit.vm) {
    unsigned known = 0;
    for (const AuditedFunction& device : audit.pci()) {
      const std::string path = device.path + "/numa_node";
      const auto node = audit.text(path);
      if (!matters(device) || !node) continue;
      if (!node->starts_with('-')) {
        ++known;
        continue;
      }
      findings
          .want(Level::advice, "the firmware does not say which node it is on", {path},
                "the node of the socket it hangs on", fmt::format("echo NODE > {}", path),
                "newer firmware; or the same write at each boot")
          .subject = name_of(device);
    }
    if (known != 0)
      findings.ok(fmt::format("{} device{} on a known node", known, known == 1 ? "" : "s"),
                  {"/sys/bus/pci/devices/*/numa_node"});
    return;
  }
  const auto nodes = audit.vm->nodes();
  const auto judge = [&](const std::string& subject, std::optional<unsigned> node, const std::string& path) {
    if (!node || nodes.empty()) return;
    if (std::find(nodes.begin(), nodes.end(), *node) != nodes.end())
      findings.ok(fmt::format("on node {}, as the VM", *node), {path}).subject = subject;
    else
      findings
          .want(Level::warning, fmt::format("on node {}, the VM is on node {}", *node, nodes.front()), {path},
                "the VM on the device's node",
                fmt::format("memory.nodes = [{}] in its spec, or make room there", *node))
          .subject = subject;
  };
  for (const AuditedDisk& disk : audit.vm->disks)
    judge(disk.key, disk.facts.node, disk.block.empty() ? disk.path : "/sys/block/" + disk.block);
  for (const AuditedNic& nic : audit.vm->nics) judge(nic.key, nic.facts.node, "/sys/class/net/" + nic.bridge + "/brif");
  for (const std::string& address : audit.vm->passed_through) {
    const std::string path = "/sys/bus/pci/devices/" + address + "/numa_node";
    const auto node = audit.number(path);
    judge(address, node ? std::optional(static_cast<unsigned>(*node)) : std::nullopt, path);
  }
}

// A network card's interrupts on CPUs of another node. (NVMe queues are the kernel's: one for each CPU, rightly.)
void device_irqs(const Audit& audit, Findings& findings) {
  if (audit.host().nodes.size() < 2) return;
  for (const AuditedFunction& device : audit.pci()) {
    if (device.class_id >> 8 != 0x02) continue;
    const auto node = audit.number(device.path + "/numa_node");
    if (!node) continue;
    const CpuSet local = audit.host().cpus_of_node(static_cast<unsigned>(*node));
    CpuSet away;
    unsigned count = 0;
    for (const std::string& irq : audit.sysfs().list(device.path + "/msi_irqs")) {
      const auto on = audit.cpu_list("/proc/irq/" + irq + "/effective_affinity_list");
      if (!on || on->empty() || !topology::number_of(irq)) continue;
      ++count;
      if (!local.contains(*on)) away |= *on - local;
    }
    if (count == 0 || local.empty()) continue;
    if (away.empty())
      findings.ok(fmt::format("its {} interrupts go to node {}", count, *node), {"/proc/irq/*/effective_affinity_list"})
          .subject = name_of(device);
    else
      findings
          .want(Level::advice, fmt::format("on node {}, but interrupts go to CPUs {}", *node, away.to_string()),
                {device.path + "/numa_node", "/proc/irq/*/effective_affinity_list"},
                fmt::format("CPUs {}", local.to_string()),
                fmt::format("for each of {}/msi_irqs: echo {} > /proc/irq/N/smp_affinity_list", device.path,
                            local.to_string()),
                "irqbalance (it knows the nodes), or the driver's set_irq_affinity script")
          .subject = name_of(device);
  }
}

}  // namespace

std::vector<Check> pci_checks() {
  return {
      {"iommu", "pci", "001 2.1 \"VT for Directed I/O\", 000 (IOMMU), 003",
       "a device can only be given to a guest behind an IOMMU", "VMs with passed-through devices",
       "translation, unless iommu=pt", iommu, concerns::passthrough},
      {"iommu-passthrough", "pci", "000 (IOMMU)",
       "each DMA of a host driver is mapped and unmapped though nobody guards against it",
       "hosts with fast devices of their own", "host devices can reach all memory", iommu_passthrough, concerns::every},
      {"iommu-groups", "pci", "000 (IOMMU)",
       "the devices of a group can reach each other, so they go to one VM together", "VMs with passed-through devices",
       "a slot", iommu_groups, concerns::passthrough},
      {"acs-override", "pci", "000 (IOMMU)", "it declares devices isolated that can reach each other past the IOMMU",
       "VMs with passed-through devices", "larger groups", acs_override, concerns::passthrough},
      {"unsafe-interrupts", "pci", "001 5",
       "interrupt remapping is what keeps a guest's device from forging interrupts", "VMs with passed-through devices",
       "none", unsafe_interrupts, concerns::passthrough},
      {"pci-link", "pci", "001 5 \"link speed to Gen4 and X16\"", "half the lanes are half the throughput",
       "VMs that use the device", "a look into the machine", link, concerns::every},
      {"device-node", "pci", "001 3.2.1 \"IRQ Affinity\", 002",
       "each DMA and each interrupt crosses between the sockets", "VMs with devices, on hosts with several nodes",
       "the VM's place is less free", device_nodes, concerns::every},
      {"device-interrupts", "pci", "001 3.2.1 \"IRQ Affinity\"", "the handler's data lies in the other node's cache",
       "VMs that use the device", "the node's CPUs take all of them", device_irqs, concerns::nets},
  };
}

}  // namespace launcher::checks
