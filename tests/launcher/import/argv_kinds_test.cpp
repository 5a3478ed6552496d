// Command lines as people have them: of Proxmox, `ps`, scripts, and as QEMU puts several options together. A case for each kind that was
// once read wrongly.
#include <doctest/doctest.h>

#include <algorithm>

#include "launcher/import/argv.hpp"

namespace {

using launcher::Imported;
using launcher::ReportRow;
using launcher::Verb;

Imported from(const std::string& text) {
  auto result = launcher::import_argv(text, {});
  REQUIRE_MESSAGE(result, (result ? "" : result.error()));
  return std::move(*result);
}

void check(const std::string& text, std::string_view path, Verb verb, const std::string& line = "") {
  const Imported result = from(text);
  INFO(text, "\n", result.spec, launcher::to_text(result.report));
  const auto row = std::ranges::find(result.report, path, &ReportRow::path);
  REQUIRE_MESSAGE(row != result.report.end(), path);
  CHECK_MESSAGE(row->verb == verb, path, ": ", name_of(row->verb), ", ", row->words);
  CHECK_MESSAGE(result.spec.find(line) != std::string::npos, line);
}

std::string refused(const std::string& text) {
  const auto result = launcher::import_argv(text, {});
  REQUIRE(!result);
  return result.error();
}

const std::string q35 = "qemu-system-x86_64 -nodefaults -accel kvm -machine q35 -m 1G ";

}  // namespace

TEST_CASE("import argv: what ps shows of libvirt's call has no quotes around its JSON") {
  const std::string ps = q35 +
                         "-blockdev {\"driver\":\"file\",\"filename\":\"/vm/a b.qcow2\",\"node-name\":\"s\"} -blockdev "
                         "{\"driver\":\"qcow2\",\"node-name\":\"f\",\"file\":\"s\",\"backing\":null} -device "
                         "{\"driver\":\"virtio-blk-pci\",\"drive\":\"f\",\"serial\":\"x}\\\"y\"} -netdev "
                         "{\"type\":\"user\",\"id\":\"n\"} -device "
                         "{\"driver\":\"virtio-net-pci\",\"netdev\":\"n\",\"mac\":\"52:54:00:11:22:33\"}";
  check(ps, "-device virtio-blk-pci,serial", Verb::kept, "path = \"/vm/a b.qcow2\"\nformat = \"qcow2\"");
  check(ps, "-device virtio-net-pci,mac", Verb::kept, "mac = \"52:54:00:11:22:33\"");
  CHECK(refused("qemu-system-x86_64 -m 1G -device {\"driver\":\"virtio-blk-pci\"").find("quote") != std::string::npos);
  // what has lost them is no disk that may be missing
  const Imported lost = from(q35 + "-blockdev {driver:file,filename:/a.raw,node-name:s}");
  CHECK(launcher::exit_code_of(lost.report) == 2);
}

TEST_CASE("import argv: options that QEMU puts together") {
  const std::string split =
      "qemu-system-x86_64 -nodefaults -m size=1G -m maxmem=4G,slots=2 -smp cpus=4 -smp "
      "sockets=2,cores=2,threads=1 -machine q35 -machine accel=kvm:tcg ";
  check(split, "-machine,accel", Verb::kept, "accel = \"kvm\"");
  check(split, "-m,maxmem", Verb::changed, "size = \"1G\"\nmax = \"4G\"");
  check(split, "-smp,sockets", Verb::kept, "count = 4\nsockets = 2\ncores = 2");
  check("qemu-system-x86_64 -m 1G -m 2G", "-m", Verb::kept, "size = \"2G\"");
  check("qemu-system-x86_64 -m 1G -m 2G", "-m,size", Verb::changed);
  check("qemu-system-x86_64 -m 1G -accel kvm -accel tcg", "-accel", Verb::kept, "accel = \"kvm\"");
}

TEST_CASE("import argv: one VM of a script") {
  const std::string one = "qemu-system-x86_64 -m 1G -name a\n", other = "qemu-system-x86_64 -m 2G -name b\n";
  CHECK(refused(one + other).find("lines 1 and 2") != std::string::npos);
  check("qemu-system-x86_64 --version\n" + other, "-name", Verb::kept, "name = \"b\"");
  check(one + "pkill qemu-system-x86_64 it's\n", "-name", Verb::kept, "name = \"a\"");
}

TEST_CASE("import argv: what is in a file is not known") {
  CHECK(launcher::exit_code_of(from(q35 + "-readconfig vm.cfg").report) == 2);
  check(q35 + "-readconfig /usr/share/qemu-server/pve-q35-4.0.cfg", "-readconfig", Verb::changed);
}

TEST_CASE("import argv: memory as Proxmox plugs it") {
  const std::string nodes =
      "-smp 4 -object memory-backend-ram,id=r0,size=512M,host-nodes=0,policy=bind -numa "
      "node,nodeid=0,cpus=0-1,memdev=r0 "
      "-object memory-backend-ram,id=r1,size=512M,host-nodes=1,policy=preferred -numa node,nodeid=1,cpus=2-3,memdev=r1 "
      "-object memory-backend-ram,id=d0,size=512M -device pc-dimm,id=dimm0,memdev=d0,node=1 ";
  const std::string line =
      "qemu-system-x86_64 -nodefaults -accel kvm -machine q35 -m size=1024,slots=255,maxmem=4194304M ";
  check(line + nodes, "-m,maxmem", Verb::dropped, "size = \"1536M\"");
  check(line + nodes, "-device pc-dimm", Verb::changed,
        "vcpus = \"2-3\"\nsize = \"1G\"\nnodes = \"1\"\npolicy = \"preferred\"");
  CHECK(from(line + nodes).spec.find("[memory]\nsize = \"1536M\"\n\n") != std::string::npos);
}

TEST_CASE("import argv: devices by their place in sysfs, disks by their name") {
  check(q35 + "-device vfio-pci,sysfsdev=/sys/bus/mdev/devices/53764d0e-85a0-42b4-af5c-2046b460b1dc",
        "-device vfio-pci,sysfsdev", Verb::kept, "mdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"");
  check(q35 + "-device vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:00:02.0/00000000-0000-0000-0000-000000000101",
        "-device vfio-pci,sysfsdev", Verb::kept, "mdev = \"00000000-0000-0000-0000-000000000101\"");
  check(q35 + "-device vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:81:00.0", "-device vfio-pci,sysfsdev", Verb::kept,
        "address = \"0000:81:00.0\"");
  const std::string scsi =
      "-drive id=d,file=/a.raw,format=raw,if=none -device virtio-scsi-pci,id=s -device "
      "scsi-hd,drive=d,bus=s.0,wwn=";
  check(q35 + scsi + "0x5000c50015ea71ac", "-device scsi-hd,wwn", Verb::kept, "wwn = \"5000c50015ea71ac\"");
  check(q35 + scsi + "5764824127192592812", "-device scsi-hd,wwn", Verb::kept, "wwn = \"5000c50015ea71ac\"");
}
