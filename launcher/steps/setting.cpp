#include "launcher/steps/setting.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "launcher/host/host.hpp"
#include "launcher/steps/step.hpp"

namespace launcher::inline steps {

using topology::CpuSet;

namespace {

bool is_mask(std::string_view path) {
  for (const char* name : {"cpumask", "smp_affinity", "rps_cpus", "xps_cpus"})
    if (path.ends_with(name)) return true;
  return false;
}

bool is_list(std::string_view path) { return path.ends_with("_list") || path.ends_with("cpuset.cpus"); }

bool is_parameter(std::string_view path) {
  return path.starts_with("/sys/module/") && path.find("/parameters/") != path.npos;
}

// A managed interrupt, one that is not to be balanced (EIO, from 6.10 EPERM), or no vector left on those CPUs.
bool is_refused_interrupt(std::string_view path, const std::error_code& error) {
  return path.starts_with("/proc/irq/") && (error == std::errc::io_error || error == std::errc::no_space_on_device ||
                                            error == std::errc::operation_not_permitted);
}

void write_unless_gone(const std::string& path, const std::string& text, Host& host) {
  try {
    host.write_value(path, text);
  } catch (const std::system_error& error) {
    if (!is_gone(error.code())) throw;
  }
}

std::string quoted(const std::optional<std::string>& text) { return text ? "'" + value_of(*text) + "'" : "nothing"; }

}  // namespace

bool is_gone(const std::error_code& error) {
  return error == std::errc::no_such_file_or_directory || error == std::errc::no_such_device;
}

std::string value_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string all;
  for (std::string word; in >> word;) {
    if (word.size() > 2 && word.front() == '[' && word.back() == ']') return word.substr(1, word.size() - 2);
    all += (all.empty() ? "" : " ") + word;
  }
  return all;
}

CpuSet mask_of(std::string_view path, std::string_view text) {
  return (is_mask(path) ? CpuSet::parse_mask(text) : CpuSet::parse(text)).value_or(CpuSet{});
}

std::string mask_text(std::string_view path, const CpuSet& cpus) {
  return is_mask(path) ? cpus.to_mask() : cpus.to_string();
}

bool same_value(std::string_view path, std::string_view a, std::string_view b) {
  const auto canonical = [&](std::string_view text) {
    std::string value = value_of(text);
    if (is_mask(path) || is_list(path)) {
      const CpuSet cpus = mask_of(path, value);
      return cpus.empty() ? value : cpus.to_string();
    }
    if (is_parameter(path) && (value == "Y" || value == "N")) value = value == "Y" ? "1" : "0";
    return value;
  };
  return canonical(a) == canonical(b);
}

ChangeMask mask_change(std::string path, const CpuSet& now, const CpuSet& away, const CpuSet& instead) {
  ChangeMask change{std::move(path), now & away, {}};
  if (!change.remove.empty() && (now - away).empty()) change.add = instead - now;
  return change;
}

std::string describe(const SetValue& step) {
  return fmt::format("set {} from '{}' to '{}'", step.path, step.before, step.value);
}

std::string describe(const PutBack& step) {
  return fmt::format("put {} back to '{}' if it still is '{}'", step.path, step.before, step.ours);
}

std::string describe(const KeepBeside& step) {
  return fmt::format("keep {} at '{}' while {} is '{}'", step.path, step.value, step.beside, step.reads);
}

std::string describe(const ChangeMask& step) {
  std::string text;
  if (!step.remove.empty()) text += fmt::format("take CPUs {} out of {}", step.remove.to_string(), step.path);
  if (!step.add.empty())
    text += fmt::format("{}put CPUs {} into {}", text.empty() ? "" : ", ", step.add.to_string(),
                        text.empty() ? step.path : "it");
  return text;
}

void perform(const SetValue& step, PerformContext& context) {
  if (const auto now = context.host.read_value(step.path); !now || !same_value(step.path, *now, step.before))
    throw std::runtime_error(
        fmt::format("it changed since it was looked at: it read '{}', now {}", step.before, quoted(now)));
  context.host.write_value(step.path, step.value);
  if (const auto now = context.host.read_value(step.path); !now || !same_value(step.path, *now, step.value))
    throw std::runtime_error(fmt::format("it reads {} after '{}' was written", quoted(now), step.value));
}

void perform(const PutBack& step, PerformContext& context) {
  const auto now = context.host.read_value(step.path);
  if (now && same_value(step.path, *now, step.ours)) write_unless_gone(step.path, step.before, context.host);
}

void perform(const KeepBeside& step, PerformContext& context) {
  if (!step.undo) return;
  const auto now = context.host.read_value(step.path), beside = context.host.read_value(step.beside);
  if (!now || !beside || !same_value(step.beside, *beside, step.reads) || same_value(step.path, *now, step.value))
    return;
  write_unless_gone(step.path, step.value, context.host);
}

namespace {

// An interrupt stays where it is as long as the mask has that CPU, and many move only when they next fire: so the mask is the
// one CPU alone until it is there. One that is silent is not waited for.
void bring_back(const ChangeMask& step, Host& host) {
  const std::string effective = step.path.substr(0, step.path.rfind('/')) + "/effective_affinity_list";
  const auto is_there = [&] {
    const auto now = host.read_value(effective);
    return !now || value_of(*now) == std::to_string(*step.back_on);
  };
  if (is_there()) return;
  host.write_value(step.path, mask_text(step.path, {*step.back_on}));
  for (int looks = 0; looks < 20 && !is_there(); ++looks) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

void perform(const ChangeMask& step, PerformContext& context) {
  const auto text = context.host.read_value(step.path);
  if (!text) return;  // gone, as its device is
  const CpuSet now = mask_of(step.path, *text), wanted = (now - step.remove) | step.add;
  if (wanted == now) return;
  if (wanted.empty()) throw std::runtime_error("no CPU would be left in it");
  try {
    if (step.undo && step.back_on && step.add.contains(*step.back_on)) bring_back(step, context.host);
    context.host.write_value(step.path, mask_text(step.path, wanted));
  } catch (const std::system_error& error) {
    if (is_gone(error.code())) return;
    if (!is_refused_interrupt(step.path, error.code())) throw;
    context.opened.passed_over.push_back(fmt::format("{} stays '{}': {}", step.path, *text, error.code().message()));
  }
}

}  // namespace launcher::inline steps
