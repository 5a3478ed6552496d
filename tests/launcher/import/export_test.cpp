// Plans as others run them: what comes back from libvirt's own form, and what a shell is told.
#include "launcher/import/export.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <type_traits>

#include "launcher/import/walk.hpp"
#include "tests/launcher/plan/golden.hpp"
#include "tests/launcher/plan/spec_of.hpp"

namespace {

launcher::LaunchPlan plan_of(const launcher::Spec& spec, const std::string& synthetic) {
  const auto host = topology::read_host_argument(synthetic);
  REQUIRE(host);
  auto plan =
      launcher::make_plan(spec, *host, {}, {}, golden::recorded_qemu("10.0"), launcher::assumed_facts(spec, *host));
  if (!plan)
    for (const launcher::Problem& problem : plan.error()) FAIL(problem.key << ": " << problem.what);
  return std::move(*plan);
}

const char* const two_nodes = "synthetic:pack:1 numa:2 core:8 pu:2";

std::string said(const std::string& toml) {
  const launcher::Spec spec = spec_of(toml);
  return launcher::export_libvirt(spec, plan_of(spec, two_nodes)).text;
}

}  // namespace

TEST_CASE("export: what libvirt is told comes back as the same place, shape and identity") {
  for (const char* toml : {"name = \"a\"\n[cpu]\ncount = 4\n[memory]\nsize = \"4G\"\npage = \"2M\"\n",
                           "name = \"a\"\n[cpu]\ncount = 20\n[memory]\nsize = \"4G\"\npage = \"4K\"\nnodes = [0, 1]\n",
                           "name = \"a\"\n[cpu]\ncount = 2\npin = [5, 6]\nemulator = \"0-1\"\nmodel = "
                           "\"Haswell\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\nlock = true\n",
                           "name = \"a\"\n[cpu]\ncount = 2\npin = \"off\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\n"}) {
    INFO(toml);
    const launcher::Spec spec = spec_of(toml);
    const launcher::LaunchPlan plan = plan_of(spec, two_nodes);
    const auto back = launcher::import_domain(launcher::export_libvirt(spec, plan).text, {});
    REQUIRE(back);
    INFO(back->spec, launcher::to_text(back->report));
    REQUIRE(launcher::exit_code_of(back->report) != 2);
    for (const launcher::ReportRow& row : back->report) CHECK_FALSE(row.words.starts_with("unknown"));
    const launcher::Spec again = spec_of(back->spec);
    CHECK(again.name == spec.name);
    CHECK(again.uuid == plan.uuid);
    CHECK(again.machine == "pc-q35-10.0");
    CHECK(again.cpu.count == spec.cpu.count);
    CHECK(again.memory.size == spec.memory.size);
    CHECK(again.memory.lock == spec.memory.lock);
    CHECK(again.sleep == spec.sleep);
    const launcher::LaunchPlan second = plan_of(again, two_nodes);
    CHECK(second.pinned == plan.pinned);
    CHECK(second.placement.vcpus == plan.placement.vcpus);
    CHECK(second.placement.emulator == plan.placement.emulator);
    if (plan.placement.page >= topology::mib(2)) CHECK(second.placement.page == plan.placement.page);
    CHECK(second.placement.guest == plan.placement.guest);
    CHECK(second.placement.cells == plan.placement.cells);
  }
}

TEST_CASE("export: libvirt gets the devices, where they were") {
  const std::string xml = said(
      "name = \"a\"\n[memory]\nsize = \"1G\"\n[[disk]]\npath = \"/srv/a&b.raw\"\nserial = \"S1\"\n[disk.limit]\nbytes "
      "= \"1M\"\n"
      "[[net]]\nbridge = \"br0\"\nmac = \"52:54:00:00:00:07\"\nreceive_limit = \"8Mbit\"\n[vsock]\ncid = "
      "9\n[rng]\n[watchdog]\n");
  for (const char* part :
       {"file=\"/srv/a&amp;b.raw\"", "<serial>S1</serial>", "<total_bytes_sec>1048576</total_bytes_sec>",
        "bridge=\"br0\"", "address=\"52:54:00:00:00:07\"", "average=\"1000\"", "slot=\"0x10\"", "slot=\"0x08\"",
        "address=\"9\"", "model=\"i6300esb\""})
    CHECK_MESSAGE(xml.find(part) != std::string::npos, part, "\n", xml);
}

