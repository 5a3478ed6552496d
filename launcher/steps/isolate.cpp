#include "launcher/steps/isolate.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

using topology::CpuSet;

namespace {

CpuSet of_group_above(const std::string& path, Host& host) {
  const std::filesystem::path group = std::filesystem::path(path).parent_path();
  const auto text = host.read_value((group.parent_path() / "cpuset.cpus.effective").string());
  return CpuSet::parse(text.value_or("")).value_or(CpuSet{});
}

}  // namespace

std::string MakePartition::describe() const { return fmt::format("write isolated to {}", path); }

std::string EndPartition::describe() const { return fmt::format("write member to {}", path); }

std::string TakeCpus::describe() const { return fmt::format("take CPUs {} out of {}", cpus.to_string(), path); }

std::string ReturnCpus::describe() const { return fmt::format("put CPUs {} back into {}", cpus.to_string(), path); }

// The write succeeds even where the kernel makes no partition: "isolated invalid (Cpu list in cpuset.cpus not exclusive)".
void MakePartition::perform(PerformContext& context) const {
  const std::string now = context.host.write_control(path, "isolated");
  if (value_of(now) != "isolated")
    throw std::runtime_error(fmt::format("the kernel makes no isolated partition of it: {}", now));
}

void EndPartition::perform(UndoContext& context) const {
  try {
    context.host.write_control(path, "member");
  } catch (const std::system_error& error) {
    if (!is_gone(error.code())) throw;
  }
}

void TakeCpus::perform(PerformContext& context) const {
  const auto text = context.host.read_value(path);
  if (!text) return;  // the group has gone
  const CpuSet now = CpuSet::parse(*text).value_or(CpuSet{});
  const CpuSet wanted = (now.empty() ? of_group_above(path, context.host) : now) - cpus;
  if (wanted.empty()) throw std::runtime_error("no CPU would be left in it");
  context.host.write_value(path, wanted.to_string());
}

void ReturnCpus::perform(UndoContext& context) const {
  const auto text = context.host.read_value(path);
  const CpuSet now = CpuSet::parse(text.value_or("")).value_or(CpuSet{});
  if (now.empty() || now.contains(cpus)) return;  // gone, never taken, or given back already
  const CpuSet wanted = now | cpus;
  const bool all = wanted.contains(of_group_above(path, context.host));
  try {
    context.host.write_value(path,
                             all ? "\n" : wanted.to_string());  // a write of nothing does not reach the kernel
  } catch (const std::system_error& error) {                    // Linux 6.1 clears no list of a group that has tasks
    if (!all || error.code() != std::errc::no_space_on_device) throw;
    context.host.write_value(path, wanted.to_string());
  }
}

}  // namespace launcher::steps
