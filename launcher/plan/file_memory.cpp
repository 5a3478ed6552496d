// What iommufd asks of the guest's memory. QEMU from 10.1 on maps memory that is a file (huge pages, shared memory, an NVDIMM) by that
// file: Linux has the call from 6.13 on (IOMMU_IOAS_MAP_FILE), for memfd, tmpfs and hugetlbfs alone (mm/gup.c, memfd_pin_folios). The
// rule: what QEMU would end of at its start is refused here, and "auto" avoids it.
#include <fmt/format.h>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

// Calls back with "pci[N].iommufd" and the facts of each function that comes by iommufd.
template <typename Each>
void each_of_iommufd(const Draft& draft, Each each) {
  unsigned index = 0;
  for (const PlannedDevice& planned : draft.devices) {
    const auto* pci = std::get_if<Pci>(&planned.device);
    if (pci == nullptr) continue;
    const std::string key = fmt::format("pci[{}].iommufd", index++);
    if (pci->iommufd == true) each(key, std::get<Pci::Facts>(planned.facts));
  }
}

bool is_shared(const Draft& draft) { return draft.spec.memory.shared || draft.needs.shared_memory; }

}  // namespace

bool needs_plain_memory(const Draft& draft) {
  bool plain = false;
  each_of_iommufd(draft, [&](const std::string&, const Pci::Facts& facts) { plain = plain || !facts.maps_files; });
  return plain && draft.qemu.maps_memory_files();
}

void avoid_file_memory(Draft& draft, topology::PlacementRequest& request) {
  if (request.page || is_shared(draft) || !needs_plain_memory(draft)) return;
  request.page = draft.host.base_page;
  draft.note(
      fmt::format("memory.page = \"auto\" became {}: with pci.iommufd QEMU {} maps huge pages by their file, for which "
                  "this kernel has no call "
                  "(Linux 6.13 has); without iommufd there would be huge pages",
                  to_string(draft.host.base_page), draft.qemu.version));
}

void check_file_memory(Draft& draft) {
  if (!draft.qemu.maps_memory_files()) return;
  const bool huge = draft.plan.placement.page > draft.host.base_page;
  bool nvdimm = false;
  for (const PlannedDevice& planned : draft.devices) nvdimm = nvdimm || std::holds_alternative<Nvdimm>(planned.device);
  each_of_iommufd(draft, [&](const std::string& key, const Pci::Facts& facts) {
    const std::string how =
        fmt::format("true, but QEMU {} maps memory that is a file by that file, ", draft.qemu.version);
    const std::string ways = "remove iommufd: IOMMU groups take any memory";
    if (!facts.maps_files && (huge || is_shared(draft)))
      draft.problem(
          key,
          how + fmt::format("for which this kernel has no call (Linux 6.13 has), and the guest's memory is {}",
                            is_shared(draft) ? "shared" : "huge pages"),
          ways + (is_shared(draft) ? "" : ", or set memory.page = \"4K\""));
    else if (nvdimm)
      draft.problem(
          key, how + "which Linux does for memory and huge pages alone, and [[nvdimm]] is a file on a disk or a device",
          ways + ", or remove [[nvdimm]]");
  });
}

}  // namespace launcher::parts
