// Asking a guest to power down, whatever state it is in. The rule: a guest whose vCPUs do not run hears no button, so it is
// let run first, or nobody waits for it.
#pragma once

#include <chrono>
#include <string>

#include "qmp/client.hpp"

namespace launcher::inline life {

struct PowerDown {
  bool worth_waiting = true;  // false: it cannot power down any more
  std::string told;           // what was done, for the user
};
PowerDown power_down(qmp::Client& monitor, std::chrono::milliseconds patience);  // throws qmp::Error

}  // namespace launcher::life
