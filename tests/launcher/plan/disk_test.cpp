// Disks, shares and NVDIMMs: what the machine said of them is met or refused by its key, and what a guest can write decides nothing.
#include "launcher/devices/disk.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <functional>
#include <string>

#include "launcher/facts/host_config.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

// A VM with these tables, on a host that has everything; a test takes something away.
struct Case {
  Spec spec;
  topology::HostTopology host;
  topology::Reservations taken = {};
  QemuFeatures qemu;
  Facts facts;

  explicit Case(const std::string& tables) {
    spec = spec_of("name = \"db\"\n[cpu]\ncount = 4\n[memory]\nsize = \"1G\"\npage = \"4K\"\n" + tables);
    host = topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts" / "rocky-2s.json").string()).value();
    qemu = features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / "10.0.json")).value();
    facts = assumed_facts(spec, host);
  }
  Disk::Facts& disk(std::size_t index = 0) { return std::get<Disk::Facts>(facts.devices.at(index)); }
  // As a start does it: with what this machine says of its first `count` images.
  Case& look(std::size_t count = 1) {
    for (std::size_t i = 0; i < spec.devices.size() && count > 0; ++i) {
      const Device& one = spec.devices[i];
      const auto* disk = std::get_if<Disk>(&one);
      const auto* cdrom = std::get_if<Cdrom>(&one);
      const auto* nvdimm = std::get_if<Nvdimm>(&one);
      if (const auto* console = std::get_if<Console>(&one)) facts.devices[i] = look_at(*console);
      if (const auto* serial = std::get_if<Serial>(&one)) facts.devices[i] = look_at(*serial);
      if (disk) facts.devices[i] = look_at(*disk, HostConfig{});
      if (cdrom) facts.devices[i] = look_at(*cdrom);
      if (nvdimm) facts.devices[i] = look_at(*nvdimm);
      count -= disk || cdrom || nvdimm ? 1 : 0;
    }
    return *this;
  }
  LaunchPlan plan() const {
    auto made = make_plan(spec, host, {}, taken, qemu, facts);
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : render(made.error(), nullptr, false)));
    return *made;
  }
  std::string problems() const {
    const auto made = make_plan(spec, host, {}, taken, qemu, facts);
    return made ? "none" : render(made.error(), nullptr, false);
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string value_of(const LaunchPlan& plan, const std::string& option, const std::string& with) {
  for (const Arg& arg : plan.args)
    if (arg.option == option && has(arg.value, with)) return arg.value;
  return "";
}

std::string disk_at(const std::string& path, const std::string& keys = "") {
  return "[[disk]]\ncache = \"writeback\"\npath = \"" + path + "\"\n" + keys;
}

void write_qcow2(const fs::path& path, const std::string& options = "") {
  REQUIRE(system(("qemu-img create -q -f qcow2 " + options + " '" + path.string() + "' 1M").c_str()) == 0);
}

std::string opened_files(const LaunchPlan& plan) {
  std::string names;
  for (const PlannedStep& step : plan.steps)
    if (const auto* file = std::get_if<OpenFile>(&step.step); file && file->path != "/dev/kvm")
      names += fs::path(file->path).filename().string() + " ";
  return names;
}

}  // namespace

TEST_CASE("a qcow2 header that a guest wrote into its raw disk opens no file of the host's") {
  const fakes::TempDir dir;
  write_qcow2(dir / "evil.raw", "-b /etc/passwd -F raw");
  const std::string path = dir / "evil.raw";
  const Case automatic = Case(disk_at(path)).look();
  CHECK(has(automatic.problems(),
            "error: disk[0].path: '" + path + "' is raw by its name, and its first bytes are those of a qcow2 image"));
  CHECK(has(automatic.problems(),
            "format = \"raw\" if a guest may have written them, or format = \"qcow2\" if you made it so"));
  // both ways out lead to a plan
  const LaunchPlan raw = Case(disk_at(path, "format = \"raw\"\n")).look().plan();
  CHECK(opened_files(raw) == "evil.raw ");
  CHECK(value_of(raw, "-blockdev", "qcow2") == "");
  CHECK(has(value_of(raw, "-device", "id=disk0"), "drive=disk0-image"));
  CHECK(has(value_of(raw, "-blockdev", "node-name=disk0-image"), "driver=file"));
  CHECK(opened_files(Case(disk_at(path, "format = \"qcow2\"\n")).look().plan()) == "passwd evil.raw ");
}

