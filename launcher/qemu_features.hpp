// What this QEMU binary can do, asked of itself over QMP once and cached by the binary's identity. The rule: features
// are probed, versions are never compared.
#pragma once

#include <expected>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace launcher {

struct QemuFeatures {
  std::string binary;              // resolved path
  std::string version;             // "7.2.22", for people
  std::string q35;                 // what "q35" stands for: "pc-q35-7.2"
  std::set<std::string> machines;  // versioned q35 machines this QEMU has
  std::set<std::string> deprecated_machines;
  // "type.property" of devices and objects, "machine.property" of q35, "accel.kvm", "accel.tcg", "kvm.device",
  // "aio.io_uring", "netdev.passt", "type" alone when the type exists.
  std::set<std::string> known;
  bool has(std::string_view feature) const { return known.contains(std::string(feature)); }
  friend bool operator==(const QemuFeatures&, const QemuFeatures&) = default;
};

// Finds the binary (a path, or a name in PATH). Error: for the user.
std::expected<std::string, std::string> find_qemu(const std::string& name);

// Warm: one small file is read. Cold: `-M none` is started and asked (about 0.3 s); store says whether the answer may be
// written to the cache (a plan writes nothing). Error: QEMU's own words.
enum class Cache { read_only, store };
std::expected<QemuFeatures, std::string> qemu_features(const std::string& binary, Cache cache);

std::string to_json(const QemuFeatures& features);
std::expected<QemuFeatures, std::string> features_from_json(std::string_view json);

}  // namespace launcher