TEST_CASE("export: disks keep their bus, their names go on after z, and what boots first is booted first") {
  std::string many = "name = \"a\"\n[cpu]\ncount = 1\n[memory]\nsize = \"1G\"\n";
  for (int i = 0; i < 28; ++i) many += "[[disk]]\npath = \"/srv/" + std::to_string(i) + ".raw\"\n";
  const std::string disks = said(many);
  for (const char* name : {"\"vda\"", "\"vdz\"", "\"vdaa\"", "\"vdab\""})
    CHECK_MESSAGE(disks.find("dev=" + std::string(name)) != std::string::npos, name);
  CHECK(disks.find("vd{") == std::string::npos);
  const std::string mixed = said(
      "name = \"a\"\n[memory]\nsize = \"1G\"\n[[disk]]\npath = \"/srv/s.raw\"\ninterface = \"sata\"\n"
      "[[disk]]\npath = \"/srv/one.raw\"\ninterface = \"virtio-scsi\"\niothread_pool = \"p\"\n"
      "[[disk]]\npath = \"/srv/two.raw\"\ninterface = \"virtio-scsi\"\niothread_pool = \"p\"\n"
      "[[cdrom]]\npath = \"/srv/i.iso\"\n[[net]]\nbridge = \"br0\"\nmodel = \"e1000e\"\n"
      "[boot]\norder = [\"net\", \"cdrom\", \"disk\"]\n");
  const std::regex sata("s\\.raw\"[^@]*?bus=\"sata\"[^@]*?boot order=\"3\"[^@]*?unit=\"0\""),
      second("two\\.raw\"[^@]*?bus=\"scsi\"[^@]*?boot order=\"5\"[^@]*?controller=\"0\"[^@]*?unit=\"1\""),
      cdrom("i\\.iso\"[^@]*?boot order=\"2\"[^@]*?unit=\"1\""), card("model type=\"e1000e\"[^@]*?boot order=\"1\""),
      controller("type=\"scsi\" index=\"0\" model=\"virtio-scsi\"[^@]*?iothread=\"1\"");
  for (const std::regex& part : {sata, second, cdrom, card, controller})
    CHECK_MESSAGE(std::regex_search(mixed, part), mixed);
}

TEST_CASE("export: a screen without a port opens none") {
  const std::string xml = said("name = \"a\"\n[memory]\nsize = \"1G\"\n[display]\n");
  CHECK(xml.find("<listen type=\"socket\"") != std::string::npos);
  CHECK(xml.find("127.0.0.1") == std::string::npos);
}

TEST_CASE("export: rates in libvirt's kilobytes, of 1000 bytes, and back") {
  for (const auto& [limit, kilobytes] : {std::pair("1Gbit", "125000"), std::pair("1024kbit", "128")}) {
    const launcher::Spec spec =
        spec_of("name = \"a\"\n[memory]\nsize = \"1G\"\n[[net]]\nbridge = \"br0\"\nsend_limit = \"" +
                std::string(limit) + "\"\n");
    const launcher::Exported made = launcher::export_libvirt(spec, plan_of(spec, two_nodes));
    CHECK_MESSAGE(made.text.find("average=\"" + std::string(kilobytes) + "\"") != std::string::npos, made.text);
    const auto back = launcher::import_domain(made.text, {});
    REQUIRE(back);
    const auto has_limit = [](const launcher::Spec& one) {
      for (const launcher::Device& device : one.devices)
        if (const auto* nic = std::get_if<launcher::Nic>(&device)) return nic->send_limit;
      return std::uint64_t{0};
    };
    CHECK(has_limit(spec_of(back->spec)) == has_limit(spec));
  }
}