TEST_CASE("a format comes from the spec, the kind of file, or its name") {
  const fakes::TempDir dir("/tmp");  // images to be made may not lie in memory
  write_qcow2(dir / "a.qcow2");
  CHECK(has(value_of(Case(disk_at(dir / "a.qcow2")).look().plan(), "-blockdev", "disk0-image"), "driver=qcow2"));
  fakes::write_file(dir / "b.qcow2", std::string(4096, 'x'));
  CHECK(has(Case(disk_at(dir / "b.qcow2")).look().problems(), "is qcow2 by its name, and its bytes are not"));
  fakes::write_file(dir / "vmdk.img", "KDMV" + std::string(4096, 'x'));
  CHECK(has(Case(disk_at(dir / "vmdk.img")).look().problems(), "its first bytes are those of a vmdk image"));
  CHECK(Case(disk_at(dir / "vmdk.img", "format = \"raw\"\n")).look().problems() == "none");
  fakes::write_file(dir / "passwd", std::string(4096, 'x'));
  const Case unsaid = Case(disk_at(dir / "passwd")).look();
  CHECK(has(unsaid.problems(), "passwd' does not say by its name which format it has; wanted"));
  CHECK(has(unsaid.problems(), "add format = \"raw\" (a disk as it is), or format = \"qcow2\""));
  CHECK(Case(disk_at(dir / "passwd", "format = \"raw\"\n")).look().problems() == "none");
  CHECK(has(Case(disk_at(dir / "new", "create = { size = \"1M\" }\n")).look().problems(), "does not say by its name"));
  CHECK(Case(disk_at(dir / "new.img", "create = { size = \"1M\" }\n")).look().problems() == "none");
}

TEST_CASE("a disk beside the one to boot from has its device's own sectors") {
  Case one(disk_at("/dev/sda") + disk_at("/dev/sdb"));
  for (std::size_t i : {0, 1}) one.disk(i).logical_block = one.disk(i).physical_block = 4096;
  const LaunchPlan plan = one.plan();
  CHECK(!has(value_of(plan, "-device", "id=disk0"), "logical_block_size"));
  CHECK(has(value_of(plan, "-device", "id=disk1"), "logical_block_size=4096"));
}

TEST_CASE("what the host itself has is given read-only, or not") {
  for (const char* keys : {"", "read_only = true\n", "ephemeral = true\n"}) {
    Case one(disk_at("/dev/sda", keys));
    one.disk().used_by_host = "it is mounted on '/mnt'";
    const std::string said = one.problems();
    CHECK(has(said, "error: disk[0].path: '/dev/sda' is in use by this host: it is mounted on '/mnt'; wanted"));
    CHECK(has(said, "set read_only = true"));
    one.disk().used_by_host = "";  // as look_at() leaves it for what is only read
    CHECK(one.problems() == "none");
  }
}

TEST_CASE("an image has one writer, by whatever name it is called") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "al.img", std::string(4096, 'x'));
  fs::create_symlink(dir / "al.img", dir / "soft.img");
  fs::create_hard_link(dir / "al.img", dir / "hard.img");
  const LaunchPlan first = Case(disk_at(dir / "al.img")).look().plan();
  const auto second = [&](const std::string& name, const std::string& keys, const LaunchPlan& before) {
    Case one = Case(disk_at(dir / name, keys)).look();
    topology::Reservation other = before.reservation;
    other.owner = "al", other.cpus = {};
    one.taken.vms.push_back(other);
    return one.problems();
  };
  for (const std::string name : {"al.img", "soft.img", "hard.img"}) {
    const std::string said = "error: disk[0].path: image '" + (dir / name).string() + "' belongs to VM al";
    CHECK(has(second(name, "", first), said));
    CHECK(has(second(name, "", first), "stop it with `vmrun stop al`, or set read_only = true in both"));
    CHECK(has(second(name, "read_only = true\n", first), said));
    CHECK(has(second(name, "ephemeral = true\n", first), said));
  }
  const LaunchPlan reader = Case(disk_at(dir / "al.img", "read_only = true\n")).look().plan();
  CHECK(second("hard.img", "read_only = true\n", reader) == "none");
  CHECK(has(second("hard.img", "", reader), "belongs to VM al"));
  CHECK(has(Case(disk_at(dir / "al.img") + disk_at(dir / "hard.img")).look(2).problems(), "is given twice to this VM"));
}

