// Every key that a spec can say, one by one: what is exported shows it, or the report names it. The rule: the keys are the readable ones
// themselves, so that a new key is held to this from its first day.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "launcher/import/export.hpp"
#include "tests/launcher/plan/golden.hpp"

namespace {

using launcher::Exported;
using launcher::KeyInfo;
using launcher::LaunchPlan;
using launcher::Spec;

// One device of each kind, so that each table's keys have a place.
const std::vector<std::string> blocks = {"name = \"a\"\nuuid = \"f47ac10b-58cc-4372-a567-0e02b2c3d479\"\n",
                                         "[cpu]\ncount = 4\n",
                                         "[memory]\nsize = \"4G\"\npage = \"4K\"\n",
                                         "[[disk]]\npath = \"/srv/a.raw\"\n",
                                         "[[net]]\nbridge = \"br0\"\n",
                                         "[vsock]\n",
                                         "[[share]]\npath = \"/srv/data\"\ntag = \"data\"\n",
                                         "[[pci]]\naddress = \"0000:81:00.0\"\n",
                                         "[[usb]]\nid = \"046d:c52b\"\n",
                                         "[[cdrom]]\n",
                                         "[rng]\n",
                                         "[tpm]\n",
                                         "[watchdog]\n",
                                         "[agent]\n",
                                         "[balloon]\n",
                                         "[[nvdimm]]\npath = \"/srv/pmem.img\"\nsize = \"1G\"\n",
                                         "[display]\n",
                                         "[smbios]\n",
                                         "[[credential]]\nname = \"one\"\nvalue = \"1\"\n",
                                         "[cloud_init]\n",
                                         "[guest]\n"};

// Those with others in their places: "[[net]]\n..." takes the place of that table, "-[guest]" takes it away.
std::string base_with(const std::vector<std::string>& beside) {
  std::string text;
  for (std::string block : blocks) {
    const std::string head = block.substr(0, block.find('\n'));
    for (const std::string& one : beside) {
      if (one.starts_with(head + "\n")) block = one;
      if (one == "-" + head) block.clear();
    }
    text += block;
  }
  return text;
}

// What a key needs beside it, and a value, where neither its kind nor reference.toml gives one.
struct Sample {
  std::vector<std::string> beside;  // and "key=value", and "@host"
  std::string value;                // or such a table; "": as for others
};
const std::map<std::string, Sample, std::less<>> samples = {
    {"agent.name", {{}, "\"org.example.agent\""}},
    {"boot.cmdline", {{"boot.kernel=\"/boot/v\""}, "\"quiet\""}},
    {"boot.initrd", {{"boot.kernel=\"/boot/v\""}, "\"/boot/i\""}},
    {"boot.code", {{"boot.firmware=\"uefi\"", "boot.variables=\"/f/vars\"", "boot.code=\"/f/one\""}, "\"/f/two\""}},
    {"boot.variables",
     {{"boot.firmware=\"uefi\"", "boot.code=\"/f/code\"", "boot.variables=\"/f/one\""}, "\"/f/two\""}},
    {"boot.firmware", {{}, "\"/f/bios.bin\""}},
    {"boot.order", {{}, "[\"net\", \"disk\"]"}},
    {"boot.secure_boot", {{"boot.firmware=\"uefi\""}, "true"}},
    {"clock.base", {{}, "\"localtime\""}},
    {"cloud_init.packages", {{}, "[\"vim\"]"}},
    {"cloud_init.ssh_keys", {{}, "[\"ssh-ed25519 AAAA you\"]"}},
    {"cloud_init.user", {{}, "\"other\""}},
    {"console.log_size", {{"console.log=\"/var/log/a\""}, "\"1M\""}},
    {"cpu.emulator", {{}, "\"1\""}},
    {"cpu.model", {{}, "\"Haswell\""}},
    {"credential[].file", {{"[[credential]]\nname = \"one\"\nfile = \"/etc/one\"\n"}, "\"/etc/secret\""}},
    {"disk[].create.preallocation", {{"disk[0].create.size=\"1G\""}, "\"full\""}},
    {"disk[].iothread_pool",
     {{"[[disk]]\npath = \"/srv/a.raw\"\n[[disk]]\npath = \"/srv/b.raw\"\niothread_pool = \"fast\"\n"}, "\"fast\""}},
    {"disk[].l2_cache", {{"disk[0].path=\"/srv/a.qcow2\""}, "\"1M\""}},
    {"disk[].serial", {{}, "\"S1\""}},
    {"disk[].wwn", {{"disk[0].interface=\"sata\""}, "\"5000c50015ea71ac\""}},
    {"disk[].limit.burst_seconds", {{"disk[0].limit.iops=100", "disk[0].limit.iops_burst=200"}, "5"}},
    {"disk[].limit.bytes_burst", {{"disk[0].limit.bytes=\"1M\""}, "\"2M\""}},
    {"disk[].limit.bytes_read_burst", {{"disk[0].limit.bytes_read=\"1M\""}, "\"2M\""}},
    {"disk[].limit.bytes_write_burst", {{"disk[0].limit.bytes_write=\"1M\""}, "\"2M\""}},
    {"disk[].limit.iops_burst", {{"disk[0].limit.iops=100"}, "200"}},
    {"disk[].limit.iops_read_burst", {{"disk[0].limit.iops_read=100"}, "200"}},
    {"disk[].limit.iops_write_burst", {{"disk[0].limit.iops_write=100"}, "200"}},
    {"disk[].limit.group", {{"disk[0].limit.iops=100"}, "\"all\""}},
    {"display.address", {{"display.port=5901", "display.password_file=\"/etc/p\""}, "\"0.0.0.0\""}},
    {"display.port", {{"display.password_file=\"/etc/p\"", "display.port=5901"}, "5902"}},
    {"guest.irqs", {{}, "\"0-1\""}},
    {"guest.mtu", {{}, "9000"}},
    {"guest.queues", {{}, "2"}},
    {"guest.clocksource", {{}, "\"tsc\""}},
    {"guest.transparent_hugepages", {{}, "\"never\""}},
    {"guest.tuned", {{}, "\"virtual-guest\""}},
    {"hyperv.evmcs", {{"hyperv.vapic=true", "cpu.nested=true"}, "true"}},
    {"hyperv.ipi", {{"hyperv.vpindex=true"}, "true"}},
    {"hyperv.synic", {{"hyperv.vpindex=true"}, "true"}},
    {"hyperv.tlbflush", {{"hyperv.vpindex=true"}, "true"}},
    {"hyperv.tlbflush_ext", {{"hyperv.vpindex=true", "hyperv.tlbflush=true"}, "true"}},
    {"hyperv.stimer", {{"hyperv.vpindex=true", "hyperv.synic=true", "hyperv.time=true"}, "true"}},
    {"hyperv.stimer_direct",
     {{"hyperv.vpindex=true", "hyperv.synic=true", "hyperv.time=true", "hyperv.stimer=true"}, "true"}},
    {"hyperv.vendor_id", {{"hyperv.relaxed=true"}, "\"ACME\""}},
    {"machine", {{}, "\"pc-q35-7.2\""}},
    {"memory.shared", {{"-[[share]]"}, "true"}},
    {"net[].bridge", {{}, "\"br1\""}},
    {"net[].device", {{"[[net]]\nmode = \"vdpa\"\ndevice = \"/dev/vhost-vdpa-0\"\n"}, "\"/dev/vhost-vdpa-1\""}},
    {"net[].forward", {{"[[net]]\nmode = \"user\"\n"}, "[\"tcp:2222:22\"]"}},
    {"net[].hash", {{"net[0].vhost=false"}, "true"}},
    {"net[].rss", {{"net[0].vhost=false"}, "true"}},
    {"net[].host_loopback", {{"[[net]]\nmode = \"user\"\n"}, "true"}},
    {"net[].macvtap", {{"[[net]]\nover = \"eth0\"\n"}, "\"vepa\""}},
    {"net[].mode", {{"[[net]]\nmode = \"user\"\n"}, "\"passt\""}},
    {"net[].over", {{"[[net]]\nover = \"eth0\"\n"}, "\"eth1\""}},
    {"net[].packed", {{"net[0].vhost=false"}, "false"}},
    {"net[].server",
     {{"[[net]]\nmode = \"vhost-user\"\nsocket = \"/run/s\"\n"}, "[[net]]\nmode = \"vhost-user\"\nserver = true\n"}},
    {"numa[].vcpus", {{"numa[0].vcpus=\"0-1\"", "numa[1].vcpus=\"auto\""}, "\"0\""}},
    {"numa[].size", {{"numa[0].size=\"auto\"", "numa[1].size=\"auto\""}, "\"1G\""}},
    {"numa[].nodes", {{"numa[0].nodes=[0]", "numa[1].nodes=[0]"}, "[1]"}},
    {"numa[].policy", {{"numa[0].nodes=[0]", "numa[1].nodes=[1]"}, "\"preferred\""}},
    {"numa[].distances", {{"numa[0].distances=[10, 20]", "numa[1].distances=[20, 10]"}, "[10, 30]"}},
    {"pci[].expose_node", {{"@xeon-2s-144", "[[pci]]\nclass = \"net\"\n", "memory.nodes=[0, 1]"}, "false"}},
    {"schedule.l3", {{}, "\"0=f\""}},
    {"net[].socket", {{"[[net]]\nmode = \"vhost-user\"\nsocket = \"/run/s\"\n"}, "\"/run/t\""}},
    {"net[].tap", {{"[[net]]\ntap = \"tap0\"\n"}, "\"tap1\""}},
    {"cpu.kind", {{"@hybrid-8p8e", "-[[pci]]"}, "\"efficiency\""}},
    {"windows", {{"-[guest]"}, "true"}},
    {"disk[].interface", {{"cpu.count=1"}, ""}},
    {"pci[].mdev",
     {{"[[pci]]\nmdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"\n"}, "\"53764d0e-85a0-42b4-af5c-2046b460b1dd\""}},
    {"pci[].class", {{"@xeon-2s-144", "[[pci]]\nclass = \"net\"\n"}, "\"nvme\""}},
    {"pci[].node", {{"@xeon-2s-144", "[[pci]]\nclass = \"net\"\n"}, "0"}},
    {"pci[].vfs", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, "2"}},
    {"pci[].mac", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, ""}},
    {"pci[].vlan", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, ""}},
    {"pci[].trust", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, ""}},
    {"pci[].spoof_check", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, ""}},
    {"pci[].vf_of", {{"[[pci]]\nvf_of = \"ens1f0\"\n"}, "\"ens1f1\""}},
    {"pci[].iommufd", {{"-[[nvdimm]]"}, ""}},
    {"pci[].address", {{}, "\"0000:82:00.0\""}},
    {"ready_pattern", {{"ready=\"guest\""}, "\"login:\""}},
    {"rng.source", {{}, "\"/dev/hwrng\""}},
    {"share[].path", {{}, "\"/srv/other\""}},
    {"share[].tag", {{}, "\"other\""}},
    {"usb[].id", {{}, "\"1234:5678\""}},
    {"usb[].port", {{"[[usb]]\nport = \"1-2\"\n"}, "\"1-3\""}},
};

