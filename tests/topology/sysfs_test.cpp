// Sysfs over a root of our own.
#include "topology/sysfs.hpp"

#include <doctest/doctest.h>

#include <ostream>

#include "tests/topology/scratch.hpp"

using topology::Sysfs;

TEST_CASE("files below another root") {
  const Scratch scratch;
  scratch.write("/sys/a/number", "42\n");
  scratch.write("/sys/a/text", "one\ntwo\n");
  scratch.write("/sys/a/empty", "");
  scratch.write("/sys/a/big", std::string(10000, 'x'));
  std::filesystem::create_symlink("../../drivers/vfio-pci", scratch.root() / "sys/a/driver");
  const Sysfs sysfs(scratch.root());
  CHECK(sysfs.read("/sys/a/text") == "one\ntwo");
  CHECK(sysfs.read("/sys/a/empty") == "");
  CHECK(sysfs.read("/sys/a/big")->size() == 10000);
  CHECK(sysfs.read_start("/sys/a/big", 5000)->size() == 5000);
  CHECK_FALSE(sysfs.read("/sys/a/none"));
  CHECK_FALSE(sysfs.read("/sys/a"));
  CHECK(sysfs.read_number("/sys/a/number") == 42);
  CHECK_FALSE(sysfs.read_number("/sys/a/text"));
  CHECK_FALSE(sysfs.read_number("/sys/a/empty"));
  CHECK(sysfs.exists("/sys/a/number"));
  CHECK_FALSE(sysfs.exists("/sys/b"));
  CHECK(sysfs.link_name("/sys/a/driver") == "vfio-pci");
  CHECK_FALSE(sysfs.link_name("/sys/a/number"));
  CHECK(sysfs.at("/sys/a") == scratch.root() / "sys/a");
  CHECK_FALSE(sysfs.write("/sys/a/number", "7"));
  CHECK(sysfs.read_number("/sys/a/number").value_or(0) == 72);  // a kernel file is not truncated either
  CHECK(sysfs.write("/sys/a/none", "7") == std::errc::no_such_file_or_directory);
  CHECK(sysfs.write("/sys/a", "7") == std::errc::is_a_directory);
}

TEST_CASE("the node of a device is its own file's, also in a capture that has no /sys/devices") {
  const Scratch scratch;
  const std::string device = "/sys/bus/pci/devices/0000:81:00.0";
  scratch.write(device + "/numa_node", "1\n");
  CHECK(Sysfs(scratch.root()).node_of(device) == 1u);
  scratch.write(device + "/numa_node", "-1\n");
  CHECK(Sysfs(scratch.root()).node_of(device) == std::nullopt);
  CHECK(Sysfs(scratch.root()).node_of("/sys/bus/pci/devices/0000:82:00.0") == std::nullopt);
  scratch.write("/sys/devices/pci0000:80/numa_node", "3\n");
  scratch.write("/sys/devices/pci0000:80/virtio0/net/eth0/mtu", "1500\n");
  CHECK(Sysfs(scratch.root()).node_of("/sys/devices/pci0000:80/virtio0/net/eth0") == 3u);
  scratch.write(device + "/numa_node", "1\n");
  CHECK(Sysfs(scratch.root()).node_of(device) == 1u);
}

TEST_CASE("names are listed as people count") {
  const Scratch scratch;
  for (const char* name : {"node10", "node2", "node1", "node02", "cpu", "node"})
    scratch.write(std::string("/d/") + name, "");
  CHECK(Sysfs(scratch.root()).list("/d") ==
        std::vector<std::string>{"cpu", "node", "node1", "node02", "node2", "node10"});
  CHECK(Sysfs(scratch.root()).list("/none").empty());
}

TEST_CASE("the real root") { CHECK(Sysfs{}.read("/proc/self/comm")); }