TEST_CASE("an image is one image, whatever kind of device it is given as") {
  const fakes::TempDir dir;
  const std::string file = dir / "al.img", link = dir / "hard.img";
  fakes::write_file(file, std::string(4 << 20, 'x'));
  fs::create_hard_link(file, link);
  const auto table = [](const std::string& kind, const std::string& path) {
    return kind == "disk" ? disk_at(path) : "[[" + kind + "]]\npath = \"" + path + "\"\n";
  };
  for (const std::string first : {"disk", "nvdimm", "cdrom"})
    for (const std::string second : {"disk", "nvdimm", "cdrom"}) {
      INFO(first, " and ", second);
      const LaunchPlan before = Case(table(first, file)).look().plan();
      Case one = Case(table(second, link)).look();
      one.taken.vms.push_back({"al", {}, {}, before.reservation.things});
      const bool both_read = first == "cdrom" && second == "cdrom";
      CHECK(has(one.problems(), both_read ? "none" : second + "[0].path: image '" + link + "' belongs to VM al"));
    }
  CHECK(has(Case(disk_at(file) + table("cdrom", link)).look(2).problems(), "is given twice to this VM"));
}

TEST_CASE("a log, a socket and a vDPA device have one VM, by whatever name, there before or made for it") {
  const fakes::TempDir dir("/tmp");
  fs::create_directory(dir / "logs");
  fs::create_directory_symlink(dir / "logs", dir / "link");
  const auto log = [&](const std::string& path, bool console = true) {
    return std::string(console ? "[console]\n" : "[[serial]]\n") + "log = \"" + (dir / path).string() + "\"\n";
  };
  const auto second = [](const std::string& tables, const LaunchPlan& first) {
    Case one = Case(tables).look();
    one.taken.vms.push_back({"al", {}, {}, first.reservation.things});
    return one.problems();
  };
  const LaunchPlan before = Case(log("logs/a.log")).look().plan();
  for (const bool made : {false, true}) {
    if (made) fakes::write_file(dir / "logs/a.log", "booted\n");
    for (const std::string name : {"logs/a.log", "link/a.log"}) {
      CHECK(has(second(log(name), before), "console.log: the log '" + (dir / name).string() + "' belongs to VM al"));
      CHECK(has(second(log(name, false), before), "serial[0].log: the log"));
      CHECK_FALSE(has(second(log(name), before), "read_only"));
    }
    CHECK(second(log("logs/b.log"), before) == "none");
    const std::string twice = Case(log("logs/a.log") + log("link/a.log", false)).look().problems();
    CHECK(has(twice, "is given twice to this VM"));
    CHECK(twice.find("is given twice") == twice.rfind("is given twice"));  // though it is claimed by two things
  }
  const LaunchPlan known = Case(log("logs/a.log")).look().plan();
  fs::create_hard_link(dir / "logs/a.log", dir / "hard.log");
  CHECK(has(second(log("hard.log"), known), "belongs to VM al"));

  const auto card = [&](const std::string& keys, const std::string& path) {
    return look_at(std::get<Nic>(spec_of("name = \"x\"\n[cpu]\ncount = 1\n[memory]\nsize = \"1G\"\n[[net]]\n" + keys +
                                         " = \"" + path + "\"\n")
                                     .devices.at(0)),
                   HostConfig{});
  };
  fs::create_symlink("/dev/null", dir / "null");
  CHECK(card("device", "/dev/null").path_ids.front() == card("device", dir / "null").path_ids.front());
  CHECK(card("socket", dir / "logs/s").path_ids == card("socket", dir / "link/s").path_ids);
  CHECK(card("socket", dir / "logs/s").path_ids != card("socket", dir / "logs/t").path_ids);
}

TEST_CASE("a partition, a volume and a loop device are seen to be parts of what another VM has") {
  const auto plan_with = [](const std::string& id, const OtherNames& names, const std::vector<std::string>& taken) {
    Case one(disk_at("/dev/x"));
    one.disk().id = id, one.disk().names = names;
    one.taken.vms.push_back({"al", {}, {}, taken});
    return one.problems();
  };
  const auto things_of = [](const std::string& id, const OtherNames& names) {
    Case one(disk_at("/dev/x"));
    one.disk().id = id, one.disk().names = names;
    return one.plan().reservation.things;
  };
  const OtherNames whole{{"block 8:1"}, {}}, part{{}, {"block 8:0"}}, loop{{"file 8:1 inode 7"}, {}};
  CHECK(
      has(plan_with("block 8:3", part, things_of("block 8:0", whole)), "what '/dev/x' is a part of belongs to VM al"));
  CHECK(has(plan_with("block 8:0", whole, things_of("block 8:3", part)), "image '/dev/x' belongs to VM al"));
  CHECK(plan_with("block 8:2", part, things_of("block 8:3", part)) == "none");  // two parts of one disk
  CHECK(has(plan_with("block 7:0", loop, things_of("file 8:1 inode 7", {})), "image '/dev/x' belongs to VM al"));
  CHECK(has(plan_with("block 7:1", loop, things_of("block 7:0", loop)), "image '/dev/x' belongs to VM al"));
}

