// Host-wide settings of /etc/vmrun/host.toml; every one has a default, the file may be absent.
#pragma once

#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launcher/text/problem.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline text {
struct KeyInfo;
}  // namespace launcher::text

namespace launcher::inline facts {

struct HostConfig {
  topology::HostPolicy policy;              // housekeeping = "0-1" | "auto"; keep_free = "512M" (per node)
  std::string qemu = "qemu-system-x86_64";  // qemu: a path, or a name looked up in PATH
  std::string passt = "passt";              // passt: likewise; for networks of mode "passt"
  std::string swtpm = "swtpm";              // swtpm: likewise; for [tpm]
  std::optional<std::string> user;          // user = "auto" (a uid of its own per VM) | "name" of an existing user
  std::optional<std::string> state_dir;     // state_dir; auto: /var/lib/vmrun, or for a user $XDG_STATE_HOME/vmrun
  std::optional<std::string> overlays;      // overlays = "auto" (beside each image) | a directory
  std::optional<std::string> virtiofsd;     // virtiofsd = "auto" (where Debian has it, or in PATH) | a path
  bool identity_of_name = false;            // identity = "host" | "name": UUIDs and MACs are the same on every host
  friend bool operator==(const HostConfig&, const HostConfig&) = default;
};

// A path, or a name looked up in PATH, as an absolute path; nullopt: nothing there that can be executed.
std::optional<std::string> find_program(const std::string& name);

// What outlives a VM's run, and `vmrun host tune --persist`: state_dir, $VMRUN_STATE_DIR, or its default.
std::string state_base(const HostConfig& config);

std::vector<KeyInfo> host_config_keys();  // every readable key

// file == "" reads /etc/vmrun/host.toml if it exists. Problems name keys of that file; rendered text on error.
std::expected<HostConfig, std::string> read_host_config(const std::filesystem::path& file = {});

}  // namespace launcher::facts
