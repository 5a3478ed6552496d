// A running VM as the kernel sees it, beside what was planned: threads and their masks, memory per node and page size.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "launcher/run_dir.hpp"

namespace launcher {

struct ThreadReport {
  pid_t tid = 0;
  std::string name;
  std::string role;
  topology::CpuSet wanted;
  topology::CpuSet actual;
  bool as_wanted() const { return wanted == actual; }
};
std::vector<ThreadReport> report_threads(const VmDir& dir);

struct MemoryReport {
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;
};
std::vector<MemoryReport> report_memory(const VmDir& dir);

boost::json::value thread_report_json(const VmDir& dir);
boost::json::value memory_report_json(const VmDir& dir);

}  // namespace launcher
