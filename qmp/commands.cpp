// QMP's command names and the shapes of their replies. A reply is believed only as far as it was checked.
#include "qmp/commands.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <limits>
#include <set>
#include <string_view>

namespace qmp {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

// A JSON value of a reply, with the command it answers: reads that end in Error(protocol).
class Node {
 public:
  Node(const json::value& value, std::string_view command) : value_(&value), command_(command) {}

  std::vector<Node> list() const {
    if (!value_->is_array()) fail("a list");
    std::vector<Node> nodes;
    for (const json::value& value : value_->get_array()) nodes.emplace_back(value, command_);
    return nodes;
  }
  bool has(std::string_view key) const { return object().contains(key); }
  Node operator[](std::string_view key) const {
    const json::value* value = object().if_contains(key);
    if (!value) fail("a member \"" + std::string(key) + '"');
    return {*value, command_};
  }
  const json::object& members() const { return object(); }
  std::string text() const {
    if (!value_->is_string()) fail("a string");
    return std::string(value_->get_string());
  }
  bool truth() const {
    if (!value_->is_bool()) fail("true or false");
    return value_->get_bool();
  }
  template <class Int>
  Int number(Int least) const {
    const std::int64_t* number = value_->if_int64();
    if (!number || *number < std::int64_t{least} || *number > std::int64_t{std::numeric_limits<Int>::max()}) {
      fail("a number from " + std::to_string(least));
    }
    return static_cast<Int>(*number);
  }
  std::uint64_t bytes(std::int64_t least) const { return static_cast<std::uint64_t>(number<std::int64_t>(least)); }
  [[noreturn]] void fail(const std::string& wanted) const {
    throw Error(Error::Kind::protocol, "the reply to '" + std::string(command_) + "' should have " + wanted + " at " +
                                           excerpt(json::serialize(*value_)));
  }

 private:
  const json::object& object() const {
    if (!value_->is_object()) fail("an object");
    return value_->get_object();
  }

  const json::value* value_;
  std::string_view command_;
};

std::optional<std::vector<std::string>> properties(Client& client, const char* command, const std::string& type,
                                                   milliseconds deadline) {
  json::value reply;
  try {
    reply = client.execute({command, {{"typename", type}}}, deadline);
  } catch (const Error& e) {
    if (e.error_class == "DeviceNotFound") return std::nullopt;
    throw;
  }
  std::vector<std::string> names;
  for (const Node& property : Node(reply, command).list()) names.push_back(property["name"].text());
  return names;
}

}  // namespace

std::vector<Vcpu> query_cpus_fast(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-cpus-fast"}, deadline);
  std::vector<Vcpu> vcpus;
  std::set<unsigned> seen;
  for (const Node& cpu : Node(reply, "query-cpus-fast").list()) {
    vcpus.push_back({cpu["cpu-index"].number<unsigned>(0), cpu["thread-id"].number<pid_t>(1), cpu["qom-path"].text()});
    if (!seen.insert(vcpus.back().index).second) cpu.fail("each cpu-index once, not twice");
  }
  return vcpus;
}

std::vector<Iothread> query_iothreads(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-iothreads"}, deadline);
  std::vector<Iothread> iothreads;
  for (const Node& iothread : Node(reply, "query-iothreads").list()) {
    iothreads.push_back({iothread["id"].text(), iothread["thread-id"].number<pid_t>(1)});
  }
  return iothreads;
}

void ask_ahead_for_threads(Client& client, bool iothreads, milliseconds deadline) {
  std::vector<Command> commands{{"qmp_capabilities"}, {"query-cpus-fast"}};
  if (iothreads) commands.push_back({"query-iothreads"});
  client.send_ahead(commands, deadline);
}

std::string query_status(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-status"}, deadline);
  return Node(reply, "query-status")["status"].text();
}

void cont(Client& client, milliseconds deadline) { client.execute({"cont"}, deadline); }

void stop(Client& client, milliseconds deadline) { client.execute({"stop"}, deadline); }

void system_powerdown(Client& client, milliseconds deadline) { client.execute({"system_powerdown"}, deadline); }

void system_reset(Client& client, milliseconds deadline) { client.execute({"system_reset"}, deadline); }

void quit(Client& client, milliseconds deadline) {
  const bool connected = client.fd() >= 0;
  try {
    client.execute({"quit"}, deadline);
  } catch (const Error& e) {
    if (!connected || e.kind != Error::Kind::disconnected) throw;
  }
}

