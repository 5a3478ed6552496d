// What several commands do alike.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <cstdio>

#include "launcher/commands/commands.hpp"
#include "launcher/printable.hpp"
#include "launcher/terminal.hpp"

namespace launcher::commands {

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const boost::json::value& value) { print(boost::json::serialize(value) + "\n"); }

void say(const std::string& text) {
  const std::string line = "vmrun: " + text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void print_problems(const Problems& problems, const TomlDocument* document, bool json) {
  if (json) {
    print(problems_to_json(problems, document) + "\n");
    return;
  }
  const std::string text = render(problems, document, colour_wanted(STDERR_FILENO));
  std::fwrite(text.data(), 1, text.size(), stderr);
}

std::optional<SpecFile> read_spec_or_print(const Options& options) {
  auto read = read_spec(options.word(0, "the spec's file"), options.all("set"));
  if (read) return std::move(*read);
  print_problems(read.error().problems, read.error().document ? &*read.error().document : nullptr,
                 options.flag("json"));
  return std::nullopt;
}

HostConfig host_config_or_throw(const Options&) {
  const char* given = std::getenv("VMRUN_HOST_TOML");
  auto config = read_host_config(given != nullptr ? given : "");
  if (!config) throw UsageError(config.error());
  return *config;
}

VmDir named_vm(const Options& options) {
  const std::string& name = options.word(0, "a VM's name");
  if (auto dir = VmDir::find(run_base(), name)) return *dir;
  std::string names;
  for (const VmDir& dir : VmDir::all(run_base())) names += (names.empty() ? "" : ", ") + dir.name();
  throw std::runtime_error(
      fmt::format("no VM '{}' runs here ({})", printable(name), names.empty() ? "none does" : "there are: " + names));
}

}  // namespace launcher::commands