// "key" -> the value that reference.toml shows for it.
std::map<std::string, std::string> reference_values() {
  std::map<std::string, std::string> values;
  std::ifstream stream(std::filesystem::path(VMRUN_TESTS).parent_path() / "configs/reference.toml");
  static const std::regex header("#?(\\[\\[?)([a-z_]+)(\\.[a-z]+)?\\]\\]?.*"), pair("#?([a-z0-9_]+) = ([^#]*[^# ]).*");
  std::string table;
  std::smatch found;
  for (std::string line; std::getline(stream, line);) {
    if (std::regex_match(line, found, header))
      table = found[2].str() + (found[1].length() == 2 ? "[]" : found[3].matched ? "[]" + found[3].str() : "") + ".";
    else if (std::regex_match(line, found, pair))
      values.emplace(table + found[1].str(), found[2].str());
  }
  return values;
}

std::vector<std::string> values_of(const KeyInfo& key, const std::map<std::string, std::string>& shown) {
  std::vector<std::string> values;
  for (const std::string& choice : key.choices)
    if (choice != "auto") values.push_back("\"" + choice + "\"");
  if (const auto found = shown.find(key.path); found != shown.end()) values.push_back(found->second);
  if (key.type == "boolean") values.insert(values.end(), {"true", "false"});
  if (key.type == "size") values.insert(values.end(), {"\"64K\"", "\"1M\"", "\"2M\"", "\"8G\""});
  if (key.type == "cpus") values.push_back("\"0-1\"");
  if (key.type == "integer")
    for (const std::int64_t number :
         {key.min.value_or(0), key.min.value_or(0) + 1, std::int64_t{64}, std::int64_t{512}, key.max.value_or(1024)})
      if (number >= key.min.value_or(number) && number <= key.max.value_or(number))
        values.push_back(std::to_string(number));
  return values;
}

