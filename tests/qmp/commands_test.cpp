#include "qmp/commands.hpp"

#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <functional>
#include <string>

#include "tests/qmp/peer.hpp"

using namespace std::chrono_literals;
using qmp::Client;
using qmp_tests::Asked;
using qmp_tests::Peer;
using Kind = qmp::Error::Kind;

namespace {

constexpr auto plenty = 20s;

// A client whose QEMU answers every command with the same JSON; remembers the last command.
struct Answering {
  explicit Answering(std::string json)  // its newlines are only for the reader
      : peer([this, json = std::move(json)](Peer::End& qemu) {
          qemu.handshake();
          std::string line = json;
          std::erase(line, '\n');
          while (const std::optional<Asked> command = qemu.asked()) {
            last = *command;
            qemu.reply(command->id, line);
          }
        }),
        client(peer.take()) {
    client.handshake(plenty);
  }
  Asked last;
  Peer peer;
  Client client;
};

template <class Call>
void check_protocol_error(const std::string& json, const Call& call) {
  CAPTURE(json);
  Answering qemu(json);
  try {
    call(qemu.client);
    FAIL_CHECK("no error");
  } catch (const qmp::Error& e) {
    CHECK_MESSAGE(e.kind == Kind::protocol, e.what());
    CHECK_MESSAGE(std::string(e.what()).starts_with("the reply to '"), e.what());
  }
}

}  // namespace

TEST_CASE("query-cpus-fast") {
  Answering qemu(R"([{"cpu-index": 1, "thread-id": 42, "qom-path": "/b", "props": {}},
                     {"cpu-index": 0, "thread-id": 41, "qom-path": "/a", "target": "x86_64"}])");
  const std::vector<qmp::Vcpu> vcpus = query_cpus_fast(qemu.client, plenty);
  CHECK(qemu.last.command == "query-cpus-fast");
  REQUIRE(vcpus.size() == 2);
  CHECK(vcpus[0].index == 1);
  CHECK(vcpus[0].thread == 42);
  CHECK(vcpus[0].qom_path == "/b");
  CHECK(vcpus[1].index == 0);
  for (const char* wrong :
       {"{}", "null", "[1]", "[{}]", R"([{"cpu-index": 0, "thread-id": 5}])",
        R"([{"cpu-index": -1, "thread-id": 5, "qom-path": "/"}])",
        R"([{"cpu-index": "0", "thread-id": 5, "qom-path": "/"}])",
        R"([{"cpu-index": 0, "thread-id": 0, "qom-path": "/"}])",
        R"([{"cpu-index": 0, "thread-id": -7, "qom-path": "/"}])",
        R"([{"cpu-index": 0, "thread-id": 2147483648, "qom-path": "/"}])",
        R"([{"cpu-index": 4294967296, "thread-id": 5, "qom-path": "/"}])",
        R"([{"cpu-index": 0, "thread-id": 1.5, "qom-path": "/"}])",
        R"([{"cpu-index": 0, "thread-id": 5, "qom-path": null}])",
        R"([{"cpu-index": 0, "thread-id": 5, "qom-path": "/"}, {"cpu-index": 0, "thread-id": 6, "qom-path": "/"}])"}) {
    check_protocol_error(wrong, [](Client& client) { query_cpus_fast(client, plenty); });
  }
}

TEST_CASE("query-iothreads") {
  Answering qemu(R"([{"id": "io0", "thread-id": 50, "poll-max-ns": 32768}])");
  const std::vector<qmp::Iothread> iothreads = query_iothreads(qemu.client, plenty);
  REQUIRE(iothreads.size() == 1);
  CHECK(iothreads[0].id == "io0");
  CHECK(iothreads[0].thread == 50);
  Answering none("[]");
  CHECK(query_iothreads(none.client, plenty).empty());
  for (const char* wrong : {"{}", R"([{"id": "x"}])", R"([{"id": 1, "thread-id": 5}])", R"([{"thread-id": 5}])"}) {
    check_protocol_error(wrong, [](Client& client) { query_iothreads(client, plenty); });
  }
}

TEST_CASE("query-status") {
  Answering status(R"({"status": "prelaunch", "running": false})");
  CHECK(query_status(status.client, plenty) == "prelaunch");
  CHECK(status.last.command == "query-status");
  for (const char* wrong : {"[]", "{}", R"({"status": 1})"}) {
    check_protocol_error(wrong, [](Client& client) { query_status(client, plenty); });
  }
}

TEST_CASE("commands without a result send their name") {
  using Call = std::function<void(Client&, std::chrono::milliseconds)>;
  const std::pair<const char*, Call> calls[] = {{"cont", qmp::cont},
                                                {"stop", qmp::stop},
                                                {"system_powerdown", qmp::system_powerdown},
                                                {"system_reset", qmp::system_reset},
                                                {"quit", qmp::quit}};
  Answering qemu("{}");
  for (const auto& [name, call] : calls) {
    call(qemu.client, plenty);
    CHECK(qemu.last.command == name);
    CHECK(qemu.last.arguments.empty());
  }
}

TEST_CASE("quit: EOF before the reply is done too; a refusal, silence and an old EOF are not") {
  SUBCASE("EOF") {
    Peer peer([](Peer::End& qemu) {
      qemu.handshake();
      qemu.asked();
    });
    Client client(peer.take());
    client.handshake(plenty);
    CHECK_NOTHROW(quit(client, plenty));
    CHECK_THROWS_AS(quit(client, plenty), qmp::Error);
  }
  SUBCASE("refused, then silent") {
    Peer peer([](Peer::End& qemu) {
      qemu.handshake();
      qemu.refuse(qemu.asked()->id, "GenericError", "no");
      qemu.wait_for_eof();
    });
    Client client(peer.take());
    client.handshake(plenty);
    CHECK_THROWS_WITH_AS(quit(client, plenty), "QEMU refused 'quit': no", qmp::Error);
    CHECK_THROWS_AS(quit(client, 20ms), qmp::Error);
  }
}

