#include "launcher/steps/transaction.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace launcher::inline steps {

Transaction::Transaction(Host& host, const VmDir& dir, std::optional<unsigned> uid)
    : host_(host), dir_(dir), uid_(uid) {}

void Transaction::perform(const Step& step) {
  const std::function<void(const Step&)> journal = [&](const Step& undo) { dir_.journal_undo(next_++, undo); };
  for (const Step& undo : inverse_of(step)) journal(undo);
  const OtherRaises no_undo_here = [](unsigned, topology::Bytes) { return std::uint64_t{0}; };
  PerformContext context{host_, opened_, no_undo_here, journal, uid_, progress_, {}};
  try {
    launcher::perform(step, context);
  } catch (const std::exception& error) {
    std::throw_with_nested(std::runtime_error("could not " + describe(step)));
  }
}

std::vector<std::string> unwind(Host& host, const VmDir& dir, const std::filesystem::path& base) {
  std::vector<std::string> left;
  const std::vector<VmDir::Undo> pending = dir.pending();
  const OtherRaises others = [&](unsigned node, topology::Bytes page) {
    return raises_of_others(base, dir.name(), node, page);
  };
  const std::function<bool(const std::string&)> others_use_vfs = [&](const std::string& physical) {
    return makers_of_vfs(base, dir.name()).contains(physical);
  };
  const std::function<void(const Step&)> nothing_new = [](const Step&) {};
  for (auto undo = pending.rbegin(); undo != pending.rend(); ++undo) {
    Opened none;
    PerformContext context{host, none, others, nothing_new, std::nullopt, {}, others_use_vfs};
    try {
      launcher::perform(undo->step, context);
      dir.journal_undone(undo->number);
    } catch (const std::exception& error) {
      left.push_back(fmt::format("could not {}: {}", describe(undo->step), error.what()));
    }
  }
  if (left.empty()) dir.remove();
  return left;
}

Recovered recover_dead(Host& host, const std::filesystem::path& base) {
  Recovered result;
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.owner_alive()) continue;
    const std::vector<std::string> left = unwind(host, dir, base);
    result.names.push_back(dir.name());
    for (const std::string& what : left) result.left.push_back(dir.name() + ": " + what);
  }
  return result;
}

}  // namespace launcher::inline steps
