// Performs steps with a write-ahead journal; unwinding a failed launch, cleaning up after the guest and recovering after a
// crash are the same few lines. The rule: precheck, journal, act, mark. A step that refused owes nothing.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"
#include "launcher/steps/step.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::inline steps {

class Transaction {
 public:
  Transaction(Host& host, const VmDir& dir, std::optional<unsigned> uid);
  void perform(const Step& step);  // throws what the machine said, with the step in front
  void on_progress(std::function<void(const std::string&)> progress) { progress_ = std::move(progress); }
  Opened& opened() { return opened_; }

 private:
  Host& host_;
  const VmDir& dir_;
  std::optional<unsigned> uid_;
  std::size_t next_ = 0;
  Opened opened_;
  std::function<void(const std::string&)> progress_;
};

// Under the lock: does every undo that is owed, last first, and removes the claim if all went well. Returns what could not
// be undone, one sentence each; then the claim stays for a later `vmrun recover`. Where something cannot be read, nothing is undone.
// tell: hears what was passed over, which is for a person to see to.
using Tell = std::function<void(const std::string&)>;
std::vector<std::string> unwind(Host& host, const VmDir& dir, const std::filesystem::path& base, const Tell& tell = {});

// Under the lock: unwinds every VM whose owner is dead. What was done, for the user.
struct Recovered {
  std::vector<std::string> names;
  std::vector<std::string> left;         // "NAME: what could not be undone"
  std::vector<std::string> passed_over;  // "NAME: what a person has to see to"
};
Recovered recover_dead(Host& host, const std::filesystem::path& base);

}  // namespace launcher::steps