TEST_CASE("query-machines") {
  Answering qemu(R"([{"name": "pc-q35-7.2", "alias": "q35", "cpu-max": 288, "deprecated": false},
                     {"name": "pc-i440fx-1.4", "cpu-max": 255, "deprecated": true},
                     {"name": "none", "cpu-max": 1}])");
  const std::vector<qmp::MachineType> machines = query_machines(qemu.client, plenty);
  REQUIRE(machines.size() == 3);
  CHECK(machines[0].name == "pc-q35-7.2");
  CHECK(machines[0].alias == "q35");
  CHECK(machines[0].cpu_max == 288);
  CHECK(!machines[0].deprecated);
  CHECK(machines[1].alias.empty());
  CHECK(machines[1].deprecated);
  for (const char* wrong : {"{}", "[{}]", R"([{"name": "a"}])", R"([{"name": "a", "cpu-max": 1, "alias": 1}])",
                            R"([{"name": "a", "cpu-max": 1, "deprecated": 1}])", R"([{"name": 1, "cpu-max": 1}])"}) {
    check_protocol_error(wrong, [](Client& client) { query_machines(client, plenty); });
  }
}

TEST_CASE("query-qmp-schema") {
  Answering qemu(R"([{"name": "x"}])");
  CHECK(query_qmp_schema(qemu.client, plenty).as_array().size() == 1);
  check_protocol_error("{}", [](Client& client) { query_qmp_schema(client, plenty); });
}

TEST_CASE("properties of a type, of none, and another refusal") {
  {
    Answering qemu(R"([{"name": "packed", "type": "bool"}, {"name": "drive", "type": "str"}])");
    CHECK(device_list_properties(qemu.client, "virtio-blk-pci", plenty) == std::vector<std::string>{"packed", "drive"});
    CHECK(qemu.last.command == "device-list-properties");
    CHECK(qemu.last.arguments == boost::json::object{{"typename", "virtio-blk-pci"}});
    CHECK(qom_list_properties(qemu.client, "iothread", plenty)->size() == 2);
    CHECK(qemu.last.command == "qom-list-properties");
  }
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    qemu.refuse(qemu.asked()->id, "DeviceNotFound", "Device 'x' not found");
    qemu.refuse(qemu.asked()->id, "GenericError", "Parameter 'typename' expects a non-abstract device type");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  CHECK(!device_list_properties(client, "x", plenty));
  CHECK_THROWS_AS(device_list_properties(client, "device", plenty), qmp::Error);
  for (const char* wrong : {"{}", "[1]", "[{}]", R"([{"name": 1}])"}) {
    check_protocol_error(wrong, [](Client& c) { qom_list_properties(c, "x", plenty); });
  }
}

TEST_CASE("query-memory-devices: only virtio-mem can change") {
  Answering qemu(R"([{"type": "dimm", "data": {"id": "d"}}, {"type": "nvdimm", "data": {"memaddr": 1}},
                     {"type": "virtio-mem", "data": {"id": "hot0", "block-size": 2097152, "max-size": 8388608,
                      "requested-size": 4194304, "size": 2097152, "node": 0, "memdev": "/objects/hot0-ram"}}])");
  const std::vector<qmp::HotMemory> devices = query_hot_memory(qemu.client, plenty);
  CHECK(qemu.last.command == "query-memory-devices");
  REQUIRE(devices.size() == 1);
  CHECK(devices[0].id == "hot0");
  CHECK(devices[0].block == 2097152);
  CHECK(devices[0].max == 8388608);
  CHECK(devices[0].requested == 4194304);
  CHECK(devices[0].size == 2097152);
  for (const char* wrong :
       {"{}", "[{}]", R"([{"type": "virtio-mem"}])", R"([{"type": "virtio-mem", "data": {"id": "a"}}])",
        R"([{"type": "virtio-mem", "data": {"id": "a", "block-size": 0, "max-size": 1,
                                "requested-size": 0, "size": 0}}])"})
    check_protocol_error(wrong, [](Client& client) { query_hot_memory(client, plenty); });
}

TEST_CASE("query-command-line-options: a parameter's type") {
  const char* answer = R"([{"option": "overcommit", "parameters": [{"name": "cpu-pm", "type": "boolean"},
                           {"name": "mem-lock", "type": "string"}]}])";
  Answering qemu(answer);
  CHECK(option_type(qemu.client, "overcommit", "mem-lock", plenty) == "string");
  CHECK(option_type(qemu.client, "overcommit", "cpu-pm", plenty) == "boolean");
  CHECK(option_type(qemu.client, "overcommit", "other", plenty).empty());
  check_protocol_error("7", [](Client& client) { option_type(client, "overcommit", "mem-lock", plenty); });
}

TEST_CASE("sizes: query-balloon, query-memory-size-summary") {
  Answering qemu(R"({"actual": 209715200, "base-memory": 268435456, "plugged-memory": 0})");
  CHECK(query_balloon(qemu.client, plenty) == 209715200);
  CHECK(query_base_memory(qemu.client, plenty) == 268435456);
  check_protocol_error(R"({"actual": -1})", [](Client& client) { query_balloon(client, plenty); });
}
