// What several commands do alike.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "launcher/commands/commands.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"

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

::qmp::Client connect_monitor(const VmDir& dir) {
  ::qmp::Client client(::qmp::connect_unix(dir.path() / "qmp.sock"));
  try {
    client.handshake(std::chrono::seconds(5));
  } catch (const ::qmp::Error& error) {
    if (error.kind == ::qmp::Error::Kind::timeout)
      throw std::runtime_error("QEMU does not answer: does somebody else hold " + (dir.path() / "qmp.sock").string() +
                               "?");
    throw;
  }
  return client;
}

::qmp::Command command_of(const std::string& text) {
  ::qmp::Command command{text};
  if (!text.starts_with('{')) return command;
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(text, error);
  if (error) throw UsageError("no JSON: " + error.message());
  const boost::json::object& object = json.as_object();
  const boost::json::value* name = object.if_contains("execute");
  if (name == nullptr || !name->is_string())
    throw UsageError("wanted {\"execute\": \"COMMAND\", \"arguments\": {...}}");
  command.name = std::string(name->get_string());
  if (const boost::json::value* arguments = object.if_contains("arguments")) {
    if (!arguments->is_object()) throw UsageError("\"arguments\" must be an object");
    command.arguments = arguments->get_object();
  }
  return command;
}

void report(const Options& options, const VmDir& dir, const std::string& what) {
  if (options.flag("json"))
    print_json({{"name", dir.name()}, {"done", what}});
  else
    say(fmt::format("VM {}: {}", dir.name(), what));
}

}  // namespace launcher::commands