TEST_CASE("export: devices come back as they were") {
  const launcher::Spec spec = spec_of(
      "name = \"a\"\n[cpu]\ncount = 4\n[memory]\nsize = \"1G\"\npage = \"4K\"\n[[disk]]\npath = "
      "\"/srv/s.qcow2\"\nformat "
      "= \"qcow2\"\ninterface = \"sata\"\nl2_cache = \"1M\"\n[[disk]]\npath = \"/srv/b.raw\"\nformat = "
      "\"raw\"\ninterface = "
      "\"virtio-scsi\"\niothread_pool = \"io1\"\nqueues = 2\npacked = true\nserial = \"B\"\nthread_pool_max = "
      "8\n[[net]]\n"
      "bridge = \"br0\"\nmodel = \"e1000e\"\nmac = \"52:54:00:00:00:01\"\nvlan = 7\nsndbuf = \"1M\"\n[[net]]\nmode = "
      "\"passt\"\nmac = \"52:54:00:00:00:02\"\nforward = [\"tcp:127.0.0.1:2222:22\"]\nqueues = 1\npacked = "
      "true\n[[usb]]\nid = "
      "\"046d:c52b\"\n[[cdrom]]\npath = \"/srv/i.iso\"\n[boot]\norder = [\"cdrom\", \"disk\", \"net\"]\n");
  const auto back = launcher::import_domain(launcher::export_libvirt(spec, plan_of(spec, two_nodes)).text, {});
  REQUIRE(back);
  INFO(back->spec, launcher::to_text(back->report));
  const launcher::Spec again = spec_of(back->spec);
  const auto of = []<class Kind>(const launcher::Spec& one, std::type_identity<Kind>) {
    std::vector<Kind> found;
    for (const launcher::Device& device : one.devices)
      if (const Kind* kind = std::get_if<Kind>(&device)) found.push_back(*kind);
    return found;
  };
  CHECK(of(again, std::type_identity<launcher::Nic>{}) == of(spec, std::type_identity<launcher::Nic>{}));
  CHECK(of(again, std::type_identity<launcher::Usb>{}) == of(spec, std::type_identity<launcher::Usb>{}));
  CHECK(of(again, std::type_identity<launcher::Cdrom>{}) == of(spec, std::type_identity<launcher::Cdrom>{}));
  CHECK(again.boot == spec.boot);
  auto disks = of(again, std::type_identity<launcher::Disk>{}), before = of(spec, std::type_identity<launcher::Disk>{});
  REQUIRE(disks.size() == 2);
  before[0].serial = disks[0].serial;  // the plan's
  CHECK(disks == before);
}

TEST_CASE("export: a shell is told of no open file, and of no word that is not quoted") {
  const launcher::Spec spec = spec_of(
      "name = \"a\"\n[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\n[[disk]]\npath = \"/srv/it's, $(touch "
      "x).raw\"\n[[net]]\nbridge = \"br0\"\n[tpm]\n"
      "[boot]\nkernel = \"/boot/v\"\n");
  const launcher::Exported made = launcher::export_shell(spec, plan_of(spec, two_nodes), launcher::Runner::shell);
  INFO(made.text);
  CHECK_FALSE(std::regex_search(made.text, std::regex("fd=[0-9]|fds=[0-9]|fdset|/proc/self/fd")));
  CHECK(made.text.find("'\\''s,, $(touch x).raw") != std::string::npos);
  CHECK(made.text.find("'\"$dir\"'/qmp.sock") != std::string::npos);
  CHECK(made.text.find("nr_hugepages) + 512)) >/sys/devices/system/node/node0/") != std::string::npos);
  CHECK(made.text.find("nr_hugepages) - 512)) >/sys/devices/system/node/node0/") != std::string::npos);
  CHECK(made.text.find("ip tuntap add dev ") != std::string::npos);
  CHECK(made.text.find("-kernel /boot/v") != std::string::npos);
  CHECK(made.text.find("tpm-crb") == std::string::npos);  // its process is vmrun's to start
  CHECK(std::ranges::any_of(
      made.report, [](const launcher::ReportRow& row) { return row.path.find("tpmdev") != std::string::npos; }));
  CHECK(std::ranges::any_of(made.report, [](const launcher::ReportRow& row) { return row.path == "cpu.pin"; }));
}

