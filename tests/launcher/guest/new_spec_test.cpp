// A new VM's spec is read back as what was asked for, and its image is what it says.
#include "launcher/guest/new_spec.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "launcher/devices/cloud_init.hpp"
#include "launcher/devices/vsock.hpp"
#include "launcher/guest/base_image.hpp"
#include "launcher/guest/half.hpp"
#include "launcher/spec/read_spec.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using topology::gib;
using topology::mib;

Spec read_back(const NewVm& vm) {
  const auto document = TomlDocument::parse(new_spec(vm), "/srv/" + vm.name + ".toml");
  REQUIRE(document.has_value());
  Problems problems;
  Spec spec = read_document(*document, problems);
  for (const Problem& problem : problems) FAIL_CHECK(problem.key << ": " << problem.what);
  return spec;
}

template <class Kind>
const Kind* first(const Spec& spec) {
  for (const Device& device : spec.devices)
    if (const Kind* one = std::get_if<Kind>(&device)) return one;
  return nullptr;
}

NewVm some_vm() {
  return {.name = "web",
          .cpus = 3,
          .memory = gib(2),
          .profile = "",
          .disk = "web.qcow2",
          .image = "/i/a \"b\".qcow2",
          .cds = {},
          .emulated = false,
          .bridge = "",
          .passt = true,
          .vsock = true,
          .port = 2222,
          .user = "ann",
          .ssh_keys = {"ssh-ed25519 AAAAC3 ann@here"}};
}

}  // namespace

TEST_CASE("a VM on a cloud image") {
  const Spec spec = read_back(some_vm());
  CHECK(spec.name == "web");
  CHECK(spec.cpu.count == 3);
  CHECK(spec.memory.size == gib(2));
  REQUIRE(first<Disk>(spec) != nullptr);
  CHECK(first<Disk>(spec)->path == "/srv/web.qcow2");
  REQUIRE(first<Nic>(spec) != nullptr);
  CHECK(first<Nic>(spec)->mode == Nic::Mode::passt);
  CHECK(first<Vsock>(spec) != nullptr);
  CHECK(first<Nic>(spec)->forward.at(0).host_port == 2222);
  CHECK(first<Nic>(spec)->forward.at(0).address == "127.0.0.1");
  REQUIRE(first<CloudInit>(spec) != nullptr);
  CHECK(first<CloudInit>(spec)->user == "ann");
  CHECK(first<CloudInit>(spec)->ssh_keys == some_vm().ssh_keys);
  CHECK(first<Agent>(spec) != nullptr);
}

TEST_CASE("on a bridge, with a profile") {
  NewVm vm = some_vm();
  vm.bridge = "br0";
  vm.port = std::nullopt;
  vm.profile = "latency";
  const Spec spec = read_back(vm);
  CHECK(first<Nic>(spec)->bridge == "br0");
  CHECK(new_spec(vm).find("profile = \"latency\"\n") != std::string::npos);
}

TEST_CASE("an installation, of a guest without virtio drivers") {
  NewVm vm = some_vm();
  vm.image = "";
  vm.cds = {"/i/win.iso"};
  vm.emulated = true;
  const Spec spec = read_back(vm);
  CHECK(first<Disk>(spec)->interface == Disk::Interface::sata);
  CHECK(first<Nic>(spec)->model == Nic::Model::e1000e);
  REQUIRE(first<Cdrom>(spec) != nullptr);
  CHECK(first<Cdrom>(spec)->path == "/i/win.iso");
  CHECK(first<Display>(spec) != nullptr);
  CHECK(first<CloudInit>(spec) == nullptr);
  CHECK(spec.boot.order == std::vector<std::string>{"disk", "cdrom"});
}

TEST_CASE("what fits a host") {
  CHECK(fitting_cpus(1) == 1);
  CHECK(fitting_cpus(2) == 1);
  CHECK(fitting_cpus(6) == 3);
  CHECK(fitting_cpus(128) == 4);
  CHECK(fitting_memory(gib(1), false) == mib(512));
  CHECK(fitting_memory(gib(7), false) == mib(1536));
  CHECK(fitting_memory(gib(512), false) == gib(4));
  CHECK(fitting_memory(gib(4), true) == gib(4));
}

TEST_CASE("an image's format is that of its name, and qcow2 by its bytes only where it leads nowhere else") {
  const fakes::TempDir dir;
  const std::filesystem::path where = dir / "images";
  std::filesystem::create_directories(where);
  const auto image = [&](const char* name, const std::string& bytes) {
    std::ofstream(where / name) << bytes;
    return look_at_image(where / name);
  };
  std::string header(104, '\0');
  header.replace(0, 8, std::string("QFI\xfb\0\0\0\x03", 8));
  header[23] = 16;    // cluster_bits
  header[28] = 0x40;  // 1G
  header[103] = 104;  // its own length
  const auto plain = image("ubuntu.img", header);
  REQUIRE_MESSAGE(plain.has_value(), (plain ? "" : plain.error()));
  CHECK(plain->format == "qcow2");
  CHECK(plain->bytes == gib(1).count);
  std::string backed = header;
  backed[15] = 112;                                // where the backing file's name is
  backed[19] = 11;                                 // its length
  backed += std::string(8, '\0') + "/etc/shadow";  // behind the end of the header's extensions
  CHECK(image("disk.raw", backed).error().find("stands on another file") != std::string::npos);
  CHECK(image("disk.raw", std::string(4096, 'x'))->format == "raw");
  CHECK(image("disk.raw", std::string(4096, 'x'))->bytes == 4096);
  CHECK(image("disk.qcow2", std::string(4096, 'x')).error().find("no qcow2 image") != std::string::npos);
  CHECK(image("disk.vmdk", "KDMV" + std::string(4096, 'x')).error().find("vmdk") != std::string::npos);
  CHECK(image("disk.raw.xz",
              "\xfd"
              "7zXZ" +
                  std::string(99, 'x'))
            .error()
            .find("unxz") != std::string::npos);
  CHECK(image("debian.img", std::string(0x8001, 'x') + "CD001" + std::string(4096, 'x')).error().find("--iso") !=
        std::string::npos);
  CHECK(!look_at_image(where / "missing").has_value());
}

TEST_CASE("a user whom no guest can make is not taken from the environment") {
  for (const char* name : {"ann", "_svc", "ann-b_2"}) CHECK_MESSAGE(is_guest_user(name), name);
  for (const char* name : {"", "Ann", "ann.b", "CORP\\ann", "2fast", "-x", "a b"})
    CHECK_MESSAGE(!is_guest_user(name), name);
  CHECK(!is_guest_user(std::string(33, 'a')));
}

TEST_CASE("what a guest did not take is told, with where it was read") {
  const std::vector<GuestSetting> settings = {{"guest.swappiness", "vm.swappiness", "10", "file", {"/s"}},
                                              {"guest.hugepages", "vm.nr_hugepages", "4", "file", {"/h"}},
                                              {"guest.irqs", "interrupts", "1", "interrupts", {"52:54:00:00:00:01"}}};
  CHECK(misses(settings, "1\t10\t/s\n2\t3\x1b[2J\t/h\n") ==
        std::vector<std::string>{"vm.nr_hugepages: wanted 4, is 3\\x1b[2J (/h)", "interrupts: nothing was said of it"});
}