std::vector<MachineType> query_machines(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-machines"}, deadline);
  std::vector<MachineType> machines;
  for (const Node& machine : Node(reply, "query-machines").list()) {
    MachineType& type = machines.emplace_back();
    type.name = machine["name"].text();
    type.cpu_max = machine["cpu-max"].number<unsigned>(0);
    if (machine.has("alias")) type.alias = machine["alias"].text();
    if (machine.has("deprecated")) type.deprecated = machine["deprecated"].truth();
  }
  return machines;
}

std::vector<CpuModel> query_cpu_definitions(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-cpu-definitions"}, deadline);
  std::vector<CpuModel> models;
  for (const Node& model : Node(reply, "query-cpu-definitions").list())
    models.push_back({model["name"].text(), model.has("deprecated") && model["deprecated"].truth()});
  return models;
}

std::optional<std::map<std::string, bool>> query_cpu_model_expansion(Client& client, const std::string& model,
                                                                     milliseconds deadline) {
  json::value reply;
  try {
    reply = client.execute({"query-cpu-model-expansion", {{"type", "full"}, {"model", {{"name", model}}}}}, deadline);
  } catch (const Error& e) {
    if (e.error_class == "GenericError") return std::nullopt;
    throw;
  }
  const Node expanded = Node(reply, "query-cpu-model-expansion")["model"];
  std::map<std::string, bool> switches;
  for (const auto& [name, value] : expanded["props"].members())
    if (value.is_bool()) switches.emplace(name, value.get_bool());
  return switches;
}

bool qom_get_flag(Client& client, const std::string& path, const std::string& property, milliseconds deadline) {
  const json::value reply = client.execute({"qom-get", {{"path", path}, {"property", property}}}, deadline);
  return Node(reply, "qom-get").truth();
}

json::value query_qmp_schema(Client& client, milliseconds deadline) {
  json::value schema = client.execute({"query-qmp-schema"}, deadline);
  if (!schema.is_array()) Node(schema, "query-qmp-schema").fail("a list");
  return schema;
}

std::string option_type(Client& client, const std::string& option, const std::string& parameter,
                        milliseconds deadline) {
  json::value reply;
  try {
    reply = client.execute({"query-command-line-options", {{"option", option}}}, deadline);
  } catch (const Error& e) {
    if (e.kind == Error::Kind::refused) return {};  // no such option
    throw;
  }
  for (const Node& one : Node(reply, "query-command-line-options").list())
    for (const Node& known : one["parameters"].list())
      if (known["name"].text() == parameter) return known["type"].text();
  return {};
}

std::vector<HotMemory> query_hot_memory(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-memory-devices"}, deadline);
  std::vector<HotMemory> devices;
  for (const Node& device : Node(reply, "query-memory-devices").list()) {
    if (device["type"].text() != "virtio-mem") continue;
    const Node data = device["data"];
    devices.push_back({data["id"].text(), data["block-size"].bytes(1), data["max-size"].bytes(0),
                       data["requested-size"].bytes(0), data["size"].bytes(0)});
  }
  return devices;
}

std::uint64_t query_base_memory(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-memory-size-summary"}, deadline);
  return Node(reply, "query-memory-size-summary")["base-memory"].bytes(0);
}

void request_hot_memory(Client& client, const std::string& id, std::uint64_t bytes, milliseconds deadline) {
  client.execute({"qom-set", {{"path", "/machine/peripheral/" + id}, {"property", "requested-size"}, {"value", bytes}}},
                 deadline);
}

std::uint64_t query_balloon(Client& client, milliseconds deadline) {
  const json::value reply = client.execute({"query-balloon"}, deadline);
  return Node(reply, "query-balloon")["actual"].bytes(0);
}

void balloon(Client& client, std::uint64_t bytes, milliseconds deadline) {
  client.execute({"balloon", {{"value", bytes}}}, deadline);
}

std::optional<std::vector<std::string>> device_list_properties(Client& client, const std::string& type,
                                                               milliseconds deadline) {
  return properties(client, "device-list-properties", type, deadline);
}

std::optional<std::vector<std::string>> qom_list_properties(Client& client, const std::string& type,
                                                            milliseconds deadline) {
  return properties(client, "qom-list-properties", type, deadline);
}

}  // namespace qmp
