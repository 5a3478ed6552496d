// A running VM as the kernel sees it, beside what was planned: threads and their masks, memory per node and page size.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <vector>

#include "launcher/life/interrupts.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::inline life {

struct ThreadReport {
  pid_t tid = 0;
  std::string name;
  std::string role;
  topology::CpuSet wanted;
  topology::CpuSet actual;
  unsigned wanted_fifo = 0, fifo = 0;  // SCHED_FIFO priorities; 0: ordinary
  bool as_wanted() const { return wanted == actual && wanted_fifo == fifo; }
};
std::vector<ThreadReport> report_threads(const VmDir& dir);

struct MemoryReport {
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;
};
std::vector<MemoryReport> report_memory(const VmDir& dir);

// The files that the plan wrote in the VM's groups, as they read now.
struct ControlReport {
  std::string path;
  std::string wanted;
  std::string actual;
};
std::vector<ControlReport> report_controls(const VmDir& dir);

boost::json::value control_report_json(const VmDir& dir);
// Of the PCI functions that the guest has.
std::vector<Interrupt> report_interrupts(const VmDir& dir);

boost::json::value thread_report_json(const VmDir& dir);
boost::json::value interrupt_report_json(const VmDir& dir);
boost::json::value memory_report_json(const VmDir& dir);

}  // namespace launcher::life
