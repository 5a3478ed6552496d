// What a QEMU can do: from the cache, or asked of it. The rule: an answer is kept by what the binary is, never by its version.
#include "launcher/facts/qemu_features.hpp"

#include <fmt/format.h>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <utility>

#include "launcher/facts/host_config.hpp"
#include "launcher/facts/qemu_cache.hpp"
#include "launcher/facts/qemu_probe.hpp"
#include "topology/struct_json.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline facts {

BOOST_DESCRIBE_STRUCT(MachineLimit, (), (machine, cpus))
BOOST_DESCRIBE_STRUCT(QemuFeatures, (),
                      (binary, version, q35, machines, deprecated_machines, known, limits, cpu_models,
                       deprecated_cpu_models, cpu_on, cpu_off))

namespace {

std::string identity(const std::string& binary) { return fmt::format("{}:{}", probe_generation, identity_of(binary)); }

}  // namespace

bool QemuFeatures::maps_memory_files() const {
  unsigned major = 0, minor = 0;
  return std::sscanf(version.c_str(), "%u.%u", &major, &minor) == 2 && std::pair(major, minor) >= std::pair(10u, 1u);
}

std::expected<std::string, std::string> find_qemu(const std::string& name) {
  if (const auto found = find_program(name)) return *found;
  if (name.find('/') != std::string::npos)
    return std::unexpected(
        fmt::format("QEMU: '{}' cannot be executed; set qemu in /etc/vmrun/host.toml to a binary that can", name));
  return std::unexpected(fmt::format(
      "QEMU: no '{}' in PATH; install it (Debian: apt install qemu-system-x86), or set qemu in /etc/vmrun/host.toml",
      name));
}

std::expected<QemuFeatures, std::string> qemu_features(const std::string& binary, Cache cache) {
  const std::string key = identity(binary);
  for (const std::string& kept : read_cache(key))
    if (auto features = features_from_json(kept)) return features;
  const std::expected<QemuFeatures, std::string> asked = ask_qemu(binary);
  if (asked && cache == Cache::store) write_cache(key, to_json(*asked));
  return asked;
}

std::expected<std::set<std::string>, std::string> host_cpu_features(const std::string& binary, Cache cache) {
  const topology::Sysfs sysfs;
  std::string key = identity(binary) + ":host-cpu:" + sysfs.read("/proc/sys/kernel/random/boot_id").value_or("");
  for (const char* module : {"kvm_intel", "kvm_amd"})
    key += ":" + sysfs.read(std::string("/sys/module/") + module + "/parameters/nested").value_or("");
  for (const std::string& kept : read_cache(key)) {
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(kept, error);
    if (!error && value.is_array()) return topology::json::read<std::set<std::string>>(value, "host-cpu");
  }
  const std::expected<std::set<std::string>, std::string> asked = ask_host_cpu(binary);
  if (asked && cache == Cache::store) write_cache(key, boost::json::serialize(topology::json::write(*asked)));
  return asked;
}

std::string to_json(const QemuFeatures& features) { return boost::json::serialize(topology::json::write(features)); }

std::expected<QemuFeatures, std::string> features_from_json(std::string_view json) {
  boost::system::error_code error;
  boost::json::monotonic_resource memory;  // a thousand words, read once
  const boost::json::value value = boost::json::parse(json, error, &memory);
  if (error) return std::unexpected("no JSON: " + error.message());
  try {
    return topology::json::read<QemuFeatures>(value, "qemu");
  } catch (const std::invalid_argument& wrong) {
    return std::unexpected(wrong.what());
  }
}

}  // namespace launcher::facts
