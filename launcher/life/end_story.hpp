// How a VM ended, put together from QEMU's events and its exit. The rule: no I/O, so that every end is a row of a table.
#pragma once

#include <string>

#include "qmp/message.hpp"

namespace launcher::inline life {

class EndStory {
 public:
  std::string see(const qmp::Event& event);  // what the user should know now, or ""

  struct End {
    std::string how;     // as RunRecord has it
    std::string reason;  // for a person
  };
  // qemu_exit: 128 + signal when it was killed. words: what QEMU said last.
  End end(int qemu_exit, const std::string& words) const;

  // Whether somebody had QEMU press the power button, or told it to quit: `vmrun stop` speaks to QEMU, not to us.
  bool asked() const { return asked_ || shutdown_reason_ == "host-qmp-quit"; }

 private:
  std::string see_panic(const qmp::Event& event);

  std::string shutdown_reason_;
  bool panicked_ = false;
  bool asked_ = false;
};

}  // namespace launcher::life
