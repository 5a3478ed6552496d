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
  // As a start does it: with what this machine says of its first `count` disks.
  Case& look(std::size_t count = 1) {
    for (std::size_t i = 0; i < count; ++i) disk(i) = look_at(std::get<Disk>(spec.devices.at(i)), HostConfig{});
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
  const fakes::TempDir dir;
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
