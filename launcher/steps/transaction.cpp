#include "launcher/steps/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <stdexcept>

#include "launcher/steps/ledger.hpp"

namespace launcher::inline steps {

Transaction::Transaction(Host& host, const VmDir& dir, std::optional<unsigned> uid)
    : host_(host), dir_(dir), uid_(uid) {}

void Transaction::perform(const Step& step) {
  std::vector<std::size_t> begun;
  const auto journal = [&](const Undo& undo) {
    dir_.journal().begin(next_, undo);
    begun.push_back(next_++);
  };
  PerformContext context{
      .host = host_,
      .opened = opened_,
      .journal = journal,
      .others_have =
          [this](const Undo& undo) { return steps::others_have(dir_.path().parent_path(), dir_.name(), undo); },
      .uid = uid_,
      .progress = progress_};
  try {
    for (const Undo& undo : precheck(step, context)) journal(undo);
    steps::perform(step, context);
  } catch (const std::exception& error) {
    std::throw_with_nested(std::runtime_error("could not " + describe(step)));
  }
  for (const std::size_t number : begun) dir_.journal().done(number);
}

std::vector<std::string> unwind(Host& host, const VmDir& dir, const std::filesystem::path& base, const Tell& tell) {
  if (std::vector<std::string> bad = dir.unreadable(); !bad.empty()) {
    for (std::string& what : bad)
      what += "; it is kept with all that the VM had, and nothing was undone: see to it with the vmrun that wrote it";
    return bad;
  }
  std::vector<std::string> left;
  const std::vector<Owed> owed = dir.journal().read().owed;
  for (auto one = owed.rbegin(); one != owed.rend(); ++one) {
    UndoContext context{.host = host,
                        .done = one->done,
                        .begun = one->begun,
                        .begin = [&](std::uint64_t from) { dir.journal().undoing(one->number, from); },
                        .others_have = [&](const Undo& undo) { return steps::others_have(base, dir.name(), undo); }};
    try {
      steps::perform(one->undo, context);
      dir.journal().undone(one->number);
      if (tell) std::ranges::for_each(context.passed_over, tell);
    } catch (const std::exception& error) {
      left.push_back(fmt::format("could not {}: {}", describe(one->undo), error.what()));
    }
  }
  if (left.empty()) dir.remove();
  return left;
}

Recovered recover_dead(Host& host, const std::filesystem::path& base) {
  Recovered result;
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.owner_alive()) continue;
    const std::vector<std::string> left = unwind(
        host, dir, base, [&](const std::string& what) { result.passed_over.push_back(dir.name() + ": " + what); });
    if (left.empty() || dir.unreadable().empty()) result.names.push_back(dir.name());
    for (const std::string& what : left) result.left.push_back(dir.name() + ": " + what);
  }
  return result;
}

}  // namespace launcher::steps
