// /etc/vmrun/host.toml -> HostConfig, by the same readers as a spec.
#include "launcher/facts/host_config.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline facts {

namespace {

constexpr const char* default_file = "/etc/vmrun/host.toml";

// The key of a program: a path or a name.
void read_program(TableReader& root, std::string_view key, std::string& program) {
  const std::string fallback = program;
  program = root.text(key, fallback);
  if (program.empty())
    root.problem(key, "is empty; wanted a path, or a name to look up in PATH",
                 fmt::format("write {} = \"{}\"", key, fallback));
}

HostConfig read_root(TableReader& root) {
  HostConfig config;
  config.policy.housekeeping = root.cpus_or_auto("housekeeping");
  config.policy.keep_free = root.size("keep_free", topology::mib(512), {0}, topology::gib(1u << 20));
  read_program(root, "qemu", config.qemu);
  read_program(root, "passt", config.passt);
  read_program(root, "swtpm", config.swtpm);
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
  const auto path_or_auto = [&](const char* key) -> std::optional<std::string> {
    if (root.is_text(key, "auto")) return std::nullopt;
    const std::string path = root.path(key, false);
    return path.empty() ? std::nullopt : std::optional(path);
  };
  config.identity_of_name = root.choice("identity", {"host", "name"}, 0) == 1;
  config.overlays = path_or_auto("overlays");
  config.virtiofsd = path_or_auto("virtiofsd");
  config.state_dir = path_or_auto("state_dir");
  root.finish();
  return config;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  namespace fs = std::filesystem;
  if (name.find('/') != name.npos)
    return access(name.c_str(), X_OK) == 0 ? std::optional(fs::canonical(name).string()) : std::nullopt;
  const char* path = std::getenv("PATH");
  std::stringstream folders(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path candidate = fs::path(folder) / name;
    if (!folder.empty() && access(candidate.c_str(), X_OK) == 0) return fs::canonical(candidate).string();
  }
  return std::nullopt;
}

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

std::string state_base(const HostConfig& config) {
  const auto from = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  if (config.state_dir) return *config.state_dir;
  if (const std::string given = from("VMRUN_STATE_DIR"); !given.empty()) return given;
  if (geteuid() == 0) return "/var/lib/vmrun";
  if (const std::string given = from("XDG_STATE_HOME"); !given.empty()) return given + "/vmrun";
  return from("HOME") + "/.local/state/vmrun";
}

}  // namespace launcher::facts
