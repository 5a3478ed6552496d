// The agent channel's key, and what it becomes on the command line. The rule: the socket listens before QEMU exists.
#include "launcher/devices/agent.hpp"

#include <algorithm>
#include <cctype>

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Agent Agent::read(TableReader& table) {
  Agent agent;
  agent.name = table.text("name", "org.qemu.guest_agent.0");
  const bool good =
      !agent.name.empty() && agent.name.size() <= 63 && std::ranges::all_of(agent.name, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
      });
  if (!good)
    table.problem("name", "cannot name a port; wanted 1 to 63 letters, digits, '.', '_' or '-'",
                  "remove it for \"org.qemu.guest_agent.0\", where qemu-ga listens");
  return agent;
}

Agent::Facts look_at(const Agent&) { return {}; }
Agent::Facts assumed(const Agent&) { return {}; }
DeviceNeeds needs(const Agent&, const Agent::Facts&, unsigned) { return {}; }

void plan_device(const Agent& agent, const Agent::Facts&, DeviceContext& context) {
  const int fd = context.fds.take("agent socket");
  context.steps.push_back({Listen{context.run_dir + "/agent.sock", fd}, "for `vmrun agent`", "spec agent"});
  context.args.add("-chardev", Opts("socket").set("id", "agent").set("fd", fd).set("server", true).set("wait", false),
                   "for `vmrun agent`", "spec agent");
  Opts controller("virtio-serial-pci");
  controller.set("id", "agent-bus");
  set_address(controller, Single::agent);
  context.args.add("-device", controller.set("max_ports", 2), "the port's controller", "spec agent");
  context.args.add(
      "-device",
      Opts("virtserialport").set("bus", "agent-bus.0").set("nr", 1).set("chardev", "agent").set("name", agent.name),
      "where the guest agent listens", context.origin("name"));
}

}  // namespace launcher::devices