TEST_CASE("export: memory that can be plugged comes back") {
  const std::string toml =
      "name = \"a\"\n[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\nmax = \"3G\"\npage = \"4K\"\n[[nvdimm]]\npath = "
      "\"/srv/p\"\nsize = \"256M\"\nlabel_size = \"128K\"\n";
  const std::string xml = said(toml);
  INFO(xml);
  for (const char* part :
       {"<memory unit=\"KiB\" dumpCore=\"off\">3407872</memory>", "slots=\"2\"", "<memory model=\"virtio-mem\">",
        "<size unit=\"KiB\">2097152</size>", "<requested unit=\"KiB\">0</requested>",
        "<memory model=\"nvdimm\" access=\"shared\">", "<path>/srv/p</path>", "<size unit=\"KiB\">262144</size>",
        "<size unit=\"KiB\">128</size>", "<cell id=\"0\" cpus=\"0-1\" memory=\"1048576\" unit=\"KiB\""})
    CHECK_MESSAGE(xml.find(part) != std::string::npos, part);
  const auto back = launcher::import_domain(xml, {});
  REQUIRE(back);
  const launcher::Spec again = spec_of(back->spec);
  CHECK(again.memory.size == topology::gib(1));
  CHECK(again.memory.max.has_value());
  CHECK(again.devices.size() == spec_of(toml).devices.size());
  CHECK(back->spec.find("[[nvdimm]]\npath = \"/srv/p\"\nsize = \"256M\"\nlabel_size = \"128K\"") != std::string::npos);
}

TEST_CASE("export: mediated devices, names of disks, buses and policies of nodes come back") {
  const std::string xml = said(
      "name = \"a\"\n[cpu]\ncount = 4\n[memory]\nsize = \"2G\"\npage = \"4K\"\n[[numa]]\nnodes = [0]\npolicy = "
      "\"preferred\"\n[[numa]]\nnodes = [1]\n[[disk]]\npath = \"/a.raw\"\ninterface = \"virtio-scsi\"\nwwn = "
      "\"5000c50015ea71ac\"\n[[net]]\nguest_bus = 2\n[[pci]]\nmdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"\n");
  INFO(xml);
  const auto back = launcher::import_domain(xml, {});
  REQUIRE(back);
  INFO(back->spec);
  for (const char* line : {"wwn = \"5000c50015ea71ac\"", "guest_bus = 2",
                           "mdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"", "nodes = \"0\"\npolicy = \"preferred\""})
    CHECK_MESSAGE(back->spec.find(line) != std::string::npos, line);
}

TEST_CASE("export: a unit has the VM's weight and quota") {
  const launcher::Spec spec =
      spec_of("name = \"a\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\n[schedule]\nweight = 200\nquota = 150\n");
  const launcher::LaunchPlan plan = plan_of(spec, two_nodes);
  const launcher::Exported unit = launcher::export_shell(spec, plan, launcher::Runner::systemd_run);
  CHECK(unit.text.find("--property=CPUWeight=200 --property=CPUQuota=150%") != std::string::npos);
  const auto told = [](const launcher::Exported& one) {
    return std::ranges::count_if(one.report, [](const launcher::ReportRow& row) {
      return row.path.find("cpu.weight") != std::string::npos || row.path.find("cpu.max") != std::string::npos;
    });
  };
  CHECK(told(unit) == 0);
  CHECK(told(launcher::export_shell(spec, plan, launcher::Runner::shell)) == 2);
}
