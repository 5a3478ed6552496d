// What a disk may do per second: [disk].limit, and QEMU's throttle group of it. The rule: what QEMU would refuse of the
// numbers together is said when they are read.
#pragma once

#include <array>
#include <boost/json/fwd.hpp>
#include <cstdint>
#include <string>

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DiskLimit {
  struct Rate {
    std::uint64_t per_second = 0;  // 0: no limit
    std::uint64_t burst = 0;       // what may be reached for burst_seconds; 0: no more than per_second
    friend bool operator==(const Rate&, const Rate&) = default;
  };
  // In the order of disk_limit.cpp's names: iops, iops_read, iops_write, bytes, bytes_read, bytes_write.
  std::array<Rate, 6> rates{};
  unsigned burst_seconds = 1;  // disk.limit.burst_seconds
  std::string group;           // disk.limit.group: all disks of the VM that name it share one limit

  bool has_rates() const { return rates != std::array<Rate, 6>{}; }
  bool wanted() const { return has_rates() || !group.empty(); }
  static DiskLimit read(TableReader& table);  // problems go to the reader
  friend bool operator==(const DiskLimit&, const DiskLimit&) = default;
};

boost::json::object throttle_limits(const DiskLimit& limit);  // QAPI's ThrottleLimits
std::string text_of(const DiskLimit& limit);                  // "iops 500, bytes_read 10M"

// A name that may become part of an id of QEMU's: letters, digits, '_' and '-', at most 32, a letter or digit first.
// "" is none; anything
// else is a problem with `key` of the table.
std::string read_shared_name(TableReader& table, const char* key);

}  // namespace launcher::devices
