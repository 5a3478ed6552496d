// Small tables in the shape of QEMU's answers: enough for a feature probe to find a modern QEMU.
#include "tests/fakes/fake_qemu_answers.hpp"

#include <boost/json.hpp>
#include <map>
#include <vector>

namespace fake_qemu {
namespace {

namespace json = boost::json;

const std::map<std::string, std::vector<const char*>>& property_table() {
  static const std::map<std::string, std::vector<const char*>> table{
      {"virtio-blk-pci",
       {"drive",
        "serial",
        "num-queues",
        "queue-size",
        "packed",
        "iothread",
        "iothread-vq-mapping",
        "write-cache",
        "discard",
        "write-zeroes",
        "logical_block_size",
        "physical_block_size",
        "bootindex",
        "vectors",
        "addr",
        "iommu_platform",
        "disable-legacy",
        "ats",
        "romfile",
        "x-disable-pcie",
        "seg-max-adjust",
        "config-wce",
        "event_idx"}},
      {"virtio-scsi-pci",
       {"num_queues", "virtqueue_size", "packed", "iothread", "iothread-vq-mapping", "vectors", "addr", "event_idx"}},
      {"virtio-net-pci",
       {"netdev", "mac", "mq", "vectors", "packed", "host_mtu", "rx_queue_size", "tx_queue_size", "addr", "romfile",
        "bootindex", "iommu_platform", "event_idx", "rss", "hash", "failover"}},
      {"vfio-pci", {"host", "sysfsdev", "fd", "iommufd", "addr", "x-vga", "romfile", "bootindex"}},
      {"nvme", {"drive", "serial", "max_ioqpairs", "ioeventfd", "addr", "bootindex"}},
      {"pcie-root-port", {"port", "chassis", "slot", "addr", "bus", "io-reserve", "pref64-reserve", "multifunction"}},
      {"virtio-rng-pci", {"rng", "max-bytes", "period", "packed", "addr"}},
      {"virtio-balloon-pci", {"free-page-reporting", "deflate-on-oom", "packed", "addr"}},
      {"virtio-mem-pci", {"memdev", "node", "requested-size", "block-size", "addr"}},
      {"virtio-serial-pci", {"max_ports", "vectors", "packed", "addr"}},
      {"vhost-vsock-pci", {"guest-cid", "vhostfd", "packed", "addr"}},
      {"vhost-user-fs-pci", {"chardev", "tag", "queue-size", "num-request-queues", "addr"}},
      {"virtio-vga", {"max_outputs", "xres", "yres", "addr"}},
      {"qemu-xhci", {"p2", "p3", "addr"}},
      {"isa-serial", {"chardev", "index", "iobase", "irq"}},
      {"iothread", {"poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", "thread-pool-min", "thread-pool-max"}},
      {"thread-context", {"cpu-affinity", "node-affinity", "thread-id"}},
      {"memory-backend-memfd",
       {"size", "share", "hugetlb", "hugetlbsize", "seal", "host-nodes", "policy", "prealloc", "prealloc-threads",
        "prealloc-context", "merge", "dump", "reserve"}},
      {"memory-backend-file",
       {"size", "mem-path", "align", "offset", "share", "pmem", "readonly", "rom", "discard-data", "host-nodes",
        "policy", "prealloc", "prealloc-threads", "prealloc-context", "merge", "dump", "reserve"}},
      {"memory-backend-ram",
       {"size", "share", "host-nodes", "policy", "prealloc", "prealloc-threads", "prealloc-context", "merge", "dump",
        "reserve"}},
      {"pc-q35-99.9-machine",
       {"type", "accel", "kernel-irqchip", "pit", "hpet", "vmport", "smm", "acpi", "usb", "memory-backend", "mem-merge",
        "dump-guest-core", "memory-encryption", "hmat", "nvdimm", "smp", "smp-cache", "aux-ram-share"}},
  };
  return table;
}

}  // namespace

json::object version() { return {{"qemu", {{"major", 99}, {"minor", 9}, {"micro", 9}}}, {"package", "fake"}}; }

json::array machines() {
  const auto machine = [](const char* name, int cpus, bool deprecated) {
    return json::object{{"name", name},
                        {"cpu-max", cpus},
                        {"hotpluggable-cpus", true},
                        {"deprecated", deprecated},
                        {"numa-mem-supported", false},
                        {"acpi", true}};
  };
  json::object q35 = machine("pc-q35-99.9", 4096, false);
  q35["alias"] = "q35";
  json::object pc = machine("pc-i440fx-99.9", 255, false);
  pc["alias"] = "pc";
  pc["is-default"] = true;
  return {q35, pc, machine("pc-q35-96.1", 4096, true), machine("microvm", 288, false), machine("none", 1, false)};
}

json::array cpu_models() {
  json::array models;
  for (const char* name : {"max", "host", "qemu64", "base"})
    models.push_back(json::object{{"name", name}, {"deprecated", std::string(name) == "base"}, {"static", false}});
  return models;
}

json::object cpu_expansion() {
  const json::object props{{"avx2", true},   {"x2apic", true},   {"svm", true},      {"sse4-1", true},
                           {"sse4_1", true}, {"avx512f", false}, {"vmx", false},     {"hv-time", false},
                           {"family", 6},    {"x-odd", true},    {"realized", false}};
  return {{"model", {{"name", "max"}, {"props", props}}}};
}

json::array schema() {
  const auto command = [](const char* name) {
    return json::object{{"name", name}, {"meta-type", "command"}, {"arg-type", "0"}, {"ret-type", "0"}};
  };
  const auto options = [](const char* name, std::vector<const char*> values) {
    json::array members;
    json::array plain;
    for (const char* value : values) {
      members.push_back(json::object{{"name", value}});
      plain.push_back(value);
    }
    return json::object{{"name", name}, {"meta-type", "enum"}, {"members", members}, {"values", plain}};
  };
  return {command("query-cpus-fast"),
          command("query-iothreads"),
          command("query-stats"),
          command("query-status"),
          command("cont"),
          command("stop"),
          command("quit"),
          command("blockdev-add"),
          command("object-add"),
          command("x-query-virtio-status"),
          json::object{{"name", "0"}, {"meta-type", "object"}, {"members", json::array()}},
          options("1", {"threads", "native", "io_uring"}),
          options("2", {"user", "tap", "vhost-user", "vhost-vdpa", "stream", "dgram", "passt"})};
}

json::array types() {
  json::array list;
  for (const auto& [type, properties] : property_table()) {
    list.push_back(json::object{{"name", type}, {"parent", "object"}});
  }
  return list;
}

std::optional<json::array> properties_of(const std::string& type) {
  const auto found = property_table().find(type);
  if (found == property_table().end()) return std::nullopt;
  json::array list;
  for (const char* name : found->second) list.push_back(json::object{{"name", name}, {"type", "str"}});
  return list;
}

}  // namespace fake_qemu
