// Interrupt remapping, where the vCPUs are so many that devices' interrupts need it. The rule: it translates no DMA, and what a
// passed function cannot do behind it is refused here.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

// One more than the highest APIC id: each level of the topology takes whole bits of it.
std::uint64_t apic_ids(const topology::GuestTopology& guest) {
  const auto whole = [](std::uint64_t n) { return std::bit_ceil(n); };
  return std::uint64_t{guest.sockets - 1} * whole(guest.dies) * whole(guest.cores) * whole(guest.threads) +
         std::uint64_t{guest.dies - 1} * whole(guest.cores) * whole(guest.threads) +
         std::uint64_t{guest.cores - 1} * whole(guest.threads) + guest.threads;
}

const PciFunction* chosen(const PlannedDevice& planned) {
  const auto* facts = std::get_if<Pci::Facts>(&planned.facts);
  return facts != nullptr && facts->chosen ? &facts->candidates.at(*facts->chosen) : nullptr;
}

// Behind an IOMMU of the guest's each function has an address space of its own, and a group of the host's has only one.
void check_groups(Draft& draft) {
  std::map<std::string, std::string> before;  // address -> what is in its group
  unsigned index = 0;
  for (const PlannedDevice& planned : draft.devices) {
    const auto* pci = std::get_if<Pci>(&planned.device);
    if (pci == nullptr) continue;
    const char* name = !pci->address.empty() ? "address" : !pci->vf_of.empty() ? "vf_of" : "class";
    const std::string key = fmt::format("pci[{}].{}", index++, name);
    const PciFunction* function = chosen(planned);
    if (function == nullptr) continue;
    if (const auto other = before.find(function->address); other != before.end())
      draft.problem(
          key,
          fmt::format("{} is in the IOMMU group of {}, and with APIC ids above 254 each needs an address space "
                      "of its own; wanted functions of different groups",
                      function->address, other->second),
          "pass one of the two, or lower cpu.count until APIC ids end at 254");
    for (const PciNeighbour& one : function->neighbours) before.emplace(one.address, function->address);
  }
}

}  // namespace

// Interrupts of devices reach APIC ids from 255 on only through interrupt remapping (or KVM's own extension of the MSI
// format, which also wants the IOAPIC in QEMU).
bool needs_remapping(const Draft& draft) { return apic_ids(draft.plan.placement.guest) > 255; }

void add_remapping(Draft& draft, Opts& accel) {
  if (!needs_remapping(draft)) return;
  const std::uint64_t ids = apic_ids(draft.plan.placement.guest);
  const bool x2apic = draft.kvm() || draft.qemu.cpu_on.empty() || draft.qemu.cpu_on.contains("x2apic");
  if (!x2apic || !draft.qemu.has("intel-iommu.eim")) {
    draft.problem("cpu.count",
                  fmt::format("this topology needs APIC ids up to {}, and {}", ids - 1,
                              x2apic ? "this QEMU has no interrupt remapping for them"
                                     : "QEMU " + draft.qemu.version + " does not emulate an x2APIC (TCG)"),
                  x2apic ? "set count = 255 or less" : "set count = 255 or less, or accel = \"kvm\"");
    return;
  }
  if (draft.kvm()) accel.set("kernel-irqchip", "split");
}

// An IOMMU that remaps interrupts and leaves DMA alone; with a passed function it must tell vfio what the guest maps, or
// QEMU refuses the function.
void add_iommu(Draft& draft) {
  if (!needs_remapping(draft) || !draft.qemu.has("intel-iommu.eim")) return;
  const bool passes =
      std::ranges::any_of(draft.devices, [](const PlannedDevice& one) { return one.needs.locked_memory; });
  Opts iommu("intel-iommu");
  iommu.set("intremap", true).set("eim", true);
  if (passes) iommu.set("caching-mode", true);
  const bool inert = draft.qemu.has("intel-iommu.dma-translation");
  if (inert)
    iommu.set("dma-translation", false);
  else
    iommu.set("aw-bits", 48);  // a guest that turns translation on reaches memory above 512G
  draft.args.add("-device", iommu,
                 fmt::format("interrupts for the vCPUs whose APIC ids are above 254; {}{}",
                             inert ? "DMA is not translated" : "DMA is translated if the guest asks for it",
                             passes ? "; caching-mode, for a host's function is behind it" : ""),
                 "spec cpu.count");
  check_groups(draft);
}

}  // namespace launcher::parts