TEST_CASE("an image that is to be made is one by every name of its place") {
  const fakes::TempDir dir("/tmp");
  fs::create_directory(dir / "a");
  fs::create_directory_symlink(dir / "a", dir / "b");
  const std::string make = "create = { size = \"1M\" }\n";
  CHECK(has(Case(disk_at(dir / "a" / "new.img", make) + disk_at(dir / "b" / "new.img", make)).look(2).problems(),
            "is given twice to this VM"));
  CHECK(Case(disk_at(dir / "a" / "new.img", make) + disk_at(dir / "a" / "other.img", make)).look(2).problems() ==
        "none");

  const LaunchPlan making = Case(disk_at(dir / "a" / "new.img", make)).look().plan();
  for (const char* name : {"new.img", "other.img"}) fakes::write_file(dir / "a" / name, std::string(1 << 20, '\0'));
  const auto second = [&](const std::string& name) {  // planned once the first VM has had it made
    Case one = Case(disk_at(dir / "b" / name, make)).look();
    one.taken.vms.push_back({"al", {}, {}, making.reservation.things});
    return one.problems();
  };
  CHECK(has(second("new.img"), "new.img' belongs to VM al"));
  CHECK(second("other.img") == "none");
}

TEST_CASE("an NVDIMM's file that the host has in use is given read-only, or not") {
  for (const std::string keys : {"", "read_only = true\n"}) {
    Case one("[[nvdimm]]\npath = \"/images/n\"\n" + keys);
    for (DeviceFacts& facts : one.facts.devices)
      if (auto* nvdimm = std::get_if<Nvdimm::Facts>(&facts))
        nvdimm->used_by_host = keys.empty() ? "it is swap" : "";  // as look_at() leaves it for what is only read
    CHECK(has(one.problems(),
              keys.empty() ? "nvdimm[0].path: '/images/n' is in use by this host: it is swap; wanted" : "none"));
  }
}

TEST_CASE("no guest writes where vmrun keeps what it believes") {
  const fakes::TempDir dir;
  const fakes::Environment run("VMRUN_RUN_DIR", dir / "run/vmrun");
  HostConfig config;
  config.state_dir = dir / "lib/state";
  for (const char* one : {"run/vmrun", "lib/state/web", "apart", "run/vmrun-like"}) fs::create_directories(dir / one);
  fs::create_directory_symlink(dir / "lib", dir / "link");
  const auto told = [&](const std::string& path, const std::string& keys = "") {
    Case one("[[share]]\npath = \"" + (dir / path).string() + "\"\ntag = \"t\"\n" + keys);
    Share::Facts facts = look_at(std::get<Share>(one.spec.devices.at(0)), config);
    facts.virtiofsd = "/usr/libexec/virtiofsd", facts.rust = facts.knows_readonly = true, facts.why = "";
    one.facts.devices.at(0) = facts;
    return one.problems();
  };
  for (const char* path : {"", "run", "run/vmrun", "lib", "lib/state", "lib/state/web", "link"}) {
    CHECK(has(told(path), "share[0].path"));
    CHECK(has(told(path), "lie within each other"));
    CHECK(told(path, "read_only = true\n") == "none");
  }
  for (const char* path : {"apart", "run/vmrun-like"}) CHECK(told(path) == "none");
}

TEST_CASE("what an image stands on is nobody's to write to while the VM runs") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "base.raw", std::string(1 << 20, 'x'));
  write_qcow2(dir / "a.qcow2", "-F raw -b " + (dir / "base.raw").string());
  const LaunchPlan top = Case(disk_at(dir / "a.qcow2")).look().plan();
  Case writer = Case(disk_at(dir / "base.raw")).look();
  writer.taken.vms.push_back({"al", {}, {}, top.reservation.things});
  CHECK(has(writer.problems(), "base.raw' belongs to VM al"));
}

TEST_CASE("an image that a QEMU of somebody else has is named with its holder") {
  Case one(disk_at("/images/a.raw"));
  one.disk().id = "file 8:1 inode 7", one.disk().locked_by = "QEMU of VM 'x', pid 12";
  CHECK(has(one.problems(), "error: disk[0].path: image '/images/a.raw' is in use by QEMU of VM 'x', pid 12"));
}
