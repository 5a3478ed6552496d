// The block devices below images, and how the kernel lets QEMU reach them.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"
#include "topology/words.hpp"

namespace launcher::inline checks {

namespace {

std::string queue_path(const std::string& disk, const char* file) {
  return fmt::format("/sys/block/{}/queue/{}", disk, file);
}

// The block devices in question: those of the VM's disks, else the machine's (no loop, RAM, optical or mapped ones).
std::vector<std::string> block_devices(const Audit& audit) {
  std::vector<std::string> names;
  if (audit.vm) {
    for (const AuditedDisk& disk : audit.vm->disks)
      if (!disk.block.empty() && std::find(names.begin(), names.end(), disk.block) == names.end())
        names.push_back(disk.block);
    return names;
  }
  for (const std::string& name : audit.sysfs().list("/sys/block")) {
    const auto starts = [&](const char* prefix) { return name.starts_with(prefix); };
    if (starts("nvme") || starts("sd") || starts("vd") || starts("xvd") || starts("pmem")) names.push_back(name);
  }
  return names;
}

std::string scheduler_of(const Audit& audit, const std::string& disk) {
  return topology::chosen_word(audit.text(queue_path(disk, "scheduler")).value_or(""));
}

void scheduler(const Audit& audit, Findings& findings) {
  for (const std::string& disk : block_devices(audit)) {
    const std::string used = scheduler_of(audit, disk), path = queue_path(disk, "scheduler");
    if (used.empty()) continue;
    const bool spins = audit.spins(disk);
    const bool good = spins ? used == "mq-deadline" || used == "bfq" : used == "none";
    if (good) {
      findings.ok(used, {path}).subject = disk;
      continue;
    }
    const std::string wanted = spins ? "mq-deadline" : "none";
    findings
        .want(Level::advice, fmt::format("{}, {}", used, spins ? "a disk that spins" : "no disk that spins"), {path},
              wanted, write_now(wanted, path),
              fmt::format("`ACTION==\"add|change\", KERNEL==\"{}\", ATTR{{queue/scheduler}}=\"{}\"` in a udev rule",
                          disk, wanted))
        .subject = disk;
  }
}

void nr_requests(const Audit& audit, Findings& findings) {
  for (const std::string& disk : block_devices(audit)) {
    const std::string path = queue_path(disk, "nr_requests");
    const auto value = audit.number(path);
    if (!value || !disk.starts_with("nvme")) continue;
    if (*value >= 1023)
      findings.ok(fmt::format("{}", *value), {path}).subject = disk;
    else if (scheduler_of(audit, disk) == "none")
      findings
          .leave(fmt::format("{}", *value), {path},
                 "without a scheduler this is the device's own queue depth; the kernel refuses more (EINVAL)")
          .subject = disk;
    else
      findings
          .want(
              Level::advice, fmt::format("{} requests a queue", *value), {path},
              "scheduler none, which uses the device's own depth; or 1024", write_now("1024", path),
              fmt::format("`ACTION==\"add|change\", KERNEL==\"{}\", ATTR{{queue/nr_requests}}=\"1024\"` in a udev rule",
                          disk))
          .subject = disk;
  }
}

void write_cache(const Audit& audit, Findings& findings) {
  for (const std::string& disk : block_devices(audit)) {
    const std::string path = queue_path(disk, "write_cache");
    const auto value = audit.text(path);
    if (!value) continue;
    if (value->starts_with("write back") || !audit.spins(disk))
      findings.ok(*value, {path}).subject = disk;
    else
      findings
          .want(Level::advice, fmt::format("{} on a disk that spins: each write waits for the platter", *value), {path},
                "the disk's cache on; guests flush it when they must", fmt::format("hdparm -W 1 /dev/{}", disk),
                "write_cache = on in /etc/hdparm.conf")
          .subject = disk;
  }
}

void spinning(const Audit& audit, Findings& findings) {
  if (!audit.vm) return;
  for (const AuditedDisk& disk : audit.vm->disks) {
    if (disk.block.empty()) continue;
    const std::string path = queue_path(disk.block, "rotational");
    if (audit.spins(disk.block))
      findings
          .want(Level::advice, fmt::format("on {}, a disk that spins", disk.block), {path},
                "an SSD, best a whole NVMe namespace", "move the image")
          .subject = disk.key;
    else
      findings.ok(fmt::format("on {}", disk.block), {path}).subject = disk.key;
  }
}

void discard(const Audit& audit, Findings& findings) {
  for (const std::string& disk : block_devices(audit)) {
    const std::string path = queue_path(disk, "discard_max_bytes");
    const auto value = audit.number(path);
    if (!value) continue;
    if (*value != 0)
      findings.ok("discards reach the device", {path}).subject = disk;
    else
      findings.leave("no discard", {path}, "the device has none: discard=unmap then only punches holes in image files")
          .subject = disk;
  }
}

void direct_io(const Audit& audit, Findings& findings) {
  if (!audit.vm) return;
  for (const AuditedDisk& disk : audit.vm->disks) {
    if (!disk.facts.readable) continue;
    if (disk.facts.direct_io)
      findings.ok("O_DIRECT works", {disk.path}).subject = disk.key;
    else
      findings
          .want(Level::warning, fmt::format("O_DIRECT does not work ({})", disk.facts.io_uring_why), {disk.path},
                "a file system or device that takes O_DIRECT (tmpfs does from Linux 6.6)",
                "move the image to ext4, xfs, or a block device")
          .subject = disk.key;
  }
}

void io_uring(const Audit& audit, Findings& findings) {
  if (!audit.vm) return;
  for (const AuditedDisk& disk : audit.vm->disks) {
    if (!disk.facts.readable) continue;
    if (disk.facts.io_uring)
      findings.ok("io_uring works", {disk.path}).subject = disk.key;
    else
      findings
          .want(Level::advice, fmt::format("io_uring does not work ({})", disk.facts.io_uring_why), {disk.path},
                "io_uring on this very file", "see `io-uring-disabled`; else aio = \"native\" does nearly as well")
          .subject = disk.key;
  }
}

void io_uring_disabled(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/kernel/io_uring_disabled";
  const auto value = audit.number(path);
  if (!value) return;
  if (*value == 0)
    findings.ok("0", {path});
  else
    findings.want(
        *value == 2 ? Level::warning : Level::advice,
        fmt::format("{}: {}", *value,
                    *value == 2 ? "nobody may use io_uring"
                                : "only processes with rights, or of kernel.io_uring_group, may use io_uring"),
        {path}, "0", sysctl_now("kernel.io_uring_disabled", "0"), sysctl_lasting("kernel.io_uring_disabled", "0"));
}

void aio_limit(const Audit& audit, Findings& findings) {
  const std::string used_path = "/proc/sys/fs/aio-nr", most_path = "/proc/sys/fs/aio-max-nr";
  const auto used = audit.number(used_path), most = audit.number(most_path);
  if (!used || !most) return;
  if (*used * 4 > *most * 3)
    findings.want(Level::warning,
                  fmt::format("{} of {} native AIO requests are spoken for; io_setup fails beyond that", *used, *most),
                  {used_path, most_path}, "1048576", sysctl_now("fs.aio-max-nr", "1048576"),
                  sysctl_lasting("fs.aio-max-nr", "1048576"));
  else
    findings.ok(fmt::format("{} of {} used", *used, *most), {used_path, most_path});
}

}  // namespace

std::vector<Check> storage_checks() {
  return {
      {"io-scheduler", "storage", "003 \"I/O Scheduling for KVM\"",
       "the guest has sorted its requests already; an SSD gains nothing from a second time, a disk that spins does",
       "VMs with disks", "fairness between processes of the host", scheduler, concerns::disks},
      {"nr-requests", "storage", "003 \"I/O Scheduling for KVM\"", "a short queue keeps a fast device waiting",
       "VMs with many requests under way", "latency of a longer queue", nr_requests, concerns::disks},
      {"write-cache", "storage", "001 3.3.4 \"Cache Modes\"",
       "cache = \"none\" relies on the device's cache and the guest's flushes", "VMs with disks",
       "data in the cache is lost with the power, unless flushed", write_cache, concerns::disks},
      {"spinning-disk", "storage", "003 \"Disk I/O Optimization\", 004 \"8. Disk I/O Optimization\"",
       "no setting makes up for a seek", "VMs with disks", "an SSD", spinning, concerns::disks},
      {"discard", "storage", "003 \"Key virtio Settings\"", "", "VMs on SSDs", "", discard, concerns::disks},
      {"direct-io", "storage", "001 3.3.4 \"Cache Modes\", 003, 004 \"8. Disk I/O Optimization\"",
       "cache = \"none\" and aio = \"native\" need it; without it all data is cached twice", "VMs with disks",
       "moving the image", direct_io, concerns::disks},
      {"io-uring", "storage", "001 3.3.4 \"IO Mode\"",
       "it submits without a system call per request and never blocks the iothread", "VMs with disks", "none", io_uring,
       concerns::disks},
      {"io-uring-disabled", "storage", "001 3.3.4 \"IO Mode\"", "vmrun's QEMU runs without rights", "VMs with disks",
       "more of the kernel within reach of local users", io_uring_disabled, concerns::disks},
      {"aio-limit", "storage", "001 3.3.4 \"IO Mode\", 003 \"Key virtio Settings\", 004 \"8. Disk I/O Optimization\"",
       "aio = \"native\" takes its requests from this sum over all processes", "VMs with aio = \"native\"",
       "kernel memory", aio_limit, concerns::disks},
  };
}

}  // namespace launcher::checks
