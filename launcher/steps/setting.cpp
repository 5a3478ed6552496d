#include "launcher/steps/setting.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

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

// The words of a control's text, and whether one of them is `wanted`.
bool has_word(const std::string& text, const std::string& wanted) {
  std::string word;
  for (const char c : text + "\n") {
    if (c != ' ' && c != '\t' && c != '\n' && c != ';' && c != ':') {
      word += c;
      continue;
    }
    if (word == wanted) return true;
    word.clear();
  }
  return false;
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

std::string SetValue::describe() const { return fmt::format("set {} from '{}' to '{}'", path, before, value); }

std::string PutBack::describe() const {
  return fmt::format("put {} back to '{}' if it still is '{}'", path, before, ours);
}

namespace {

std::string keep_text(const std::string& path, const std::string& value, const std::string& beside,
                      const std::string& reads) {
  return fmt::format("keep {} at '{}' while {} is '{}'", path, value, beside, reads);
}

std::string mask_words(const std::string& path, const CpuSet& remove, const CpuSet& add) {
  std::string text;
  if (!remove.empty()) text += fmt::format("take CPUs {} out of {}", remove.to_string(), path);
  if (!add.empty())
    text += fmt::format("{}put CPUs {} into {}", text.empty() ? "" : ", ", add.to_string(), text.empty() ? path : "it");
  return text;
}

// before: what has to be done first, with the mask as it will be. passed_over: where an interrupt that cannot be moved is told.
template <class Before>
void change_mask(const std::string& path, const CpuSet& remove, const CpuSet& add, Host& host,
                 std::vector<std::string>& passed_over, const Before& before) {
  const auto text = host.read_value(path);
  if (!text) return;  // gone, as its device is
  const CpuSet now = mask_of(path, *text), wanted = (now - remove) | add;
  if (wanted == now) return;
  if (wanted.empty()) throw std::runtime_error("no CPU would be left in it");
  try {
    before();
    host.write_value(path, mask_text(path, wanted));
  } catch (const std::system_error& error) {
    if (is_gone(error.code())) return;
    if (!is_refused_interrupt(path, error.code())) throw;
    passed_over.push_back(fmt::format("{} stays '{}': {}", path, *text, error.code().message()));
  }
}

// An interrupt stays where it is as long as the mask has that CPU, and many move only when they next fire: so the mask is the
// one CPU alone until it is there. One that is silent is not waited for.
void bring_back(const std::string& path, unsigned cpu, Host& host) {
  const std::string effective = path.substr(0, path.rfind('/')) + "/effective_affinity_list";
  const auto is_there = [&] {
    const auto now = host.read_value(effective);
    return !now || value_of(*now) == std::to_string(cpu);
  };
  if (is_there()) return;
  host.write_value(path, mask_text(path, {cpu}));
  for (int looks = 0; looks < 20 && !is_there(); ++looks) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

std::string KeepBeside::describe() const { return keep_text(path, value, beside, reads); }
std::string KeepBack::describe() const { return keep_text(path, value, beside, reads); }
std::string ChangeMask::describe() const { return mask_words(path, remove, add); }
std::string MaskBack::describe() const { return mask_words(path, remove, add); }

std::string WriteControl::describe() const { return fmt::format("write {} to {}", text, path); }
void WriteControl::perform(PerformContext& context) const {
  if (const std::string now = context.host.write_control(path, text); !has_word(now, expect))
    throw std::runtime_error(fmt::format("{} reads '{}' after '{}' was written", path, now, text));
}

PutBack SetValue::precheck(PerformContext& context) const {
  if (const auto now = context.host.read_value(path); !now || !same_value(path, *now, before))
    throw std::runtime_error(
        fmt::format("it changed since it was looked at: it read '{}', now {}", before, quoted(now)));
  return undo();
}

void SetValue::perform(PerformContext& context) const {
  context.host.write_value(path, value);
  if (const auto now = context.host.read_value(path); !now || !same_value(path, *now, value))
    throw std::runtime_error(fmt::format("it reads {} after '{}' was written", quoted(now), value));
}

void PutBack::perform(UndoContext& context) const {
  const auto now = context.host.read_value(path);
  if (now && same_value(path, *now, ours)) write_unless_gone(path, before, context.host);
}

void KeepBeside::perform(PerformContext&) const {}

void KeepBack::perform(UndoContext& context) const {
  const auto now = context.host.read_value(path), other = context.host.read_value(beside);
  if (!now || !other || !same_value(beside, *other, reads) || same_value(path, *now, value)) return;
  write_unless_gone(path, value, context.host);
}

void ChangeMask::perform(PerformContext& context) const {
  change_mask(path, remove, add, context.host, context.opened.passed_over, [] {});
}

void MaskBack::perform(UndoContext& context) const {
  change_mask(path, remove, add, context.host, context.passed_over, [&] {
    if (back_on && add.contains(*back_on)) bring_back(path, *back_on, context.host);
  });
}

}  // namespace launcher::steps
