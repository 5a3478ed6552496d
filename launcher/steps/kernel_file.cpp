#include "launcher/steps/kernel_file.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"
#include "launcher/steps/kernel_text.hpp"

namespace launcher::inline steps {

using topology::CpuSet;

namespace {

// A file that went with its device, its group or its interrupt.
bool is_gone(const std::error_code& error) {
  return error == std::errc::no_such_file_or_directory || error == std::errc::no_such_device;
}

// A managed interrupt, one that is not to be balanced (EIO, from 6.10 EPERM), or no vector left on those CPUs.
bool is_refused_interrupt(std::string_view path, const std::error_code& error) {
  return path.starts_with("/proc/irq/") && (error == std::errc::io_error || error == std::errc::no_space_on_device ||
                                            error == std::errc::operation_not_permitted);
}

bool is_cpuset(std::string_view path) { return path.ends_with("/cpuset.cpus"); }

std::string quoted(const std::optional<std::string>& text) { return text ? "'" + value_of(*text) + "'" : "nothing"; }

CpuSet of_group_above(const std::string& path, KernelFiles& kernel) {
  const std::filesystem::path group = std::filesystem::path(path).parent_path();
  const auto text = kernel.read((group.parent_path() / "cpuset.cpus.effective").string());
  return CpuSet::parse(text.value_or("")).value_or(CpuSet{});
}

// An interrupt stays where it is as long as the mask has that CPU, and many move only when they next fire: so the mask is the
// one CPU alone until it is there. One that is silent is not waited for.
void bring_back(const std::string& path, unsigned cpu, KernelFiles& kernel) {
  const std::string effective = path.substr(0, path.rfind('/')) + "/effective_affinity_list";
  const auto is_there = [&] {
    const auto now = kernel.read(effective);
    return !now || value_of(*now) == std::to_string(cpu);
  };
  if (is_there()) return;
  kernel.write(path, mask_text(path, {cpu}));
  for (int looks = 0; looks < 20 && !is_there(); ++looks) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

// --- what each change says of itself ---

std::string words(const std::string& path, const Word& word) { return fmt::format("write {} to {}", word.text, path); }
std::string words(const std::string& path, const Partition& one) {
  return fmt::format("write {} to {}", one.word, path);
}
std::string words(const std::string& path, const Value& value) {
  return fmt::format("set {} from '{}' to '{}'", path, value.before, value.value);
}
std::string words(const std::string& path, const Beside& beside) {
  return fmt::format("keep {} at '{}' while {} is '{}'", path, beside.value, beside.beside, beside.reads);
}
std::string words(const std::string& path, const Cpus& cpus) {
  std::string text;
  if (!cpus.remove.empty()) text += fmt::format("take CPUs {} out of {}", cpus.remove.to_string(), path);
  if (!cpus.add.empty())
    text += fmt::format("{}put CPUs {} {}into {}", text.empty() ? "" : ", ", cpus.add.to_string(),
                        is_cpuset(path) ? "back " : "", text.empty() ? path : "it");
  return text;
}

// --- what each writes, tried in this order; nothing: there is nothing to be done ---

using Texts = std::vector<std::string>;

Texts texts(const std::string&, const Word& word, KernelFiles&) { return {word.text}; }
Texts texts(const std::string&, const Partition& one, KernelFiles&) { return {one.word}; }
Texts texts(const std::string& path, const Value& value, KernelFiles& kernel) {
  const auto now = kernel.read(path);
  return now && same_value(path, *now, value.before) ? Texts{value.value} : Texts{};
}
Texts texts(const std::string& path, const Beside& beside, KernelFiles& kernel) {
  const auto now = kernel.read(path), other = kernel.read(beside.beside);
  const bool wanted = now && other && same_value(beside.beside, *other, beside.reads);
  return wanted && !same_value(path, *now, beside.value) ? Texts{beside.value} : Texts{};
}
Texts texts(const std::string& path, const Cpus& cpus, KernelFiles& kernel) {
  const auto text = kernel.read(path);
  if (!text) return {};  // gone, as its device or its group is
  CpuSet now = mask_of(path, *text);
  const bool all_above = is_cpuset(path) && now.empty();
  if (all_above && cpus.remove.empty()) return {};  // never taken, or given back already
  if (all_above) now = of_group_above(path, kernel);
  const CpuSet wanted = (now - cpus.remove) | cpus.add;
  if (wanted == now) return {};
  if (wanted.empty()) throw std::runtime_error("no CPU would be left in it");
  if (is_cpuset(path) && cpus.remove.empty() && wanted.contains(of_group_above(path, kernel)))
    return {
        "\n",
        wanted
            .to_string()};  // a write of nothing does not reach it; Linux 6.1 clears no list of a group that has tasks
  return {mask_text(path, wanted)};
}

// --- whether it then reads as it should; "": it does ---

std::string wrong(const std::string& path, const Word& word, const std::optional<std::string>& now) {
  if (has_word(now.value_or(""), word.expect)) return "";
  return fmt::format("{} reads '{}' after '{}' was written", path, now.value_or(""), word.text);
}
// The write succeeds even where the kernel makes no partition: "isolated invalid (Cpu list in cpuset.cpus not exclusive)".
std::string wrong(const std::string&, const Partition& one, const std::optional<std::string>& now) {
  if (value_of(now.value_or("")) == one.word) return "";
  return fmt::format("the kernel makes no {} partition of it: {}", one.word, now.value_or(""));
}
std::string wrong(const std::string& path, const Value& value, const std::optional<std::string>& now) {
  if (now && same_value(path, *now, value.value)) return "";
  return fmt::format("it reads {} after '{}' was written", quoted(now), value.value);
}
std::string wrong(const std::string&, const Beside&, const std::optional<std::string>&) { return ""; }
std::string wrong(const std::string&, const Cpus&, const std::optional<std::string>&) { return ""; }

// The next of the texts is tried only where the kernel has no room for the one before.
void write_first_of(const Texts& texts, const std::string& path, KernelFiles& kernel) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    try {
      return kernel.write(path, texts[i]);
    } catch (const std::system_error& error) {
      if (i + 1 == texts.size() || error.code() != std::errc::no_space_on_device) throw;
    }
  }
}

// Undoing, or with CPUs that others share, a file that has gone is fine; an interrupt that the kernel keeps is passed over and told.
void write(const std::string& path, const Change& change, bool undoing, KernelFiles& kernel,
           std::vector<std::string>& passed_over) {
  const auto* cpus = std::get_if<Cpus>(&change);
  const Texts wanted = std::visit([&](const auto& one) { return texts(path, one, kernel); }, change);
  if (wanted.empty()) return;
  try {
    if (undoing && cpus != nullptr && cpus->back_on && cpus->add.contains(*cpus->back_on))
      bring_back(path, *cpus->back_on, kernel);
    write_first_of(wanted, path, kernel);
  } catch (const std::system_error& error) {
    if (is_gone(error.code()) && (undoing || cpus != nullptr)) return;
    if (cpus == nullptr || !is_refused_interrupt(path, error.code())) throw;
    passed_over.push_back(
        fmt::format("{} stays '{}': {}", path, kernel.read(path).value_or(""), error.code().message()));
  }
}

}  // namespace

