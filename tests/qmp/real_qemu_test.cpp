// The client and the commands against every real QEMU at hand: VMRUN_TEST_QEMUS (paths with ':' between), else that of
// PATH.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "qmp/commands.hpp"
#include "tests/lacks.hpp"
#include "tests/qmp/process.hpp"

using namespace std::chrono_literals;
using qmp::Client;
using qmp_tests::Process;

namespace {

constexpr auto plenty = 30s;

std::vector<std::string> split(const char* text) {
  std::vector<std::string> parts;
  std::istringstream stream(text ? text : "");
  for (std::string part; std::getline(stream, part, ':');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

std::vector<std::string> qemus() {
  std::vector<std::string> found = split(std::getenv("VMRUN_TEST_QEMUS"));
  if (!found.empty()) return found;
  for (const std::string& directory : split(std::getenv("PATH"))) {
    const std::string path = directory + "/qemu-system-x86_64";
    if (::access(path.c_str(), X_OK) == 0) return {path};
  }
  (void)lacks_tool(false, "qemu-system-x86_64 in PATH, or VMRUN_TEST_QEMUS");
  return {};
}

std::vector<std::string> arguments(const std::string& machine) {
  return {"-M",       machine, "-nodefaults", "-no-user-config",   "-display",
          "none",     "-S",    "-chardev",    "socket,id=m,fd=10", "-qmp",
          "chardev:m"};
}

}  // namespace

TEST_CASE("real QEMU: the probe's commands on -M none") {
  for (const std::string& qemu : qemus()) {
    CAPTURE(qemu);
    Process process(qemu, arguments("none"));
    Client client(process.take_monitor());
    const qmp::Greeting greeting = client.handshake(plenty);
    MESSAGE("QEMU " << greeting.major << "." << greeting.minor << "." << greeting.micro << " " << qemu);
    CHECK(greeting.major >= 7);

    const boost::json::value schema = query_qmp_schema(client, plenty);
    CHECK(schema.as_array().size() > 500);
    const std::vector<qmp::MachineType> machines = query_machines(client, plenty);
    const auto q35 = std::ranges::find(machines, "q35", &qmp::MachineType::alias);
    REQUIRE(q35 != machines.end());
    CHECK(q35->name.starts_with("pc-q35-"));
    CHECK(q35->cpu_max >= 255);
    CHECK(!q35->deprecated);
    const auto block = device_list_properties(client, "virtio-blk-pci", plenty);
    REQUIRE(block.has_value());
    CHECK(std::ranges::count(*block, "packed") == 1);
    CHECK(!device_list_properties(client, "no-such-device", plenty).has_value());
    const auto memfd = qom_list_properties(client, "memory-backend-memfd", plenty);
    REQUIRE(memfd.has_value());
    CHECK(std::ranges::count(*memfd, "hugetlb") == 1);
    CHECK(!qom_list_properties(client, "no-such-object", plenty).has_value());
    CHECK_THROWS_AS(client.execute({"no-such-command"}, plenty), qmp::Error);
    quit(client, plenty);
    CHECK(process.wait() == 0);
  }
}

TEST_CASE("real QEMU: threads, states and events of a paused q35") {
  for (const std::string& qemu : qemus()) {
    CAPTURE(qemu);
    std::vector<std::string> line = arguments("q35");
    for (const char* more : {"-accel", "tcg", "-m", "32", "-smp", "2,sockets=1,cores=2,threads=1", "-name",
                             "guest=t,debug-threads=on", "-object", "iothread,id=io0"}) {
      line.emplace_back(more);
    }
    Process process(qemu, line);
    Client client(process.take_monitor());
    std::vector<std::string> events;
    client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
    client.handshake(plenty);
    const std::vector<qmp::Vcpu> vcpus = query_cpus_fast(client, plenty);
    REQUIRE(vcpus.size() == 2);
    CHECK(qmp_tests::thread_name(process.pid(), vcpus[1].thread) == "CPU 1/TCG");
    const std::vector<qmp::Iothread> iothreads = query_iothreads(client, plenty);
    REQUIRE(iothreads.size() == 1);
    CHECK(qmp_tests::thread_name(process.pid(), iothreads[0].thread) == "IO io0");
    CHECK(query_status(client, plenty) == "prelaunch");
    cont(client, plenty);
    CHECK(query_status(client, plenty) == "running");
    stop(client, plenty);
    CHECK(query_status(client, plenty) == "paused");
    quit(client, plenty);
    CHECK(process.wait() == 0);
    CHECK_THROWS_AS(client.wait_events(plenty, nullptr), qmp::Error);  // EOF, after the last events
    CHECK(std::ranges::count(events, "RESUME") == 1);
    CHECK(std::ranges::count(events, "STOP") == 1);
    CHECK(std::ranges::count(events, "SHUTDOWN") == 1);
  }
}

TEST_CASE("real QEMU: a bad device is a greeting, an EOF and words on stderr") {
  for (const std::string& qemu : qemus()) {
    CAPTURE(qemu);
    std::vector<std::string> line = arguments("q35");
    line.insert(line.end(), {"-accel", "tcg", "-device", "no-such-device"});
    Process process(qemu, line);
    Client client(process.take_monitor());
    try {
      client.handshake(plenty);
      FAIL_CHECK("the handshake was a success");
    } catch (const qmp::Error& e) {
      CHECK(e.kind == qmp::Error::Kind::disconnected);
    }
    CHECK(process.wait() == 1);
    CHECK(process.stderr_text().find("no-such-device") != std::string::npos);
  }
}
