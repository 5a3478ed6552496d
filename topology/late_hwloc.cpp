// hwloc's functions, each looked for in its library when it is first called: a command that needs no topology, or has that of this
// boot kept, loads neither hwloc nor libudev behind it, a fifth of what starting vmrun cost. The rule: what topology/ calls of hwloc
// stands here, or does not link.
#include <dlfcn.h>
#include <hwloc.h>

#include <stdexcept>
#include <string>

namespace {

using Topology = hwloc_topology_t;
using Set = hwloc_const_bitmap_t;
using Type = hwloc_obj_type_t;
using Filter = hwloc_type_filter_e;
using Flags = unsigned long;

void* library() {
  static void* const opened = dlopen(VMRUN_HWLOC, RTLD_NOW | RTLD_GLOBAL);  // global: its plugins look for it
  if (opened == nullptr) throw std::runtime_error(std::string("hwloc: ") + dlerror());
  return opened;
}

template <auto function>
auto late(const char* name) {
  static void* const found = dlsym(library(), name);
  if (found == nullptr) throw std::runtime_error(std::string("hwloc: ") + dlerror());
  return reinterpret_cast<decltype(function)>(found);
}

}  // namespace

extern "C" {

hwloc_bitmap_t hwloc_bitmap_alloc() { return late<hwloc_bitmap_alloc>(__func__)(); }
void hwloc_bitmap_free(hwloc_bitmap_t set) { late<hwloc_bitmap_free>(__func__)(set); }
int hwloc_bitmap_first(Set set) { return late<hwloc_bitmap_first>(__func__)(set); }
int hwloc_bitmap_next(Set set, int before) { return late<hwloc_bitmap_next>(__func__)(set, before); }
int hwloc_bitmap_isset(Set set, unsigned id) { return late<hwloc_bitmap_isset>(__func__)(set, id); }
int hwloc_bitmap_weight(Set set) { return late<hwloc_bitmap_weight>(__func__)(set); }

int hwloc_topology_init(Topology* topology) { return late<hwloc_topology_init>(__func__)(topology); }
int hwloc_topology_load(Topology topology) { return late<hwloc_topology_load>(__func__)(topology); }
void hwloc_topology_destroy(Topology topology) { late<hwloc_topology_destroy>(__func__)(topology); }
int hwloc_topology_set_flags(Topology topology, Flags flags) {
  return late<hwloc_topology_set_flags>(__func__)(topology, flags);
}
int hwloc_topology_set_components(Topology topology, Flags flags, const char* name) {
  return late<hwloc_topology_set_components>(__func__)(topology, flags, name);
}
int hwloc_topology_set_synthetic(Topology topology, const char* description) {
  return late<hwloc_topology_set_synthetic>(__func__)(topology, description);
}
int hwloc_topology_set_xmlbuffer(Topology topology, const char* buffer, int size) {
  return late<hwloc_topology_set_xmlbuffer>(__func__)(topology, buffer, size);
}
int hwloc_topology_set_type_filter(Topology topology, Type type, Filter filter) {
  return late<hwloc_topology_set_type_filter>(__func__)(topology, type, filter);
}
int hwloc_topology_set_all_types_filter(Topology topology, Filter filter) {
  return late<hwloc_topology_set_all_types_filter>(__func__)(topology, filter);
}
int hwloc_topology_set_io_types_filter(Topology topology, Filter filter) {
  return late<hwloc_topology_set_io_types_filter>(__func__)(topology, filter);
}
int hwloc_topology_export_xmlbuffer(Topology topology, char** buffer, int* size, Flags flags) {
  return late<hwloc_topology_export_xmlbuffer>(__func__)(topology, buffer, size, flags);
}
void hwloc_free_xmlbuffer(Topology topology, char* buffer) { late<hwloc_free_xmlbuffer>(__func__)(topology, buffer); }

int hwloc_get_type_depth(Topology topology, Type type) { return late<hwloc_get_type_depth>(__func__)(topology, type); }
hwloc_obj_t hwloc_get_obj_by_depth(Topology topology, int depth, unsigned index) {
  return late<hwloc_get_obj_by_depth>(__func__)(topology, depth, index);
}
int hwloc_obj_type_is_cache(Type type) { return late<hwloc_obj_type_is_cache>(__func__)(type); }
int hwloc_obj_add_info(hwloc_obj_t object, const char* name, const char* value) {
  return late<hwloc_obj_add_info>(__func__)(object, name, value);
}
hwloc_obj_t hwloc_topology_insert_misc_object(Topology topology, hwloc_obj_t parent, const char* name) {
  return late<hwloc_topology_insert_misc_object>(__func__)(topology, parent, name);
}

int hwloc_distances_get_by_name(Topology topology, const char* name, unsigned* count, hwloc_distances_s** distances,
                                Flags flags) {
  return late<hwloc_distances_get_by_name>(__func__)(topology, name, count, distances, flags);
}
void hwloc_distances_release(Topology topology, hwloc_distances_s* distances) {
  late<hwloc_distances_release>(__func__)(topology, distances);
}
int hwloc_cpukinds_get_nr(Topology topology, Flags flags) {
  return late<hwloc_cpukinds_get_nr>(__func__)(topology, flags);
}
int hwloc_cpukinds_get_info(Topology topology, unsigned kind, hwloc_bitmap_t cpus, int* efficiency, unsigned* count,
                            hwloc_info_s** infos, Flags flags) {
  return late<hwloc_cpukinds_get_info>(__func__)(topology, kind, cpus, efficiency, count, infos, flags);
}

}  // extern "C"
