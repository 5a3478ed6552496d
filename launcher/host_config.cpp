// /etc/vmrun/host.toml -> HostConfig, by the same readers as a spec.
#include "launcher/host_config.hpp"

#include <fmt/format.h>

#include "launcher/printable.hpp"
#include "launcher/read_spec.hpp"

namespace launcher {

namespace {

constexpr const char* default_file = "/etc/vmrun/host.toml";

HostConfig read_root(TableReader& root) {
  HostConfig config;
  config.policy.housekeeping = root.cpus_or_auto("housekeeping");
  config.policy.keep_free = root.size("keep_free", topology::mib(512), {0}, topology::gib(1u << 20));
  config.qemu = root.text("qemu", config.qemu);
  if (config.qemu.empty())
    root.problem("qemu", "is empty; wanted a path, or a name to look up in PATH",
                 "write qemu = \"qemu-system-x86_64\"");
  if (!root.is_text("user", "auto")) {
    const std::string user = root.text("user", "auto");
    if (user == "root" || user == "0")
      root.problem("user", "\"root\"; wanted a user without rights: QEMU needs none, vmrun opens everything for it",
                   "write user = \"auto\" for a user of its own per VM");
    else if (user.empty())
      root.problem("user", "is empty; wanted \"auto\" or the name of a user", "write user = \"auto\"");
    else if (user != "auto")
      config.user = user;
  }
  root.finish();
  return config;
}

}  // namespace

std::vector<KeyInfo> host_config_keys() {
  const std::expected<TomlDocument, TomlErrors> nothing = TomlDocument::parse("", "");
  std::vector<KeyInfo> keys;
  Problems ignored;
  TableReader root(*nothing, ignored, &keys);
  read_root(root);
  return keys;
}

std::expected<HostConfig, std::string> read_host_config(const std::filesystem::path& file) {
  std::error_code ignored;
  if (file.empty() && !std::filesystem::exists(default_file, ignored)) return HostConfig{};
  const std::expected<TomlDocument, TomlErrors> document =
      TomlDocument::load(file.empty() ? std::filesystem::path(default_file) : file, {});
  if (!document) return std::unexpected(render(document.error().problems, &document.error().document, false));
  const std::vector<KeyInfo> known = host_config_keys();
  Problems problems;
  TableReader root(*document, problems, nullptr, &known);
  HostConfig config = read_root(root);
  if (!problems.empty()) return std::unexpected(render(problems, &*document, false));
  return config;
}

}  // namespace launcher
