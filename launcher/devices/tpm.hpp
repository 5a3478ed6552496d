// A TPM 2.0: swtpm beside QEMU, its state kept between runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline facts {
struct HostConfig;
}  // namespace launcher::facts

namespace launcher::inline devices {

struct DeviceContext;

struct Tpm {
  enum class Model { crb, tis };
  Model model = Model::crb;  // tpm.model

  struct Facts {
    std::string swtpm;  // the program; "": none in PATH
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "tpm", .many = false};
  static Tpm read(TableReader& table);
  friend bool operator==(const Tpm&, const Tpm&) = default;
};

Tpm::Facts look_at(const Tpm& tpm, const HostConfig& config);
Tpm::Facts assumed(const Tpm& tpm);
DeviceNeeds needs(const Tpm& tpm, const Tpm::Facts& facts, unsigned vcpus);
void plan_device(const Tpm& tpm, const Tpm::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
