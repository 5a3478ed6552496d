// How far the guest's physical addresses reach, as QEMU lays memory out on a q35 board (hw/i386/pc.c, pc_max_used_gpa), and
// whether the CPU that the guest sees has the bits for it. The rule: QEMU must not be the first to find that out.
#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

using topology::Bytes;
using topology::gib;
using topology::to_string;

constexpr unsigned bits_of_models = 40;  // of every model that does not take the host's
constexpr Bytes pci_window = gib(32);    // of q35, above all memory

Bytes in_gib(Bytes size) { return gib((size.count + gib(1).count - 1) / gib(1).count); }

// The end of the 64-bit PCI window. more: room beside the memory, for virtio-mem and NVDIMMs.
Bytes end_of_addresses(Bytes memory, Bytes more, unsigned slots, bool amd) {
  constexpr Bytes below_4g = gib(2), hole_begins = topology::mib(0xb00);
  constexpr Bytes hypertransport = {0xfd'0000'0000};  // up to 1 TiB: with an AMD CPU all above 4 GiB then moves there
  const Bytes above = memory < hole_begins ? Bytes{} : memory - below_4g;
  const auto end_from = [&](Bytes start) {
    const Bytes ram = start + above;
    return more.count == 0 ? in_gib(ram) + pci_window : in_gib(in_gib(ram) + more + gib(slots)) + pci_window;
  };
  const Bytes end = end_from(gib(4));
  return amd && end > hypertransport ? end_from(gib(1024)) : end;
}

// The most whole gigabytes for which it fits; what it is of is the caller's.
template <class Fits>
Bytes most_that_fits(Bytes asked, const Fits& fits) {
  const auto sizes = std::views::iota(std::uint64_t{1}, asked.count / gib(1).count + 1);
  return gib(static_cast<std::uint64_t>(std::ranges::partition_point(sizes, fits) - sizes.begin()));
}

void refuse(Draft& draft, unsigned bits, const std::string& whose, bool amd) {
  const MemorySpec& memory = draft.spec.memory;
  const Bytes limit = {std::uint64_t{1} << bits}, others = draft.needs.more_memory;
  const auto fits = [&](Bytes size, Bytes max) {
    return end_of_addresses(size, max - size + others, draft.needs.memory_slots, amd) <= limit;
  };
  const bool by_max = memory.max && fits(memory.size, memory.size);
  const Bytes asked = by_max ? *memory.max : memory.size;
  const Bytes most = most_that_fits(asked, [&](std::uint64_t n) {
    return by_max ? gib(n) <= memory.size || fits(memory.size, gib(n)) : fits(gib(n), gib(n));
  });
  draft.problem(by_max ? "memory.max" : "memory.size",
                fmt::format("{} and the PCI window above it reach beyond the {} of address space of {}",
                            to_string(asked), to_string(limit), whose),
                fmt::format("set memory.{} = \"{}\" or less{}", by_max ? "max" : "size", to_string(most),
                            draft.kvm() ? "" : ", or accel = \"kvm\""));
}

}  // namespace

void add_phys_bits(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why) {
  const MemorySpec& memory = draft.spec.memory;
  const bool amd = is_amd_guest(draft, model);
  const Bytes more = memory.max.value_or(memory.size) - memory.size + draft.needs.more_memory;
  const Bytes end = end_of_addresses(memory.size, more, draft.needs.memory_slots, amd);
  const auto within = [end](unsigned bits) { return end.count <= std::uint64_t{1} << bits; };
  if (!draft.kvm()) {
    if (!within(bits_of_models))
      refuse(draft, bits_of_models, fmt::format("QEMU's emulated CPUs ({} bits)", bits_of_models), amd);
    return;
  }
  if (const auto host = draft.facts.cpu.phys_bits; host && !within(*host))
    refuse(draft, *host, fmt::format("this host's CPU ({} bits)", *host), amd);
  if (model == "host" || model == "max" || within(bits_of_models)) return;
  cpu.set("host-phys-bits", true);
  why.push_back(fmt::format("the host's address bits, for memory beyond the {} of the model", bits_of_models));
}

}  // namespace launcher::parts