struct Made {
  Spec spec;
  LaunchPlan plan;
};

std::optional<Made> made_of(const std::vector<std::string>& all) {
  std::vector<std::string> overrides;
  std::string machine = "synthetic:pack:1 numa:2 l3:2 core:4 pu:2";
  for (const std::string& one : all)
    if (one.starts_with('@'))
      machine = (std::filesystem::path(VMRUN_TESTS) / "hosts" / (one.substr(1) + ".json")).string();
    else if (!one.starts_with('[') && !one.starts_with('-'))
      overrides.push_back(one);
  const auto document = launcher::TomlDocument::parse(base_with(all), "/spec.toml", overrides);
  if (!document) return std::nullopt;
  launcher::Problems problems;
  Spec spec = launcher::read_document(*document, problems);
  if (!problems.empty()) return std::nullopt;
  static const launcher::QemuFeatures qemu = golden::recorded_qemu("11.1");
  const auto host = topology::read_host_argument(machine);
  REQUIRE(host);
  auto plan = launcher::make_plan(spec, *host, {}, {}, qemu, launcher::assumed_facts(spec, *host));
  if (!plan) return std::nullopt;
  return Made{std::move(spec), std::move(*plan)};
}

// What is done and what QEMU is told.
std::string told(const LaunchPlan& plan) {
  std::string text;
  for (const launcher::Arg& arg : plan.args) text += arg.option + " " + arg.value + "\n";
  for (const launcher::PlannedStep& step : plan.steps) text += launcher::describe(step.step) + "\n";
  return text;
}

