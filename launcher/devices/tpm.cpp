// The TPM's key, its helper and what it becomes on the command line. The rule: swtpm runs as QEMU's user, on the emulator's
// CPUs, and speaks to QEMU over a pair of sockets that nobody else can reach.
#include "launcher/devices/tpm.hpp"

#include <fmt/format.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Tpm Tpm::read(TableReader& table) {
  Tpm tpm;
  tpm.model = static_cast<Model>(table.choice("model", {"crb", "tis"}, 0));
  return tpm;
}

Tpm::Facts look_at(const Tpm&, const HostConfig& config) { return {find_program(config.swtpm).value_or("")}; }
Tpm::Facts assumed(const Tpm&) { return {"/usr/bin/swtpm"}; }
DeviceNeeds needs(const Tpm&, const Tpm::Facts&, unsigned) { return {}; }

void plan_device(const Tpm& tpm, const Tpm::Facts& facts, DeviceContext& context) {
  const std::string device = tpm.model == Tpm::Model::crb ? "tpm-crb" : "tpm-tis";
  if (facts.swtpm.empty())
    context.problem("model", "there is no swtpm here; wanted the program that is the TPM",
                    "install it (Debian: apt install swtpm), set swtpm in /etc/vmrun/host.toml, or remove [tpm]");
  if (!context.qemu.has(device))
    context.problem("model", "QEMU " + context.qemu.version + " has no " + device + "; wanted one that has",
                    tpm.model == Tpm::Model::crb ? "set model = \"tis\"" : "set model = \"crb\"");
  const std::string state = context.state_dir + "/tpm";
  const int ours = context.fds.take("TPM, QEMU's end"), theirs = context.fds.take("TPM, swtpm's end");
  const int directory = context.fds.take("TPM's memory");
  context.steps.push_back({KeepDirectory{state, true}, "the TPM's memory outlives the VM's run", "spec tpm"});
  context.steps.push_back(
      {HoldPath{state, directory}, "so that nothing on the way to it must be open to swtpm's user", "spec tpm"});
  context.steps.push_back({Pair{ours, theirs}, "between QEMU and swtpm", "spec tpm"});
  StartHelper swtpm;
  swtpm.role = "swtpm";
  swtpm.log = context.run_dir + "/helper-swtpm.log";
  constexpr int control = 3, memory = 4;
  swtpm.child.argv = {facts.swtpm,
                      "socket",
                      "--tpm2",
                      "--tpmstate",
                      fmt::format("dir=/proc/self/fd/{},mode=0600", memory),
                      "--ctrl",
                      "type=unixio,clientfd=" + std::to_string(control)};
  if (context.root) swtpm.child.uid = context.uid;
  swtpm.child.affinity = context.placement.emulator;
  swtpm.fds = {{control, theirs}, {memory, directory}};
  context.steps.push_back({swtpm, "the TPM itself: a process beside QEMU, without rights", "spec tpm"});
  context.args.add("-chardev", Opts("socket").set("id", "tpm").set("fd", ours), "the line to swtpm", "spec tpm");
  context.args.add("-tpmdev", Opts("emulator").set("id", "tpm0-back").set("chardev", "tpm"), "swtpm is the TPM",
                   "spec tpm");
  context.args.add("-device", Opts(device).set("id", "tpm0").set("tpmdev", "tpm0-back"), "a TPM 2.0",
                   context.origin("model"));
}

}  // namespace launcher::devices
