// What this QEMU binary can do, asked of itself over QMP once and cached by the binary's identity. The rule: features
// are probed, versions are never compared (but for faults that no question shows: loses_poll_us, maps_memory_files).
#pragma once

#include <expected>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline facts {

// How many vCPUs a machine can have.
struct MachineLimit {
  std::string machine;
  unsigned cpus = 0;
  friend bool operator==(const MachineLimit&, const MachineLimit&) = default;
};

struct QemuFeatures {
  std::string binary;              // resolved path
  std::string version;             // "7.2.22", for people
  std::string q35;                 // what "q35" stands for: "pc-q35-7.2"
  std::set<std::string> machines;  // versioned q35 machines this QEMU has
  std::set<std::string> deprecated_machines;
  // "type.property" of devices and objects, "machine.property" of q35, "accel.kvm", "accel.tcg", "kvm.device",
  // "aio.io_uring", "netdev.passt", "chardev.reconnect-ms", "type" alone when the type exists.
  std::set<std::string> known;
  std::vector<MachineLimit> limits;  // of `machines`
  std::set<std::string> cpu_models;  // that -cpu knows, "host" and "max" among them
  std::set<std::string> deprecated_cpu_models;
  std::set<std::string> cpu_on, cpu_off;  // CPU features: what TCG can give, and what else it knows by name
  bool has(std::string_view feature) const { return known.contains(std::string(feature)); }
  // 11.1.3 hands the kernel a busyloop timeout of 1 us whatever -netdev tap,poll-us= says (its ioctls were looked at).
  bool loses_poll_us() const { return version.starts_with("11.1."); }
  // From 10.1 on vfio with iommufd maps memory that is a file by that file (hw/vfio/container.c, vfio_container_dma_map), and has no
  // other way where the kernel cannot; no question to QEMU shows it.
  bool maps_memory_files() const;
  friend bool operator==(const QemuFeatures&, const QemuFeatures&) = default;
};

// Finds the binary (a path, or a name in PATH). Error: for the user.
std::expected<std::string, std::string> find_qemu(const std::string& name);

// Warm: one small file is read. Cold: `-M none` is started and asked (about 0.3 s); store says whether the answer may be
// written to the cache (a plan writes nothing). Error: QEMU's own words.
enum class Cache { read_only, store };
std::expected<QemuFeatures, std::string> qemu_features(const std::string& binary, Cache cache);

// What model "host" has under this machine's KVM, by this QEMU's names: asked once for each boot and setting of KVM's module.
std::expected<std::set<std::string>, std::string> host_cpu_features(const std::string& binary, Cache cache);

std::string to_json(const QemuFeatures& features);
std::expected<QemuFeatures, std::string> features_from_json(std::string_view json);

}  // namespace launcher::facts
