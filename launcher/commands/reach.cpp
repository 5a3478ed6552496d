#include "launcher/commands/reach.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <filesystem>

#include "launcher/commands/elsewhere.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::commands {

bool is_file_name(const std::string& name) {
  return !name.empty() && !name.starts_with('.') && name.find('/') == std::string::npos;
}

std::string spec_named(const std::string& name) {
  std::error_code none;
  for (const std::string& file : {name + ".toml", "/etc/vmrun/" + name + ".toml", name})
    if (is_file_name(name) && std::filesystem::is_regular_file(file, none)) return file;
  return "";
}

VmDir named_vm(const Options& options) { return named_vm(options.word(0, "a VM's name")); }

VmDir named_vm(const std::string& name) {
  if (auto dir = VmDir::find(run_base(), name)) return *dir;
  for (const OtherVm& other : vms_elsewhere())
    if (other.name == name)
      throw std::runtime_error(
          fmt::format("VM '{}' is {}'s: `{} ...` reaches it", printable(name), other.whose, other.reach));
  std::vector<std::string> names;
  for (const VmDir& dir : VmDir::all(run_base())) names.push_back(dir.name());
  const std::string close = closest(name, names);
  const std::string spec = close.empty() ? spec_named(name) : "";
  throw std::runtime_error(fmt::format(
      "no VM '{}' runs here{}{} ({})", printable(name), close.empty() ? "" : "; did you mean '" + close + "'?",
      spec.empty() ? "" : fmt::format("; `vmrun start {}` starts it", printable(spec)),
      names.empty() ? "none does" : fmt::format("there are: {}", fmt::join(names, ", "))));
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

std::unique_ptr<::qmp::Client> monitor_if_free(const VmDir& dir) {
  try {
    return std::make_unique<::qmp::Client>(connect_monitor(dir));
  } catch (const std::exception&) {
    return nullptr;
  }
}

std::unique_ptr<::qmp::Client> monitor_to_ask(const VmDir& dir, const std::vector<::qmp::Command>& ahead) {
  try {
    auto monitor = std::make_unique<::qmp::Client>(::qmp::connect_unix(dir.path() / "qmp.sock"));
    std::vector<::qmp::Command> commands{{"qmp_capabilities"}};
    commands.insert(commands.end(), ahead.begin(), ahead.end());
    monitor->send_ahead(commands, patience);
    return monitor;
  } catch (const std::exception&) {
    return nullptr;
  }
}

std::unique_ptr<::qmp::Client> if_it_answers(std::unique_ptr<::qmp::Client> monitor,
                                             const std::vector<::qmp::Command>& more) {
  try {
    if (!monitor) return nullptr;
    if (!more.empty()) monitor->send_ahead(more, patience);
    monitor->handshake(patience);
    return monitor;
  } catch (const std::exception&) {
    return nullptr;
  }
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

}  // namespace launcher::commands
