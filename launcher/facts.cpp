#include "launcher/facts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "launcher/image.hpp"
#include "launcher/io_uring_probe.hpp"
#include "launcher/run_dir.hpp"
#include "topology/sysfs.hpp"

namespace launcher {

namespace {

bool may(const std::string& path, int mode) { return access(path.c_str(), mode) == 0; }

// The node of the PCI device that a sysfs device hangs on: the nearest numa_node upwards (an NVMe disk has none itself,
// its controller does).
std::optional<unsigned> node_of(const std::string& sysfs_device) {
  std::error_code error;
  std::filesystem::path device = std::filesystem::canonical(sysfs_device, error);
  const topology::Sysfs sysfs;
  for (; !error && device.string().starts_with("/sys/devices/"); device = device.parent_path()) {
    const auto text = sysfs.read((device / "numa_node").string());
    if (!text) continue;
    if (text->starts_with('-')) return std::nullopt;  // the firmware does not say
    return static_cast<unsigned>(std::strtoul(text->c_str(), nullptr, 10));
  }
  return std::nullopt;
}

DeviceFacts look_at(const Disk& disk) {
  DeviceFacts facts;
  struct stat info {};
  facts.exists = stat(disk.path.c_str(), &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode));
  if (!facts.exists) return facts;
  facts.is_block = S_ISBLK(info.st_mode);
  const dev_t disk_device = facts.is_block ? info.st_rdev : info.st_dev;  // an image's file system stands on a disk
  facts.node = node_of(fmt::format("/sys/dev/block/{}:{}", major(disk_device), minor(disk_device)));
  facts.readable = may(disk.path, disk.read_only ? R_OK : R_OK | W_OK);
  if (!facts.readable) return facts;
  const auto image = read_image(disk.path);
  facts.format = image ? image->format : "raw";
  if (image) facts.chain = image->chain;
  if (!image) facts.chain_problem = image.error();
  const IoProbe io = probe_io(disk.path);
  facts.direct_io = io.direct_io;
  facts.io_uring = io.io_uring;
  facts.io_uring_why = io.why;
  // What root may is not what QEMU may: with 1, only CAP_SYS_ADMIN (and a group that QEMU is not in) gets a ring.
  if (facts.io_uring && geteuid() == 0 && topology::Sysfs{}.read_number("/proc/sys/kernel/io_uring_disabled") == 1u) {
    facts.io_uring = false;
    facts.io_uring_why = "kernel.io_uring_disabled = 1 forbids it to processes without rights, and QEMU is one";
  }
  return facts;
}

DeviceFacts look_at(const Nic& nic) {
  DeviceFacts facts;
  const topology::Sysfs sysfs;
  const auto net = [](const std::string& name, const char* file) { return "/sys/class/net/" + name + "/" + file; };
  if (!nic.bridge.empty()) {
    facts.bridge_exists = sysfs.exists(net(nic.bridge, "bridge"));
    for (const std::string& port : sysfs.list(net(nic.bridge, "brif"))) {
      if (!facts.node) facts.node = node_of(net(port, "device"));
    }
    facts.bridge_mtu = static_cast<unsigned>(sysfs.read_number(net(nic.bridge, "mtu")).value_or(0));
  }
  if (!nic.tap.empty()) {
    const auto flags = sysfs.read(net(nic.tap, "tun_flags"));
    facts.tap_exists = flags.has_value();
    constexpr unsigned long multi_queue = 0x0100;  // IFF_MULTI_QUEUE, include/uapi/linux/if_tun.h
    facts.tap_multi_queue = flags && (std::strtoul(flags->c_str(), nullptr, 16) & multi_queue) != 0;
  }
  facts.vhost_available = may("/dev/vhost-net", R_OK | W_OK);
  return facts;
}

DeviceFacts look_at(const Console&) { return {}; }

// KVM counts when /dev/kvm can be opened; auto uses it only when kvm_intel or kvm_amd is what serves it.
void look_at_kvm(Facts& facts) {
  struct stat info {};
  if (stat("/dev/kvm", &info) < 0) {
    facts.kvm_why = "there is no /dev/kvm (no virtualization extensions, or `modprobe kvm_intel` / `kvm_amd` is due)";
    return;
  }
  if (!may("/dev/kvm", R_OK | W_OK)) {
    facts.kvm_why = "/dev/kvm may not be opened by this user (join group kvm, or run as root)";
    return;
  }
  facts.kvm = true;
  facts.kvm_open_to_all = (info.st_mode & 0006) == 0006;
  if ((info.st_mode & 0060) == 0060 && info.st_gid != 0) facts.kvm_group = info.st_gid;
  const topology::Sysfs sysfs;
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    if (sysfs.exists(std::string("/sys/module/") + module)) facts.kvm_module = module;
  }
  if (facts.kvm_module.empty()) {
    facts.kvm_why =
        "/dev/kvm is served neither by kvm_intel nor by kvm_amd, and such a KVM may not run ordinary guests (accel = "
        "\"kvm\" insists)";
  }
}

}  // namespace

Facts gather_facts(const Spec& spec, const HostConfig& config) {
  Facts facts;
  facts.uid = geteuid();
  facts.root = facts.uid == 0;
  facts.run_base = run_base();
  facts.raised = all_raises(facts.run_base);
  if (config.user) {
    const passwd* user = getpwnam(config.user->c_str());
    if (user != nullptr)
      facts.user_uid = user->pw_uid;
    else
      facts.user_problem = fmt::format("host.toml says user = \"{}\", but this host has no such user", *config.user);
  }
  look_at_kvm(facts);
  rlimit memlock{};
  if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY) facts.memlock = memlock.rlim_cur;
  for (const Device& device : spec.devices) {
    facts.devices.push_back(std::visit([](const auto& kind) { return look_at(kind); }, device));
  }
  facts.kernel_readable = spec.boot.kernel.empty() || may(spec.boot.kernel, R_OK);
  facts.initrd_readable = spec.boot.initrd.empty() || may(spec.boot.initrd, R_OK);
  facts.firmware_readable = spec.boot.firmware.empty() || may(spec.boot.firmware, R_OK);
  return facts;
}

Facts assumed_facts(const Spec& spec, const topology::HostTopology& host) {
  Facts facts;
  facts.root = true;
  facts.run_base = "/run/vmrun";
  facts.kvm = true;
  facts.kvm_module = host.cpu_vendor == "AuthenticAMD" ? "kvm_amd" : "kvm_intel";
  for (const Device& device : spec.devices) {
    DeviceFacts one;
    one.exists = one.readable = one.direct_io = one.io_uring = true;
    one.bridge_exists = one.tap_exists = one.tap_multi_queue = one.vhost_available = true;
    if (const Disk* disk = std::get_if<Disk>(&device)) {
      one.is_block = disk->path.starts_with("/dev/");
      one.format = disk->format.value_or(disk->path.ends_with(".qcow2") ? "qcow2" : "raw");
    }
    facts.devices.push_back(one);
  }
  return facts;
}

}  // namespace launcher