std::string ChangeFile::describe() const {
  return std::visit([&](const auto& one) { return words(path, one); }, change);
}

std::string ChangeBack::describe() const {
  if (const auto* value = std::get_if<Value>(&change))
    return fmt::format("put {} back to '{}' if it still is '{}'", path, value->value, value->before);
  return std::visit([&](const auto& one) { return words(path, one); }, change);
}

std::optional<ChangeBack> ChangeFile::undo() const {
  std::optional<ChangeBack> undo;
  std::visit(
      [&](const auto& one) {
        if constexpr (requires { one.back(); }) undo = ChangeBack{path, one.back()};
      },
      change);
  return undo;
}

std::optional<ChangeBack> ChangeFile::precheck(PerformContext& context) const {
  if (const auto* value = std::get_if<Value>(&change)) {
    const auto now = context.host.kernel.read(path);
    if (!now || !same_value(path, *now, value->before))
      throw std::runtime_error(
          fmt::format("it changed since it was looked at: it read '{}', now {}", value->before, quoted(now)));
  }
  return undo();
}

void ChangeFile::perform(PerformContext& context) const {
  if (std::holds_alternative<Beside>(change)) return;
  write(path, change, false, context.host.kernel, context.opened.passed_over);
  const auto now = context.host.kernel.read(path);
  if (const std::string why = std::visit([&](const auto& one) { return wrong(path, one, now); }, change); !why.empty())
    throw std::runtime_error(why);
}

void ChangeBack::perform(UndoContext& context) const {
  write(path, change, true, context.host.kernel, context.passed_over);
}

std::optional<std::string> wanted_of(const Change& change) {
  if (const auto* word = std::get_if<Word>(&change)) return word->expect;
  if (const auto* partition = std::get_if<Partition>(&change)) return partition->word;
  return std::nullopt;
}

Cpus mask_change(const CpuSet& now, const CpuSet& away, const CpuSet& instead) {
  Cpus change{now & away, {}};
  if (!change.remove.empty() && (now - away).empty()) change.add = instead - now;
  return change;
}

}  // namespace launcher::steps
