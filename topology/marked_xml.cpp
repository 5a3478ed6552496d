// The machine as hwloc XML with marks for lstopo. The rule: for eyes only; nothing here reads the marks back.
#include <hwloc.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "topology/hwloc_environment.hpp"
#include "topology/read_host.hpp"

namespace topology {

namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};

std::string error_of(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

std::expected<std::string, std::string> marked_xml(const std::vector<CpuMark>& marks) {
  const HwlocEnvironment environment;
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return std::unexpected(error_of("hwloc cannot start"));
  const std::unique_ptr<hwloc_topology, Destroy> topology(raw);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (hwloc_topology_load(raw) != 0) return std::unexpected(error_of("hwloc cannot read this machine"));
  for (const CpuMark& mark : marks) {
    const hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(raw, mark.cpu);
    if (pu == nullptr) continue;
    hwloc_obj_add_info(pu, "lstopoStyle", ("Background=" + mark.colour).c_str());
    hwloc_topology_insert_misc_object(raw, pu, mark.text.c_str());
  }
  char* buffer = nullptr;
  int length = 0;
  if (hwloc_topology_export_xmlbuffer(raw, &buffer, &length, 0) != 0)
    return std::unexpected(error_of("hwloc cannot write XML"));
  std::string xml(buffer, static_cast<std::size_t>(length > 0 ? length - 1 : 0));  // it counts the NUL
  hwloc_free_xmlbuffer(raw, buffer);
  return xml;
}

}  // namespace topology
