// What a VM keeps between its runs, and who made it: a record beside it. The rule: state is a guest's word; that it may be used for
// this spec is ours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline plan {

constexpr const char* variables_file = "vars.fd";
constexpr const char* variables_image = "vars.qcow2";  // where the firmware's template is one
constexpr const char* tpm_directory = "tpm";
constexpr const char* maker_file = "made-by.json";

struct StateMaker {
  std::string uuid;
  bool secure_boot = false;        // of all runs: variables that were once used without may hold anybody's keys
  std::string firmware;            // the template that the variables are a copy of; "": it has none
  std::vector<std::string> disks;  // the VM's, as it ran last
  friend bool operator==(const StateMaker&, const StateMaker&) = default;
};

struct KeptState {
  bool variables = false, tpm = false;
  std::uintmax_t variables_size = 0;  // 0: an image's says nothing
  bool platform_key = false;          // in the variables: without one Secure Boot is off
  std::optional<StateMaker> maker{};  // nullopt: an older vmrun's, or nothing is kept
};
KeptState look_at_kept_state(const std::filesystem::path& directory);

bool has_platform_key(std::string_view variables);  // of an OVMF variable store

}  // namespace launcher::plan