// The rows of this key, or of a table that it is in: "disk[0]" and "disk[0].create" are of "disk[].create.size".
std::set<std::string> rows_of(const Exported& exported, const std::string& key) {
  std::set<std::string> rows;
  for (const launcher::ReportRow& row : exported.report) {
    const std::string path = std::regex_replace(row.path, std::regex("\\[[0-9]+\\]"), "[]");
    if ((key + ".").starts_with(path + ".") || (key + "[").starts_with(path + "[")) rows.insert(row.words);
  }
  return rows;
}

enum class To { libvirt, shell, systemd_run };
Exported exported(const Made& made, To to) {
  if (to == To::libvirt) return launcher::export_libvirt(made.spec, made.plan);
  return launcher::export_shell(made.spec, made.plan,
                                to == To::shell ? launcher::Runner::shell : launcher::Runner::systemd_run);
}

// Both plans, whatever is made of them.
struct Pair {
  const Made& before;
  const Made& after;
};

bool is_told(const KeyInfo& key, const Pair& pair, To to) {
  const Exported without = exported(pair.before, to), with = exported(pair.after, to);
  return with.text != without.text || !rows_of(with, key.path).empty() || !rows_of(without, key.path).empty() ||
         (to != To::libvirt && with.report != without.report);
}

void hold(const KeyInfo& key, const std::vector<std::string>& values, const std::vector<std::string>& beside) {
  const auto before = made_of(beside);
  REQUIRE_MESSAGE(before, key.path, ": what stands beside it has no plan");
  std::map<To, bool> held{{To::libvirt, false}, {To::shell, false}, {To::systemd_run, false}};
  for (const std::string& value : values) {
    std::vector<std::string> all = beside;
    all.push_back(value.starts_with("[[") ? value
                                          : std::regex_replace(key.path, std::regex("\\[\\]"), "[0]") + "=" + value);
    const auto after = made_of(all);
    if (!after || after->spec == before->spec) continue;
    const bool differs = told(after->plan) != told(before->plan);
    for (auto& [to, once] : held) {
      const bool seen = is_told(key, {*before, *after}, to);
      if (differs) CHECK_MESSAGE(seen, key.path, " = ", value, " is dropped silently, to ", static_cast<int>(to));
      once = once || seen;
    }
  }
  for (const auto& [to, once] : held)
    CHECK_MESSAGE(once, key.path, ": no value of it that has a plan is seen or told, to ", static_cast<int>(to));
}

}  // namespace

TEST_CASE("export: no key of a spec is left out silently") {
  const auto shown = reference_values();
  for (const KeyInfo& key : launcher::spec_keys()) {
    if (key.type == "table" || key.type == "tables" || key.path == "include" || key.path == "profile") continue;
    const auto sample = samples.find(key.path);
    const bool own = sample != samples.end();
    hold(key, own && !sample->second.value.empty() ? std::vector{sample->second.value} : values_of(key, shown),
         own ? sample->second.beside : std::vector<std::string>{});
  }
}
